//! Signing statements: with the own file key, or with a hardware key.
//!
//! Invariant: what is signed is exactly what was shown; the signature is verified before it leaves.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use p256::{
    SecretKey,
    ecdsa::{Signature as Ecdsa, SigningKey, signature::Signer as _},
    pkcs8::DecodePrivateKey as _,
};
use zeroize::Zeroizing;

use super::{
    Session, clock,
    device::{self, Custodian, DeviceArgs},
    random,
};
use crate::{
    domain::{charter::Rules, id::RequestId, statement::AboutRequest},
    jose::{GeneralJws, P256PublicKey, ProtectedHeader, Signature, Typ, json},
    piv::{Pin, PivKey},
};

/// A private key in a file.
pub(crate) struct FileKey {
    secret: SecretKey,
    /// Its public half.
    pub(crate) public: P256PublicKey,
}

impl FileKey {
    /// A key that was just made.
    pub(crate) fn new(secret: SecretKey) -> Result<Self> {
        let public = P256PublicKey::try_from(&secret.public_key())?;
        Ok(Self { secret, public })
    }

    /// Reads PEM: PKCS#8 or SEC1.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let place = || format!("the key {} cannot be used", path.display());
        let text = Zeroizing::new(fs::read_to_string(path).with_context(place)?);
        let secret = SecretKey::from_pkcs8_pem(&text)
            .or_else(|_| SecretKey::from_sec1_pem(&text))
            .with_context(|| format!("{}: a P-256 private key in PEM is expected", place()))?;
        Self::new(secret)
    }

    /// The key itself, for encoding and for key agreement.
    pub(crate) fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// Signs a statement.
    pub(crate) fn sign(&self, typ: Typ, payload: &[u8], iat: i64) -> Result<Signature> {
        let header = ProtectedHeader { kid: self.public.thumbprint(), typ, iat, station: None };
        let protected = header.encode()?;
        let made: Ecdsa = SigningKey::from(&self.secret).sign(&Signature::signing_input(&protected, payload));
        let signature = Signature::new(protected, made.to_bytes().into())?;
        signature.verify(payload, &self.public, typ)?;
        Ok(signature)
    }
}

/// What is signed with a hardware key.
pub(crate) struct Statement<'a> {
    pub(crate) typ: Typ,
    pub(crate) payload: &'a [u8],
    pub(crate) station: Option<&'a str>,
    /// The signer's clock, Unix seconds.
    pub(crate) iat: i64,
}

/// Signs with a hardware key that must hold `public`; waits for the touch.
pub(crate) fn sign_with_device(
    key: &PivKey,
    public: &P256PublicKey,
    pin: &Pin,
    statement: &Statement<'_>,
) -> Result<Signature> {
    let Statement { typ, payload, station, iat } = *statement;
    let header =
        ProtectedHeader { kid: public.thumbprint(), typ, iat, station: station.map(ToOwned::to_owned) };
    let protected = header.encode()?;
    let digest = crate::jose::Digest::of(&Signature::signing_input(&protected, payload));
    let made = key.sign(public, digest.as_bytes(), pin)?;
    let signature = Signature::new(protected, made)?;
    signature.verify(payload, public, typ)?;
    Ok(signature)
}

/// Asks whether to sign, then for PIN and touch, and signs: the way of every command that ends with a custodian's touch.
pub(crate) fn consent(
    custodian: &Custodian,
    question: &str,
    (typ, payload): (Typ, &[u8]),
    args: &DeviceArgs,
    session: &mut Session,
) -> Result<Signature> {
    device::confirm(&mut session.out, question, args.yes)?;
    let pin = custodian.pin(args)?;
    session.out.say(format!("Touch YubiKey {} when it blinks …", custodian.key.serial()))?;
    let statement = Statement { typ, payload, station: None, iat: clock::now() };
    sign_with_device(&custodian.key, &custodian.public, &pin, &statement)
}

/// A withdrawal or redemption of a request.
pub(crate) fn about(rules: &Rules, id: RequestId) -> Result<Vec<u8>> {
    let about = AboutRequest {
        iss: rules.document().iss.clone(),
        charter: rules.digest(),
        request_id: id,
        nonce: random::nonce()?,
    };
    Ok(json::canonical(&about)?)
}

/// A statement with one signature.
pub(crate) fn single(payload: Vec<u8>, signature: Signature) -> GeneralJws {
    GeneralJws { payload, signatures: vec![signature] }
}
