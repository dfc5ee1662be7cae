//! Opens the devices that the configuration names.

use std::sync::Arc;

use anyhow::{Context, bail};

use super::yubikey::YubikeyDevice;
use crate::{
    config::{DaemonConfig, DeviceConfig, LogKeyConfig, Pkcs11Config},
    engine::Keys,
    hsm::{
        DevicePair, FileLogKey, HsmError, LateDevice, LogSigner, Pkcs11LogKey, Pkcs11Module, Pkcs11Token,
        SigningDevice, TokenOptions, TokenSelector, UserPin,
    },
    jose::Ed25519PublicKey,
};

/// One of two, of which the other one signs.
const PAIR: &str = "one of the two issuing devices";
const OPERATIONAL: &str = "the device of operational keys";

/// Opens the `hsm_token` and proves its PIN.
pub(super) fn token(config: &Pkcs11Config) -> anyhow::Result<Arc<Pkcs11Token>> {
    open(config).with_context(|| format!("the hsm_token {} cannot be opened", config.token))
}

fn open(config: &Pkcs11Config) -> Result<Arc<Pkcs11Token>, HsmError> {
    let module = Pkcs11Module::open(&config.module)?;
    let selector = TokenSelector::new(&config.token, config.token_serial.as_deref())?;
    let pin = UserPin::from_file(&config.pin_file)?;
    let options = TokenOptions { sessions: config.sessions, ..TokenOptions::default() };
    Pkcs11Token::open(&module, selector, pin, options)
}

/// Opens the devices that answer: of two issuing devices one may be away, and is opened when it comes back.
pub(super) fn keys_at_hand(config: &DaemonConfig) -> anyhow::Result<Keys> {
    let operational = config.operational.as_ref().map(|device| at_hand(device, OPERATIONAL)).transpose()?;
    let Some(standby) = &config.standby else {
        let issuing = issuing_device(&config.hsm)?;
        return Ok(Keys { issuing, log: log_signer(&config.log_key)?, operational });
    };
    let (active, standby) = match (issuing_device(&config.hsm), issuing_device(standby)) {
        (Ok(active), Ok(standby)) => (active, standby),
        (Err(error), Ok(standby)) => (late(&config.hsm, error, PAIR)?, standby),
        (Ok(active), Err(error)) => (active, late(standby, error, PAIR)?),
        (Err(error), Err(_)) => return Err(error),
    };
    let issuing = Arc::new(DevicePair::new(active, standby));
    Ok(Keys { issuing, log: log_signer(&config.log_key)?, operational })
}

/// The device now, or later if it is away: what it signs is needed by others, not for an issuance.
fn at_hand(config: &DeviceConfig, what: &'static str) -> anyhow::Result<Arc<dyn SigningDevice>> {
    issuing_device(config).or_else(|error| late(config, error, what))
}

/// The device for later, if what keeps it away may pass.
fn late(
    config: &DeviceConfig,
    error: anyhow::Error,
    what: &'static str,
) -> anyhow::Result<Arc<dyn SigningDevice>> {
    let DeviceConfig::Pkcs11(config) = config else { return Err(error) };
    if !error.downcast_ref::<HsmError>().is_some_and(LateDevice::may_pass) {
        return Err(error);
    }
    let error: &(dyn std::error::Error + 'static) = error.as_ref();
    tracing::error!(name: "hsm.away", device = config.token, error, "ALARM: {what} is away; it is used as soon as it is back");
    let location = config.module.display().to_string();
    let (name, config) = (config.token.clone(), config.clone());
    Ok(Arc::new(LateDevice::new(&name, &location, move || Ok(open(&config)?))))
}

/// Opens all devices.
pub(super) fn keys(config: &DaemonConfig) -> anyhow::Result<Keys> {
    let active = issuing_device(&config.hsm)?;
    let issuing = match &config.standby {
        Some(standby) => Arc::new(DevicePair::new(active, issuing_device(standby)?)),
        None => active,
    };
    let operational = config.operational.as_ref().map(issuing_device).transpose()?;
    Ok(Keys { issuing, log: log_signer(&config.log_key)?, operational })
}

pub(super) fn issuing_device(config: &DeviceConfig) -> anyhow::Result<Arc<dyn SigningDevice>> {
    match config {
        DeviceConfig::Pkcs11(config) => Ok(token(config)?),
        DeviceConfig::Yubikey { serial, pin_file } => {
            Ok(Arc::new(YubikeyDevice::open(*serial, &UserPin::from_file(pin_file)?)?))
        }
    }
}

pub(super) fn log_signer(config: &LogKeyConfig) -> anyhow::Result<Arc<dyn LogSigner>> {
    match config {
        LogKeyConfig::File(config) => Ok(Arc::new(FileLogKey::open(&config.file)?)),
        LogKeyConfig::Pkcs11(config) => {
            let token = token(config)?;
            let key = only_log_key(&token, &config.token)?;
            Ok(Arc::new(Pkcs11LogKey::open(token, key)?))
        }
    }
}

fn only_log_key(token: &Pkcs11Token, label: &str) -> anyhow::Result<Ed25519PublicKey> {
    match token.ed25519_public_keys()?.as_slice() {
        [key] => Ok(*key),
        [] => bail!("the hsm_token {label} holds no Ed25519 key; run breakglassd setup"),
        keys => bail!("the hsm_token {label} holds {} Ed25519 keys, and one is expected", keys.len()),
    }
}
