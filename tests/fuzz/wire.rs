//! Messages of the API, from the bytes of a frame to where a decision would begin.

use std::sync::LazyLock;

use breakglass::{
    domain::charter::Charter,
    domain::statement::{MAX_STATEMENT_BYTES, SignedAboutRequest, SignedGrant, SignedVerdict},
    grpc::v1,
    jose::{GeneralJws, Typ},
};
use prost::Message;

use crate::{Parsed, fuzz, jose, kit};

/// What a handler does with the statement in a message: parses and verifies. Nothing that was changed gets through.
fn judge(jws: &[u8]) {
    static RIGHT: LazyLock<(Charter, GeneralJws)> = LazyLock::new(|| {
        (kit::charter(), GeneralJws::parse(&jose::statement(), MAX_STATEMENT_BYTES).unwrap())
    });
    let (charter, good) = &*RIGHT;
    let Ok(parsed) = GeneralJws::parse(jws, MAX_STATEMENT_BYTES) else { return };
    for signature in &parsed.signatures {
        let verdict = SignedVerdict::verify(&parsed.payload, signature.clone(), charter);
        assert!(verdict.is_err() || parsed.payload == good.payload, "a forged approval verifies");
    }
    let _redeem = SignedAboutRequest::verify(parsed.clone(), charter, Typ::Redeem);
    let _request = SignedGrant::verify(parsed, charter);
}

/// Protocol Buffers have many ways to write a message, so no bytes are compared.
fn message<M: Message + Default>(good: M, statement: impl Fn(&M) -> &[u8]) {
    fuzz(&[good.encode_to_vec()], |bytes| match M::decode(bytes) {
        Ok(message) => {
            judge(statement(&message));
            Parsed::Loosely
        }
        Err(_) => Parsed::Refused,
    });
}

#[test]
fn file_request() {
    message(v1::FileRequestRequest { jws: jose::statement() }, |message| &message.jws);
}

#[test]
fn submit_signature() {
    let request_id = "A".repeat(43);
    message(v1::SubmitSignatureRequest { request_id, jws: jose::statement() }, |message| &message.jws);
}

#[test]
fn redeem() {
    message(v1::RedeemRequest { jws: jose::statement(), wait_ms: 7 }, |message| &message.jws);
}

#[test]
fn list_requests() {
    let good = v1::ListRequestsRequest {
        states: vec![1, 2],
        only_mine: true,
        page_size: 50,
        page_token: "AAAB".repeat(13),
    };
    message(good, |_| b"");
}

/// Ids and other names, which stand in messages as text.
#[test]
fn names() {
    use breakglass::domain::id::{Audience, Incident, Issuer, PersonId, RequestId};
    fn name<T: std::str::FromStr + ToString>(good: &str) {
        fuzz(&[good.as_bytes().to_vec()], |bytes| {
            let parsed = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<T>().ok());
            parsed.map_or(Parsed::Refused, |value| Parsed::As(value.to_string().into_bytes()))
        });
    }
    name::<RequestId>(&kit::flow().1.to_string());
    name::<PersonId>("alice");
    name::<Audience>("https://db.example.test");
    name::<Incident>("INC-7");
    name::<Issuer>("https://breakglass.example.test");
}
