//! `breakglassd setup`: initialises devices, generates keys, and writes the public halves that a charter lists.
//!
//! Invariants: nothing that exists is overwritten, and files appear whole or not at all, so it can be run again after an
//! interruption at any point and goes on there; the one thing it cannot finish, an `hsm_token` that got no user PIN, it
//! names. The SO PIN is random and forgotten when the token has its user PIN.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use super::{devices, key_file, process};
use crate::{
    config::{DaemonConfig, DeviceConfig, LogKeyConfig, Pkcs11Config},
    grpc::{cert, tls::Identity},
    hsm::{
        FileLogKey, KeyName, LogSigner as _, Pkcs11Module, SigningDevice as _, UserPin, initialise_token,
        token_exists, write_new,
    },
    jose::{Ed25519PublicKey, IssuingPublicKey, P256PublicKey, TokenAlg},
    piv::{Enrolment, ManagementKey, Pin, PivKey, Serial, Slot, enrol_issuer},
    tlog::Origin,
};

/// Arguments of `setup`.
#[derive(Debug, clap::Args)]
pub(super) struct Setup {
    /// File to write the public halves to.
    #[arg(long)]
    public: PathBuf,
    /// How the issuing key signs tokens: ES256, ES384, `EdDSA`, RS256 or PS256.
    #[arg(long, default_value_t)]
    alg: TokenAlg,
    /// Name of the audit log, e.g. `breakglass.example/log`.
    #[arg(long)]
    origin: Origin,
    /// Initialise missing HSM tokens (`SoftHSM` and new devices); others have to be there already.
    #[arg(long)]
    initialise: bool,
}

impl Setup {
    pub(super) fn run(&self, config: &DaemonConfig) -> anyhow::Result<()> {
        fs::create_dir_all(&config.data_dir)
            .with_context(|| format!("{} cannot be created", config.data_dir.display()))?;
        let _alone = alone(config)?;
        let issuing = self.key_on(&config.hsm, self.alg, "issuing")?;
        if let Some(DeviceConfig::Pkcs11(standby)) = &config.standby {
            // Its keys are made by `issuing-key --standby`.
            self.token(standby)?;
        }
        let operational = config.operational.as_ref();
        let operational =
            operational.map(|device| self.key_on(device, TokenAlg::Es256, "operational")).transpose()?;
        let log = self.log_key(&config.log_key)?;
        let identity = tls_identity(config)?;
        let mut public = json!({
            "issuing_key": issuing,
            "log_key": {"origin": self.origin, "key": log},
            "daemon": {"id": config.id, "spki": identity.spki()},
        });
        if let (Some(key), Some(members)) = (operational, public.as_object_mut()) {
            members.insert("operational_key".to_owned(), serde_json::to_value(key)?);
        }
        fs::write(&self.public, serde_json::to_vec_pretty(&public)?)
            .with_context(|| format!("{} cannot be written", self.public.display()))?;
        process::print_line(&format!("keys are ready; their public halves are in {}", self.public.display()));
        Ok(())
    }

    fn token(&self, config: &Pkcs11Config) -> anyhow::Result<std::sync::Arc<crate::hsm::Pkcs11Token>> {
        if !self.initialise {
            return devices::token(config);
        }
        let module = Pkcs11Module::open(&config.module)?;
        if !token_exists(&module, &config.token)? {
            // The PIN is written before the token has it: an earlier run may have come as far as that.
            if !config.pin_file.exists() {
                UserPin::random(&mut rng()).write_new(&config.pin_file)?;
            }
            let pin = UserPin::from_file(&config.pin_file)?;
            initialise_token(&module, &config.token, &pin, &mut rng())
                .context("the hsm_token could not be initialised")?;
        } else if !config.pin_file.exists() {
            bail!(
                "there is an hsm_token {}, but no PIN file {}: put the file back, or set `token` to another name",
                config.token,
                config.pin_file.display()
            );
        }
        devices::token(config)
    }

