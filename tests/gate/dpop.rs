//! DPoP proofs as a client makes them, with every field open to change.

use breakglass::jose::{Digest, b64};
use serde_json::{Value, json};

use crate::kit::Key;

/// The claims of a good proof.
pub fn claims(method: &str, url: &str, token: &str, iat: i64, jti: &str) -> Value {
    json!({"jti": jti, "htm": method, "htu": url, "iat": iat, "ath": Digest::of(token.as_bytes())})
}

/// A proof under the header that clients send.
pub fn proof(key: &Key, claims: &Value) -> String {
    with_header(key, &json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk()}), claims)
}

/// A proof under any header.
pub fn with_header(key: &Key, header: &Value, claims: &Value) -> String {
    let text = |value: &Value| b64::encode(value.to_string().as_bytes());
    let input = format!("{}.{}", text(header), text(claims));
    format!("{input}.{}", b64::encode(&key.sign(input.as_bytes())))
}
