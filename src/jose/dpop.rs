//! DPoP proofs: a compact JWS with which a client shows, for one request, that it has the key that its token is bound to.
//!
//! Invariants: the header is exactly `typ`, `alg` and `jwk`; the key is public, and its algorithm one that it can have; `crit`,
//! `kid`, `x5c` and the like are refused. Foreign clients write the JSON, so it need not be canonical; no member comes twice.
//! What the claims have to say is the caller's matter. Spec: RFC 9449 section 4.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::excerpt;
use super::{Digest, IssuingPublicKey, JoseError, TokenAlg, b64};

const TYP: &str = "dpop+jwt";
/// A proof at most, in bytes; one with an RSA key of 4,096 bits has about 1,700.
const MAX_PROOF: usize = 4_096;
/// Bytes of a `jti`; RFC 9449 asks for 96 bits at least, which is up to the client.
const MAX_JTI: usize = 256;

/// A proof, parsed. Nothing about it is true before [`Self::verify`].
#[derive(Debug)]
pub struct DpopProof<'a> {
    signing_input: &'a str,
    signature: Vec<u8>,
    key: IssuingPublicKey,
    /// What it says.
    pub claims: DpopClaims,
}

/// What a proof says; members that are not known are left aside, as RFC 9449 wants it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DpopClaims {
    /// The proof's id.
    pub jti: String,
    /// The method of the request.
    pub htm: String,
    /// Its URL, without query and fragment.
    pub htu: String,
    /// When it was made, Unix seconds.
    pub iat: i64,
    /// SHA-256 of the access token.
    pub ath: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    typ: String,
    alg: String,
    jwk: Jwk,
}

/// A public key; the members that only describe it are read and not used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    #[serde(rename = "kid")]
    _kid: Option<String>,
    #[serde(rename = "use")]
    _use: Option<String>,
    #[serde(rename = "alg")]
    _alg: Option<String>,
    #[serde(rename = "key_ops")]
    _key_ops: Option<Vec<String>>,
    #[serde(rename = "ext")]
    _ext: Option<bool>,
}

