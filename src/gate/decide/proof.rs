//! DPoP proofs as a gate judges them: for this request, this token, now, and once.
//!
//! Invariants: a proof is remembered for as long as it could be shown again; one that was made before this process started is
//! refused, since another process may have seen it; the memory is bounded, and when it is full nothing more is believed.
//! Spec: RFC 9449 sections 4.3 and 11.1.

use std::collections::HashSet;

use crate::{
    domain::time::SKEW,
    gate::{clock::Moment, map::Path},
    jose::{Digest, DpopProof, JoseError},
};

/// Proofs of one generation.
const GENERATION: usize = 1 << 20;
/// Milliseconds after which no proof of an earlier one counts: from the earliest `iat` to the latest.
const LIFE: i64 = 2 * SKEW * 1000;

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a proof.
    #[error("it is malformed: {0}")]
    Malformed(JoseError),
    /// The signature.
    #[error("its signature is not valid")]
    Signature,
    /// For another method.
    #[error("it is for another method")]
    Method,
    /// For another place.
    #[error("it is for another URL")]
    Url,
    /// Too old, or from the future.
    #[error(
        "it was made more than {SKEW} s from now, or before this gate started; make one for each request"
    )]
    Time,
    /// For another token.
    #[error("it is for another token")]
    Token,
}

impl ProofError {
    /// Stable, `UPPER_SNAKE`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "DPOP_MALFORMED",
            Self::Signature => "DPOP_SIGNATURE_INVALID",
            Self::Method => "DPOP_METHOD_MISMATCH",
            Self::Url => "DPOP_URL_MISMATCH",
            Self::Time => "DPOP_TIME",
            Self::Token => "DPOP_TOKEN_MISMATCH",
        }
    }
}

/// What a proof has to be about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The method.
    pub method: &'a str,
    /// `https` or `http`.
    pub scheme: &'a str,
    /// Host, and port if it is not the scheme's own.
    pub host: &'a str,
    /// The path.
    pub path: &'a Path<'a>,
    /// SHA-256 of the token.
    pub token: Digest,
}

impl About<'_> {
    /// Whether the proof is about this. Its signature is the caller's matter. `started`: when this process did.
    pub(super) fn check(
        &self,
        proof: &DpopProof<'_>,
        now: Moment,
        started: Moment,
    ) -> Result<(), ProofError> {
        let claims = &proof.claims;
        if claims.htm != self.method {
            return Err(ProofError::Method);
        }
        if !self.is_at(&claims.htu) {
            return Err(ProofError::Url);
        }
        let age = now.seconds().saturating_sub(claims.iat);
        if age.saturating_abs() > SKEW || claims.iat < started.seconds() {
            return Err(ProofError::Time);
        }
        if claims.ath == self.token { Ok(()) } else { Err(ProofError::Token) }
    }

    /// Whether this URL is the request's, after the normalisations of RFC 3986 sections 6.2.2 and 6.2.3 that `Path` leaves.
    fn is_at(&self, url: &str) -> bool {
        let Some((scheme, rest)) = url.split_once("://") else { return false };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') { target } else { "/" };
        let default = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        let host = |text: &str| text.strip_suffix(default).unwrap_or(text).to_ascii_lowercase();
        scheme.eq_ignore_ascii_case(self.scheme)
            && host(authority) == host(self.host)
            && Path::parse(target).is_ok_and(|path| path.segments == self.path.segments)
    }
}

/// The proofs that were used.
#[derive(Debug, Default)]
pub(super) struct Used {
    young: HashSet<[u8; 16]>,
    old: HashSet<[u8; 16]>,
    /// Monotonic milliseconds since when the young ones are collected.
    since: i64,
}

/// What came of using a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    First,
    Again,
    Full,
}

impl Used {
    /// Uses a proof with this id under this key.
    pub(super) fn admit(&mut self, jkt: &Digest, jti: &str, now: Moment) -> Use {
        if now.monotonic.saturating_sub(self.since) >= LIFE {
            let idle = now.monotonic.saturating_sub(self.since) >= 2 * LIFE;
            self.old = std::mem::take(&mut self.young);
            if idle {
                self.old = HashSet::new();
            }
            self.since = now.monotonic;
        }
        let id = Digest::of(&[jkt.as_bytes(), jti.as_bytes()].concat());
        let id = *id.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]);
        if self.young.contains(&id) || self.old.contains(&id) {
            return Use::Again;
        }
        if self.young.len() >= GENERATION {
            return Use::Full;
        }
        self.young.insert(id);
        Use::First
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(monotonic: i64) -> Moment {
        Moment { wall: monotonic, monotonic }
    }

    #[test]
    fn a_proof_counts_once_for_as_long_as_it_could_be_shown() {
        let mut used = Used::default();
        let key = Digest::of(b"key");
        let start = 1_000_000;
        assert_eq!(used.admit(&key, "a", at(start)), Use::First);
        for later in [0, 1, LIFE / 2, LIFE - 1, LIFE] {
            assert_eq!(used.admit(&key, "a", at(start + later)), Use::Again, "{later}");
        }
        assert_eq!(
            used.admit(&Digest::of(b"other"), "a", at(start + LIFE)),
            Use::First,
            "ids are each key's own"
        );
        assert_eq!(used.len(), 2);
        assert_eq!(used.admit(&key, "b", at(start + 4 * LIFE)), Use::First);
        assert_eq!(used.len(), 1, "what could not be shown any more is forgotten");
    }

    #[test]
    fn urls_are_compared_as_rfc_3986_reads_them() {
        let path = Path::parse("/db/a%20b?x=1").unwrap();
        let about =
            About { method: "GET", scheme: "https", host: "A.example", path: &path, token: Digest::of(b"") };
        for url in [
            "https://a.example/db/a%20b",
            "HTTPS://A.EXAMPLE:443/db/a%20b",
            "https://a.example/db/%61%20b?y=2",
            "https://a.example/db/a%20b#f",
        ] {
            assert!(about.is_at(url), "{url}");
        }
        for url in [
            "http://a.example/db/a%20b",
            "https://b.example/db/a%20b",
            "https://a.example:8443/db/a%20b",
            "https://a.example/db/a%20b/",
            "https://a.example/db/../db/a%20b",
            "https://a.example/db",
            "https://a.example",
            "https://u@a.example/db/a%20b",
            "/db/a%20b",
            "",
        ] {
            assert!(!about.is_at(url), "{url}");
        }
        let root = Path::parse("/").unwrap();
        assert!(About { path: &root, ..about }.is_at("https://a.example"));
    }
}
