//! `breakglass custodian enrol`: a key is generated on the device, and the device proves it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    cli::{Session, clock, device, exit::Problem, files, files::DeviceFile, text::Fields},
    domain::{attestation, charter::Device, id::PersonId},
    piv::{self, Enrolment, ManagementKey, Serial},
};

/// Enrol a custodian's YubiKey: make a key on it and read the proof of that
///
/// The private key is generated on the device in slot 9c and cannot leave it; each signature will need PIN and touch.
/// The device attests this with a certificate chain, which is kept beside the charter. Change the PIN, PUK and
/// management key from the factory's before you use the key in earnest (ykman piv access).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass custodian enrol --serial 12345678 --person bob --out bob.json --root yubico-piv-root.pem")]
pub(crate) struct Args {
    /// Serial number of the YubiKey, as printed on it
    #[arg(long, value_name = "N")]
    serial: Serial,
    /// The person whose key it is: the id that the charter will use
    #[arg(long, value_name = "ID")]
    person: PersonId,
    /// Where to write the device's record for the charter draft
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Verify the attestation against this root now (PEM or DER); may be repeated
    #[arg(long, value_name = "FILE")]
    root: Vec<PathBuf>,
    /// Intermediate certificate between device and root (PEM or DER), which newer YubiKeys need; may be repeated
    #[arg(long, value_name = "FILE")]
    intermediate: Vec<PathBuf>,
    /// Read the PIN from the first line of this file instead of asking
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// The management key is kept on the device behind the PIN, instead of being the factory's
    #[arg(long)]
    protected_management_key: bool,
    /// Destroy the key that slot 9c holds already
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    if args.out.exists() {
        let message =
            format!("{} exists already: choose another place, so that nothing is lost", args.out.display());
        return Err(Problem::usage("FILE_EXISTS", message).into());
    }
    let roots = files::certificates(&args.root)?;
    let intermediates = files::certificates(&args.intermediate)?;
    let pin = device::pin(args.pin_file.as_deref(), &format!("PIN of YubiKey {}:", args.serial))?;
    session.out.say(format!("YubiKey {} makes a key …", args.serial))?;
    let enrolled = piv::enrol(&Enrolment {
        serial: args.serial,
        pin: &pin,
        management_key: if args.protected_management_key {
            ManagementKey::Protected
        } else {
            ManagementKey::Default
        },
        overwrite: args.overwrite,
    })?;
    if !roots.is_empty() {
        let attested = attestation::verify(&enrolled.attestation, &roots, &intermediates, clock::now())
            .with_context(|| {
                format!("the attestation of YubiKey {} does not lead to the root", args.serial)
            })?;
        if attested.public_key != enrolled.public_key || attested.serial != args.serial.0 {
            let message = "the attestation is about another key or device: do not use this YubiKey";
            return Err(Problem::unverified("ATTESTATION_MISMATCH", message).into());
        }
    }
    let evidence = enrolled.attestation;
    let record = DeviceFile {
        person: args.person.clone(),
        device: Device::Piv {
            key: enrolled.public_key,
            serial: args.serial.0,
            firmware: enrolled.firmware,
            attestation: Some(evidence.digest()),
        },
        evidence,
    };
    files::write_json(&args.out, &record)?;
    let result = json!({
        "person": record.person,
        "serial": args.serial.0,
        "firmware": enrolled.firmware,
        "kid": enrolled.public_key.thumbprint(),
        "attestation_verified": !roots.is_empty(),
        "factory_secrets": enrolled.factory_secrets,
        "file": args.out,
    });
    session.out.result(&result, || {
        let mut fields = Fields::default();
        fields.add("key", enrolled.public_key.thumbprint().to_string());
        fields.add("firmware", enrolled.firmware.to_string());
        fields.add("asks for", "PIN and touch, for every signature");
        fields.add(
            "attestation",
            if roots.is_empty() {
                "read, not verified (no --root given); the charter's check will"
            } else {
                "verified: the key was made on the device"
            },
        );
        if enrolled.factory_secrets {
            fields.add(
                "warning",
                "PIN, PUK or management key is still the factory's: change it with ykman piv access",
            );
        }
        format!(
            "Enrolled YubiKey {} for {}.\n{}\nNext: name {} in the charter draft.",
            args.serial,
            args.person,
            fields.render(),
            args.out.display()
        )
    })
}
