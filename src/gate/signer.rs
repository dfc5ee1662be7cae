//! The verifier's key, as far as the gate makes statements with it.
//!
//! Invariant: nothing is signed but what this program made, under the two types that are a gate's.

use std::path::Path;

use p256::{
    SecretKey,
    ecdsa::{Signature as Ecdsa, SigningKey, signature::Signer as _},
    pkcs8::DecodePrivateKey as _,
};
use zeroize::Zeroizing;

use super::keep::KeepError;
use crate::jose::{Digest, GeneralJws, JoseError, P256PublicKey, ProtectedHeader, Signature, Typ};

/// See the module.
pub(super) struct Signer {
    key: SigningKey,
    kid: Digest,
}

impl Signer {
    /// Reads PEM: PKCS#8 or SEC1.
    pub(super) fn load(path: &Path) -> Result<Self, KeepError> {
        let file = |source| KeepError::File { path: path.to_owned(), source };
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(file)?);
        let secret = SecretKey::from_pkcs8_pem(&text).or_else(|_| SecretKey::from_sec1_pem(&text));
        let secret = secret.map_err(|_| KeepError::Key { path: path.to_owned() })?;
        let public = P256PublicKey::try_from(&secret.public_key())?;
        Ok(Self { key: SigningKey::from(&secret), kid: public.thumbprint() })
    }

    /// A statement of one signature. `iat`: Unix seconds.
    pub(super) fn sign(&self, typ: Typ, payload: Vec<u8>, iat: i64) -> Result<GeneralJws, JoseError> {
        let protected = ProtectedHeader { kid: self.kid, typ, iat, station: None }.encode()?;
        let made: Ecdsa = self.key.sign(&Signature::signing_input(&protected, &payload));
        let signature = Signature::new(protected, made.to_bytes().into())?;
        Ok(GeneralJws { payload, signatures: vec![signature] })
    }
}
