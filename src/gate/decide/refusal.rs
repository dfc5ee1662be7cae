//! Why a gate does not let something pass, and how a proxy is told.
//!
//! Invariant: the reasons are a closed list, so that counting them is bounded, whatever is sent.

use crate::{
    domain::strict::Rejection,
    gate::{certificate::CertificateError, map::PathError},
};

use super::proof::ProofError;

/// See the module. Displays are for people; [`Refusal::reason`] is for programs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The question did not come from a proxy that is trusted.
    #[error("only proxies named in the gate's configuration are answered")]
    Untrusted,
    /// What the proxy has to say is missing.
    #[error("the proxy does not say the {0} of the request that it asks about")]
    Unsaid(&'static str),
    /// A header that has to be one came twice.
    #[error("the header {0} came more than once")]
    Repeated(&'static str),
    /// A header that is no text.
    #[error("the header {0} holds something that is no visible ASCII text")]
    Unreadable(&'static str),
    /// The path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// No rule is about it.
    #[error("no rule of the gate is about this request")]
    Unmapped,
    /// The gate has not heard of kills yet.
    #[error("this gate has not heard from any daemon since it started: it does not know what was killed")]
    Unheard,
    /// The gate's view of kills is too old.
    #[error(
        "this gate last heard from a daemon {age} s ago, and relies on it for {max_stale} s: it does not know what was killed since"
    )]
    Stale {
        /// Seconds.
        age: i64,
        /// Seconds.
        max_stale: i64,
    },
    /// One of the two clocks is wrong.
    #[error("the clocks of this gate and of the daemon differ by {0} s: nobody knows what has expired")]
    Clock(i64),
    /// No token.
    #[error("access needs a token: Authorization: Bearer or DPoP")]
    NoToken,
    /// Not a token's header.
    #[error("the Authorization header is neither Bearer nor DPoP with one token")]
    Authorization,
    /// The token.
    #[error(transparent)]
    Token(#[from] Rejection),
    /// Bound to a key, but shown as if it were not, or the other way round.
    #[error("the token is bound in another way than this scheme proves: {0}")]
    Scheme(&'static str),
    /// No certificate.
    #[error("the token is bound to a client certificate, and the connection to the proxy showed none")]
    NoCertificate,
    /// The certificate's header.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Another certificate.
    #[error("the token is bound to another client certificate")]
    OtherCertificate,
    /// No proof.
    #[error("the token is bound to a key: a DPoP proof is needed")]
    NoProof,
    /// The proof.
    #[error("the DPoP proof does not hold: {0}")]
    Proof(#[from] ProofError),
    /// Another key.
    #[error("the token is bound to another key than that of the proof")]
    OtherKey,
    /// The same, where the connection itself is the proof.
    #[error("the token is bound to another key than that of the connection's certificate")]
    OtherTlsKey,
    /// A proof that was used.
    #[error("the DPoP proof was used before: each request needs one of its own")]
    Replayed,
    /// More proofs than can be remembered.
    #[error("so many proofs were used within a short time that no more can be told from replays")]
    TooManyProofs,
    /// The use cannot be written down.
    #[error("this gate cannot note the use, and nothing passes unseen: look at its disk and its daemons")]
    Unnoted,
    /// The token is good, but not for this.
    #[error("the token does not allow this action on this resource")]
    Details,
}

/// What a refusal means to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It showed nothing: 401 without an error (RFC 6750 section 3).
    Challenge,
    /// The token is not good: 401 `invalid_token`.
    Token,
    /// The proof is not good: 401 `invalid_dpop_proof` (RFC 9449 section 7.1).
    Proof,
    /// The token is good, but not for this: 403 `insufficient_scope`.
    Scope,
    /// Nothing that the client shows would help: 403.
    Forbidden,
}

impl Refusal {
    /// What it means.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::NoToken => Kind::Challenge,
            Self::Authorization
            | Self::Token(_)
            | Self::Scheme(_)
            | Self::NoCertificate
            | Self::OtherCertificate
            | Self::OtherTlsKey => Kind::Token,
            Self::NoProof | Self::Proof(_) | Self::OtherKey | Self::Replayed | Self::TooManyProofs => {
                Kind::Proof
            }
            Self::Details => Kind::Scope,
            Self::Untrusted
            | Self::Unsaid(_)
            | Self::Repeated(_)
            | Self::Unreadable(_)
            | Self::Path(_)
            | Self::Unmapped
            | Self::Unheard
            | Self::Stale { .. }
            | Self::Clock(_)
            | Self::Unnoted
            | Self::Certificate(_) => Kind::Forbidden,
        }
    }

    /// Stable, `UPPER_SNAKE`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Untrusted => "PROXY_NOT_TRUSTED",
            Self::Unsaid(_) => "PROXY_HEADER_MISSING",
            Self::Repeated(_) => "HEADER_REPEATED",
            Self::Unreadable(_) => "HEADER_UNREADABLE",
            Self::Path(PathError::Ambiguous) => "PATH_AMBIGUOUS",
            Self::Path(_) => "PATH_INVALID",
            Self::Unmapped => "REQUEST_UNMAPPED",
            Self::Unheard => "KILL_VIEW_MISSING",
            Self::Stale { .. } => "KILL_VIEW_STALE",
            Self::Clock(_) => "CLOCK_WRONG",
            Self::NoToken => "TOKEN_MISSING",
            Self::Authorization => "AUTHORIZATION_INVALID",
            Self::Token(rejection) => rejection.reason(),
            Self::Scheme(_) => "SCHEME_MISMATCH",
            Self::NoCertificate => "CERTIFICATE_MISSING",
            Self::Certificate(_) => "CERTIFICATE_HEADER_INVALID",
            Self::OtherCertificate => "CERTIFICATE_MISMATCH",
            Self::NoProof => "DPOP_MISSING",
            Self::Proof(error) => error.reason(),
            Self::OtherKey => "DPOP_KEY_MISMATCH",
            Self::OtherTlsKey => "TLS_KEY_MISMATCH",
            Self::Replayed => "DPOP_REPLAYED",
            Self::TooManyProofs => "DPOP_TOO_MANY",
            Self::Unnoted => "USE_UNNOTED",
            Self::Details => "DETAILS_NOT_COVERED",
        }
    }
}