impl<'a> DpopProof<'a> {
    /// Reads a proof.
    ///
    /// # Errors
    /// `TOO_LONG`, `COMPACT_MALFORMED`, `TYP_UNEXPECTED`, `ALG_NOT_ALLOWED`, or an error of JSON, base64url or the key.
    pub fn parse(text: &'a str) -> Result<Self, JoseError> {
        if text.len() > MAX_PROOF {
            return Err(JoseError::TooLong { limit: MAX_PROOF, actual: text.len() });
        }
        let malformed = || JoseError::Compact { expected: 3 };
        let (signing_input, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or_else(malformed)?;
        let header: Header = read(header)?;
        if header.typ != TYP {
            return Err(JoseError::TypUnexpected { expected: TYP, found: excerpt(&header.typ) });
        }
        let key = header.jwk.into_key(header.alg.parse()?)?;
        let claims: DpopClaims = read(payload)?;
        if claims.jti.is_empty() || claims.jti.len() > MAX_JTI {
            return Err(JoseError::HeaderValue { name: "jti" });
        }
        Ok(Self { signing_input, signature: b64::decode(signature)?, key, claims })
    }

    /// The RFC 7638 thumbprint of the key: what a token's `cnf.jkt` names.
    #[must_use]
    pub fn jkt(&self) -> Digest {
        self.key.thumbprint()
    }

    /// Checks the signature by the key in the header: that whoever made the proof has it, and no more.
    ///
    /// # Errors
    /// [`JoseError::Length`], [`JoseError::SignatureInvalid`].
    pub fn verify(&self) -> Result<(), JoseError> {
        self.key.verify(self.signing_input.as_bytes(), &self.signature)
    }
}

/// A base64url text of a JSON object.
fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, JoseError> {
    serde_json::from_slice(&b64::decode(text)?)
        .map_err(|error| JoseError::JsonShape { detail: excerpt(&error.to_string()) })
}

impl Jwk {
    fn into_key(self, alg: TokenAlg) -> Result<IssuingPublicKey, JoseError> {
        let Self { kty, crv, x, y, n, e, .. } = self;
        // An RSA key does not tell its algorithm; any other has one only.
        let rsa = (kty == "RSA").then(|| alg.as_str().to_owned());
        let members =
            [("alg", rsa), ("crv", crv), ("e", e), ("kty", Some(kty)), ("n", n), ("x", x), ("y", y)];
        let present = members.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into())));
        let jwk: Map<String, Value> = present.collect();
        let key: IssuingPublicKey = serde_json::from_value(Value::Object(jwk))
            .map_err(|_| JoseError::Key { kind: "DPoP", detail: "not a public key that can be used here" })?;
        if key.alg() == alg {
            Ok(key)
        } else {
            Err(JoseError::Alg { expected: key.alg().as_str(), found: alg.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
    use serde_json::json;

    use super::*;

    fn signing() -> SigningKey {
        SigningKey::from_slice(&[7; 32]).unwrap()
    }

    fn jwk() -> Value {
        let point = signing().verifying_key().to_sec1_point(false);
        let key = super::super::P256PublicKey::from_sec1(point.as_bytes()).unwrap();
        serde_json::to_value(key).unwrap()
    }

    fn claims() -> Value {
        json!({"jti": "a", "htm": "GET", "htu": "https://a.example/", "iat": 1, "ath": Digest::of(b"a"), "more": 1})
    }

    fn proof(header: &str, claims: &str) -> String {
        let input = format!("{}.{}", b64::encode(header.as_bytes()), b64::encode(claims.as_bytes()));
        let signature: Signature = signing().sign(input.as_bytes());
        format!("{input}.{}", b64::encode(&signature.to_bytes()))
    }

    #[test]
    fn a_proof_shows_that_somebody_has_its_key() {
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk()}).to_string();
        let good = proof(&header, &claims().to_string());
        let parsed = DpopProof::parse(&good).unwrap();
        assert_eq!(parsed.verify(), Ok(()));
        assert_eq!(parsed.claims.htm, "GET");
        let other = proof(&header, &claims().to_string().replace("GET", "PUT"));
        let swapped = format!("{}.{}", other.rsplit_once('.').unwrap().0, good.rsplit_once('.').unwrap().1);
        assert_eq!(DpopProof::parse(&swapped).unwrap().verify(), Err(JoseError::SignatureInvalid));
    }

    #[test]
    fn headers_that_choose_something_are_refused() {
        let with = |name: &str, value: Value| {
            let mut header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk()});
            header[name] = value;
            header.to_string()
        };
        let in_jwk = |name: &str, value: Value| {
            let mut key = jwk();
            key[name] = value;
            with("jwk", key)
        };
        for header in [
            with("alg", json!("none")),
            with("alg", json!("HS256")),
            with("alg", json!("ES384")),
            with("alg", json!("RS256")),
            with("typ", json!("JWT")),
            with("typ", json!("at+jwt")),
            with("crit", json!(["exp"])),
            with("kid", json!("x")),
            with("jku", json!("https://evil.example/")),
            with("x5c", json!([])),
            in_jwk("d", json!("AAAA")),
            in_jwk("k", json!("AAAA")),
            in_jwk("kty", json!("oct")),
            in_jwk("crv", json!("P-521")),
            in_jwk("x", json!("AAAA")),
            r#"{"typ":"dpop+jwt","typ":"dpop+jwt"}"#.to_owned(),
            "{}".to_owned(),
            "[]".to_owned(),
        ] {
            assert!(DpopProof::parse(&proof(&header, &claims().to_string())).is_err(), "{header}");
        }
        // What some libraries add to a public key says nothing.
        let described = in_jwk("key_ops", json!(["verify"]));
        assert!(DpopProof::parse(&proof(&described, &claims().to_string())).is_ok());
    }

    #[test]
    fn claims_are_complete_and_texts_are_short() {
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk()}).to_string();
        for name in ["jti", "htm", "htu", "iat", "ath"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(name);
            assert!(DpopProof::parse(&proof(&header, &claims.to_string())).is_err(), "{name}");
        }
        let twice = claims().to_string().replace(r#""htm":"GET""#, r#""htm":"GET","htm":"PUT""#);
        assert!(DpopProof::parse(&proof(&header, &twice)).is_err());
        for text in ["", ".", "..", "a.b.c", "a.b.c.d", &"a".repeat(MAX_PROOF + 1)] {
            assert!(DpopProof::parse(text).is_err());
        }
        let long = claims().to_string().replace(r#""a""#, &format!("{:?}", "a".repeat(MAX_JTI + 1)));
        assert!(DpopProof::parse(&proof(&header, &long)).is_err());
    }
}
