//! Pure JOSE: strict JSON, digests, keys, JWS, JWT, JWE. Knows nothing of requests or custodians.
//!
//! Invariants: one algorithm per purpose (ES256, ECDH-ES with A256GCM), and for tokens one per issuing key; a header is exactly the members that its
//! kind has, so nothing in a message can choose how it is verified; the key always comes from the caller.
//! Specs: RFC 7515 (JWS), 7516 (JWE), 7517 (JWK), 7518 (JWA), 7519 (JWT), 7638 (thumbprint), 8725 (best practice),
//! 8785 (JCS), 9068 (`at+jwt`), 9449 (DPoP).

mod alg;
pub mod b64;
mod digest;
mod dpop;
mod error;
mod header;
mod issuing;
pub mod json;
pub mod jwe;
mod jws;
mod jwt;
mod key;
mod p384;
mod rsa;
mod said;
mod typ;

pub use alg::TokenAlg;
pub use digest::Digest;
pub use dpop::{DpopClaims, DpopProof};
pub use error::JoseError;
pub use header::ProtectedHeader;
pub use issuing::{IssuingPublicKey, PublicKey};
pub use jws::{GeneralJws, MAX_SIGNATURES, Signature};
pub use jwt::CompactJwt;
pub use key::{Ed25519PublicKey, P256PublicKey};
pub use p384::P384PublicKey;
pub use rsa::RsaPublicKey;
pub use said::Said;
pub use typ::Typ;
