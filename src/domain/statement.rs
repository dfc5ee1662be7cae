//! Signed statements of clients: parsed, their signature verified, and only then a value of these types.
//!
//! Invariant: a value here was signed by the key that its header names, over exactly the bytes it was parsed from.
//! Whose key that is, and whether he may say so, `decide` asks the charter. A statement authenticates itself: whoever
//! carries it over whichever connection does not matter.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    charter::Rules,
    exact,
    grant::{Grant, MAX_GRANT_BYTES},
    id::{Issuer, Nonce, RequestId},
    refusal::Refusal,
};
use crate::jose::{Digest, GeneralJws, JoseError, Signature, Typ, json};

/// A statement's JWS at most, in bytes; a charter has its own limit.
pub const MAX_STATEMENT_BYTES: usize = 32_000;

/// A request: a grant under the signature of its requester.
#[derive(Debug, Clone)]
pub struct SignedGrant {
    jws: GeneralJws,
    grant: Grant,
}

impl SignedGrant {
    /// Verifies with the key that the charter has under the header's `kid`.
    pub fn verify(jws: GeneralJws, rules: &Rules) -> Result<Self, Refusal> {
        let grant = Grant::parse(&jws.payload)?;
        let [signature] = jws.signatures.as_slice() else {
            return Err(Refusal::NotOneSignature);
        };
        if signature.header().kid != grant.requester_key {
            return Err(Refusal::RequesterKeyMismatch);
        }
        verify_signature(signature, &jws.payload, rules, Typ::Request)?;
        Ok(Self { jws, grant })
    }

    /// The grant.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The grant, without its signature.
    #[must_use]
    pub(super) fn into_grant(self) -> Grant {
        self.grant
    }

    /// The id that the request will have.
    #[must_use]
    pub fn id(&self) -> RequestId {
        Grant::id_of(&self.jws.payload)
    }

    /// When the requester signed, Unix seconds.
    #[must_use]
    pub fn signed_at(&self) -> i64 {
        self.jws.signatures.first().map_or(0, |signature| signature.header().iat)
    }

    /// The signed object.
    #[must_use]
    pub fn jws(&self) -> &GeneralJws {
        &self.jws
    }
}

/// What a custodian says of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Approval.
    Approve,
    /// Denial.
    Deny,
}

/// A custodian's signature over a grant.
#[derive(Debug, Clone)]
pub struct SignedVerdict {
    request: RequestId,
    verdict: Verdict,
    signature: Signature,
}

impl SignedVerdict {
    /// Verifies one custodian's signature over the grant's bytes.
    pub fn verify(payload: &[u8], signature: Signature, rules: &Rules) -> Result<Self, Refusal> {
        let verdict = match signature.header().typ {
            Typ::Approval => Verdict::Approve,
            Typ::Denial => Verdict::Deny,
            _ => return Err(Refusal::NotAVerdict),
        };
        verify_signature(&signature, payload, rules, signature.header().typ)?;
        Ok(Self { request: Grant::id_of(payload), verdict, signature })
    }

    /// Which request it is about.
    #[must_use]
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// Approval or denial.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The signature with its header.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// What a requester says of his own request: the payload of a withdrawal and of a redemption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AboutRequest {
    /// The issuer.
    pub iss: Issuer,
    /// Digest of the charter.
    pub charter: Digest,
    /// The request.
    pub request_id: RequestId,
    /// 128 random bits.
    pub nonce: Nonce,
}

/// Which request a recorded withdrawal or redemption is about.
pub fn request_of(statement: &GeneralJws) -> Result<RequestId, JoseError> {
    let about: AboutRequest = json::parse(&statement.payload, MAX_STATEMENT_BYTES)?;
    Ok(about.request_id)
}

/// A withdrawal or a redemption, under the requester's signature.
pub type SignedAboutRequest = SignedAbout<AboutRequest>;

/// A statement about something that exists already, under one signature.
#[derive(Debug, Clone)]
pub struct SignedAbout<T> {
    jws: GeneralJws,
    about: T,
    signed_at: i64,
    kid: Digest,
}

impl<T: DeserializeOwned + Serialize> SignedAbout<T> {
    /// Verifies a statement of the expected type.
    pub fn verify(jws: GeneralJws, rules: &Rules, expected: Typ) -> Result<Self, Refusal> {
        Self::verify_within(jws, rules, expected, MAX_GRANT_BYTES)
    }

    /// The same for one whose payload may have so many bytes.
    pub(super) fn verify_within(
        jws: GeneralJws,
        rules: &Rules,
        expected: Typ,
        max: usize,
    ) -> Result<Self, Refusal> {
        let about = exact::parse(&jws.payload, max)?;
        let [signature] = jws.signatures.as_slice() else {
            return Err(Refusal::NotOneSignature);
        };
        verify_signature(signature, &jws.payload, rules, expected)?;
        let (signed_at, kid) = (signature.header().iat, signature.header().kid);
        Ok(Self { jws, about, signed_at, kid })
    }

    /// The payload.
    #[must_use]
    pub fn about(&self) -> &T {
        &self.about
    }

    /// When it was signed, Unix seconds.
    #[must_use]
    pub fn signed_at(&self) -> i64 {
        self.signed_at
    }

    /// The key that signed.
    #[must_use]
    pub fn kid(&self) -> Digest {
        self.kid
    }

    /// The signed object.
    #[must_use]
    pub fn jws(&self) -> &GeneralJws {
        &self.jws
    }
}

pub(super) fn verify_signature(
    signature: &Signature,
    payload: &[u8],
    rules: &Rules,
    expected: Typ,
) -> Result<(), Refusal> {
    let holder = rules.holder(&signature.header().kid).ok_or(Refusal::KeyUnknown)?;
    Ok(signature.verify(payload, &holder.key, expected)?)
}
