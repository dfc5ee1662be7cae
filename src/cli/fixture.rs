//! A charter, a request and approvals for unit tests: fixed keys and times, so that texts can be pinned.

use p256::SecretKey;
use serde_json::{Value, json};

use super::statement::FileKey;
use crate::{
    domain::{charter::Rules, grant::Grant, id::RequestId},
    jose::{Digest, GeneralJws, ProtectedHeader, Signature, Typ, json as strict},
};

/// When everything happens: 2026-11-22 02:03:00 UTC.
pub(crate) const NOW: i64 = 1_795_312_980;

/// The key of a small number.
pub(crate) fn key(seed: u8) -> FileKey {
    FileKey::new(SecretKey::from_slice(&[seed; 32]).unwrap()).unwrap()
}

/// Seeds of keys by owner.
pub(crate) const ALICE: u8 = 1;
pub(crate) const BOT: u8 = 2;
pub(crate) const BOB: u8 = 11;
pub(crate) const CAROL: u8 = 12;
pub(crate) const DAVE: u8 = 13;
pub(crate) const ERIN: u8 = 14;
pub(crate) const FRANK: u8 = 15;

/// The charter's document: alice asks, and dave's bot asks for her; two of bob, carol, dave and
/// frank approve; erin has no seat.
pub(crate) fn document() -> Value {
    let device = |seed: u8, serial: u32| {
        json!({"kind": "piv", "key": key(seed).public, "serial": serial, "firmware": "5.7.4",
               "attestation": Digest::of(&[seed])})
    };
    let custodian = |id: &str, name: &str, seed: u8| json!({"id": id, "name": name, "roles": ["custodian"], "devices": [device(seed, 20_000_000 + u32::from(seed))]});
    json!({
        "version": 1,
        "nonce": "AAAAAAAAAAAAAAAAAAAAAA",
        "iss": "https://breakglass.example",
        "issued_at": NOW - 86_400,
        "expires_at": NOW + 89 * 86_400,
        "persons": [
            {"id": "alice", "name": "Alice Example", "roles": ["auditor", "requester"], "keys": [key(ALICE).public]},
            custodian("bob", "Bob Example", BOB),
            custodian("carol", "Carol Example", CAROL),
            custodian("dave", "Dave Example", DAVE),
            custodian("erin", "Erin Example", ERIN),
            custodian("frank", "Frank Example", FRANK),
        ],
        "clients": [
            {"id": "incident-bot", "owners": ["dave"], "roles": ["requester"], "subjects": ["alice"], "keys": [key(BOT).public]},
        ],
        "groups": {"custodians": ["bob", "carol", "dave", "frank"]},
        "profiles": [{
            "id": "db-read",
            "description": "Read the production database",
            "quorum": {"threshold": 2, "of": "custodians"},
            "aud": "https://db.example",
            "authorization_details": [{"type": "database", "actions": ["read"], "locations": ["pg/prod/*"]}],
            "max_ttl": 900,
            "approval_window": 3600,
            "requester_key": "file",
        }],
        "governance": {"threshold": 2, "of": ["bob", "carol", "dave", "erin"]},
        "issuing_keys": [{"key": key(30).public, "profiles": ["db-read"], "state": "active"}],
        "log_keys": [{"origin": "breakglass.example/log",
                      "key": {"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}],
        "daemons": [{"id": "daemon-1", "spki": Digest::of(b"daemon")}],
        "attestation": {"roots": ["MAA"], "minimum_firmware": "5.4.3"},
    })
}

pub(crate) fn rules_of(document: &Value) -> Rules {
    Rules::parse(&strict::canonical(document).unwrap()).unwrap()
}

pub(crate) fn rules() -> Rules {
    rules_of(&document())
}

/// A grant that the charter permits, asked for five minutes ago.
pub(crate) fn grant(rules: &Rules) -> Value {
    json!({
        "iss": "https://breakglass.example",
        "charter": rules.digest(),
        "profile": "db-read",
        "nonce": "AQEBAQEBAQEBAQEBAQEBAQ",
        "sub": "alice",
        "client_id": "alice",
        "requester_key": key(ALICE).public.thumbprint(),
        "aud": "https://db.example",
        "authorization_details": [{"type": "database", "actions": ["read"], "locations": ["pg/prod/orders"]}],
        "reason": "Orders are stuck since the failover",
        "incident": "INC-7",
        "ttl": 600,
        "cnf": {"jkt": key(40).public.thumbprint()},
        "redeem_key": key(41).public,
        "requested_at": NOW - 300,
        "expires_at": NOW + 3300,
        "drill": false,
    })
}

/// One signature, as its owner's device or file key makes it.
pub(crate) fn signature(seed: u8, typ: Typ, payload: &[u8], iat: i64, station: Option<&str>) -> Signature {
    use p256::ecdsa::{Signature as Ecdsa, SigningKey, signature::Signer as _};
    let key = key(seed);
    let station = station.map(ToOwned::to_owned);
    let protected = ProtectedHeader { kid: key.public.thumbprint(), typ, iat, station }.encode().unwrap();
    let made: Ecdsa = SigningKey::from(key.secret()).sign(&Signature::signing_input(&protected, payload));
    Signature::new(protected, made.to_bytes().into()).unwrap()
}

/// A request: the grant under its requester's signature.
pub(crate) fn request(grant: &Value, requester: u8) -> (RequestId, GeneralJws) {
    let payload = strict::canonical(grant).unwrap();
    let at = grant["requested_at"].as_i64().unwrap();
    let signatures = vec![signature(requester, Typ::Request, &payload, at, None)];
    (Grant::id_of(&payload), GeneralJws { payload, signatures })
}

/// The request with another custodian's word on it.
pub(crate) fn said(jws: &GeneralJws, seed: u8, typ: Typ, station: Option<&str>) -> GeneralJws {
    let mut jws = jws.clone();
    jws.signatures.push(signature(seed, typ, &jws.payload, NOW - 60, station));
    jws
}