    /// The one key on the device, made if there is none.
    fn key_on(&self, config: &DeviceConfig, alg: TokenAlg, what: &str) -> anyhow::Result<IssuingPublicKey> {
        let config = match config {
            DeviceConfig::Pkcs11(config) => config,
            DeviceConfig::Yubikey { serial, pin_file } => {
                anyhow::ensure!(alg == TokenAlg::Es256, "a YubiKey signs tokens with ES256 only");
                return Ok(self.yubikey_key(*serial, pin_file)?.into());
            }
        };
        let token = self.token(config)?;
        if let keys @ [_, ..] = token.public_keys()?.as_slice() {
            let key = only(keys.to_vec(), what)?;
            let other =
                format!("the {what} key on the device is of another algorithm; run setup with its --alg");
            return IssuingPublicKey::new(key, alg).context(other);
        }
        Ok(token.generate_issuing(alg, &KeyName::new(&format!("{what}-1"))?, &mut rng())?.public_key)
    }

    /// The key in slot 9a; made there if the slot is empty. Its PIN is set beforehand, with ykman.
    fn yubikey_key(&self, serial: u32, pin_file: &Path) -> anyhow::Result<P256PublicKey> {
        let pin = UserPin::from_file(pin_file)?;
        let key = PivKey::open(Serial(serial))?.slot(Slot::Authentication);
        if let Ok(key) = key.public_key() {
            return Ok(key);
        }
        anyhow::ensure!(
            self.initialise,
            "slot 9a of YubiKey {serial} is empty; run setup with --initialise to make a key"
        );
        let pin = Pin::new(pin.reveal().as_bytes())?;
        let enrolment = Enrolment {
            serial: Serial(serial),
            pin: &pin,
            management_key: ManagementKey::Default,
            overwrite: false,
        };
        Ok(enrol_issuer(&enrolment)?.public_key)
    }

    fn log_key(&self, config: &LogKeyConfig) -> anyhow::Result<Ed25519PublicKey> {
        match config {
            LogKeyConfig::File(config) if config.file.exists() => {
                Ok(*FileLogKey::open(&config.file)?.public_key())
            }
            LogKeyConfig::File(config) => Ok(*FileLogKey::create(&config.file, &mut rng())?.public_key()),
            LogKeyConfig::Pkcs11(config) => {
                let token = self.token(config)?;
                if let keys @ [_, ..] = token.ed25519_public_keys()?.as_slice() {
                    return only(keys.to_vec(), "log");
                }
                Ok(token.generate_ed25519(&KeyName::new("log-1")?, &mut rng())?.public_key)
            }
        }
    }
}

fn only<T>(keys: Vec<T>, what: &str) -> anyhow::Result<T> {
    let count = keys.len();
    match (count, keys.into_iter().next()) {
        (1, Some(key)) => Ok(key),
        _ => bail!(
            "{count} {what} keys are on the device, and setup expects one; name them in the charter by hand"
        ),
    }
}

/// The operating system's randomness; a failure of it ends the program.
pub(super) fn rng() -> impl rand_core::CryptoRng {
    rand_core::UnwrapErr(getrandom::SysRng)
}

/// The TLS key and certificate; each made if it is not there, the key first.
fn tls_identity(config: &DaemonConfig) -> anyhow::Result<Identity> {
    let grpc = &config.grpc;
    let cannot = |path: &Path| format!("{} cannot be created", path.display());
    if !grpc.key.exists() {
        anyhow::ensure!(
            !grpc.certificate.exists(),
            "there is a TLS certificate {}, but no key {}: put the key back, or remove the certificate",
            grpc.certificate.display(),
            grpc.key.display()
        );
    }
    if !grpc.certificate.exists() {
        let key = key_file::read_or_make(&grpc.key)?;
        let certificate = cert::self_signed(&key, config.id.as_str(), &grpc.names)?;
        write_new(&grpc.certificate, 0o644, certificate.as_bytes())
            .with_context(|| cannot(&grpc.certificate))?;
    }
    Ok(Identity::from_files(&grpc.certificate, &grpc.key)?)
}

/// Keeps two setups apart, until it is dropped or the process ends.
fn alone(config: &DaemonConfig) -> anyhow::Result<fs::File> {
    let directory = fs::File::open(&config.data_dir)?;
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(directory),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            bail!("another setup is at work in {}; wait for it to end", config.data_dir.display())
        }
        Err(error) => Err(error).context(format!("{} cannot be locked", config.data_dir.display())),
    }
}
