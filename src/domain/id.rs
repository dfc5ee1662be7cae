//! Identifiers: one validated newtype per kind of thing, so that none is passed where another is meant.
//!
//! Invariant: a value of these types has been parsed; its text is safe to show, log and sort.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::jose::{Digest, b64};

/// An identifier that does not have the shape its kind demands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is not valid: {rule}")]
pub struct IdError {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $ok:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text of the identifier.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                let ok: fn(&str) -> bool = $ok;
                if text.is_empty() || text.len() > $max || !ok(&text) {
                    return Err(IdError { kind: $kind, text, rule: $rule });
                }
                Ok(Self(text))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

fn is_label(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\<>".contains(&b))
}

text_id!(
    /// A person or a client: the two share one namespace, so that `sub` and `client_id` are unambiguous.
    PrincipalId, "principal", 64, is_label, "1 to 64 of a-z 0-9 . _ -, starting with a letter or digit"
);
text_id!(
    /// A natural person.
    PersonId, "person", 64, is_label, "1 to 64 of a-z 0-9 . _ -, starting with a letter or digit"
);
text_id!(
    /// A named group of persons.
    GroupId, "group", 64, is_label, "1 to 64 of a-z 0-9 . _ -, starting with a letter or digit"
);
text_id!(
    /// A profile: one kind of emergency access.
    ProfileId, "profile", 64, is_label, "1 to 64 of a-z 0-9 . _ -, starting with a letter or digit"
);
text_id!(
    /// One running daemon process: `<daemon id>.<random>`.
    InstanceId, "instance", 96, is_label, "1 to 96 of a-z 0-9 . _ -, starting with a letter or digit"
);
text_id!(
    /// One process of a verifier, by the name that its operator gave it.
    GateId, "gate", 64, is_label, "1 to 64 of a-z 0-9 . _ -, starting with a letter or digit"
);
text_id!(
    /// The single audience of a token (`aud`): the verifier's name or URL.
    Audience, "audience", 200, is_visible_ascii, "1 to 200 visible ASCII characters without \" \\ < >"
);
text_id!(
    /// The incident that justifies the access, as the incident tracker names it.
    Incident, "incident", 64, is_visible_ascii, "1 to 64 visible ASCII characters without \" \\ < >"
);
text_id!(
    /// The issuer (`iss`): an https URL without query, fragment or trailing slash; http only on loopback.
    Issuer, "issuer", 200, is_issuer, "an https:// URL (http:// on loopback only) without query, fragment or trailing slash"
);

text_id!(
    /// Where a verifier is reached: an https URL; http only on loopback.
    Endpoint, "endpoint", 300, is_endpoint, "an https:// URL (http:// on loopback only) without credentials or fragment"
);

fn is_endpoint(text: &str) -> bool {
    text.split('?').next().is_some_and(|before| is_issuer(before.trim_end_matches('/')))
        && is_visible_ascii(text)
        && !text.contains('#')
}

fn is_issuer(text: &str) -> bool {
    let rest = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => rest,
        (_, Some(rest)) if ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| is_host(rest, host)) => rest,
        _ => return false,
    };
    !rest.is_empty() && is_visible_ascii(text) && !text.ends_with('/') && !rest.contains(['?', '#', '@'])
}

fn is_host(rest: &str, host: &str) -> bool {
    rest.strip_prefix(host).is_some_and(|after| after.is_empty() || after.starts_with([':', '/']))
}

impl From<PersonId> for PrincipalId {
    fn from(person: PersonId) -> Self {
        Self(person.0)
    }
}

impl PrincipalId {
    /// The same text as a person's id; whether such a person exists, the charter tells.
    #[must_use]
    pub fn as_person(&self) -> PersonId {
        PersonId(self.0.clone())
    }
}

/// A request's id, and the `jti` of its token: SHA-256 of the grant's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub Digest);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RequestId {
    type Err = crate::jose::JoseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A kill's id: 128 random bits, so that each kill is its own, whatever it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KillId(pub Nonce);

impl fmt::Display for KillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(self.0))
    }
}

impl FromStr for KillId {
    type Err = crate::jose::JoseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Nonce::try_from(text.to_owned()).map(Self)
    }
}

/// 128 random bits, base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// From bytes that the caller drew at random.
    #[must_use]
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<String> for Nonce {
    type Error = crate::jose::JoseError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        b64::decode_array(&text).map(Self)
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        b64::encode(&nonce.0)
    }
}
