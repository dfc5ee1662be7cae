//! Choosing the hardware key to sign with: by serial number and public key, never by guess.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::{exit::Problem, output::Out, terminal, text};
use crate::{
    domain::{
        charter::{KeyKind, Role, Rules},
        id::PersonId,
    },
    jose::P256PublicKey,
    piv::{self, Pin, PivKey, Serial},
};

/// Options of every command that signs with a hardware key.
#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    /// Serial number of the YubiKey to sign with; may be left out while only one of yours is plugged in
    #[arg(long, value_name = "N")]
    pub(crate) serial: Option<Serial>,
    /// Read the PIN from the first line of this file; for scripts, and only under a development charter
    #[arg(long, value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
    /// Do not ask for confirmation; for scripts, and only under a development charter
    #[arg(long)]
    pub(crate) yes: bool,
}

impl DeviceArgs {
    /// Refuses what scripts may do under a development charter only.
    pub(crate) fn check(&self, rules: &Rules) -> Result<()> {
        if (self.yes || self.pin_file.is_some()) && !rules.document().development {
            return Err(Problem::refused(
                "NOT_DEVELOPMENT",
                "--yes and --pin-file are for development charters, and this one is not: a person reads, confirms and enters the PIN",
            )
            .into());
        }
        Ok(())
    }
}

/// Who takes part in changes of the charter and in ceremonies; approving is for the first of these alone.
pub(crate) const KEEPERS: &[Role] = &[Role::Custodian, Role::Recovery];

/// A plugged-in hardware key of a custodian.
pub(crate) struct Custodian {
    pub(crate) person: PersonId,
    /// The name to show.
    pub(crate) name: String,
    pub(crate) key: PivKey,
    pub(crate) public: P256PublicKey,
}

impl Custodian {
    /// Whose key this is, if the charter lists it for somebody with this role, in term.
    pub(crate) fn recognise(rules: &Rules, key: PivKey, now: i64, wanted: &[Role]) -> Result<Self> {
        let serial = key.serial();
        let holder = rules.holders().find(|holder| holder.kind == KeyKind::Piv { serial: serial.0 });
        let holder = holder.ok_or_else(|| {
            let message = format!(
                "YubiKey {serial} belongs to nobody in this charter: use another key, or have it enrolled in the next charter"
            );
            Problem::refused("KEY_UNKNOWN", message)
        })?;
        if !wanted.iter().any(|role| holder.has(*role, now)) {
            let (who, reason) = match wanted.first() {
                Some(Role::Custodian | Role::Recovery) => ("custodian", "NOT_A_CUSTODIAN"),
                _ => ("requester", "REQUESTER_UNKNOWN"),
            };
            let message = format!(
                "YubiKey {serial} belongs to {}, who is no {who} at this time: another {who} must sign",
                holder.principal
            );
            return Err(Problem::refused(reason, message).into());
        }
        let person = holder.principal.as_person();
        if key.public_key()? != holder.key {
            let message = format!(
                "YubiKey {serial} of {person} holds another key than the charter lists: it was enrolled anew or reset; nothing was signed"
            );
            return Err(Problem::refused("KEY_UNKNOWN", message).into());
        }
        let name = rules.person(&person).map_or_else(String::new, |record| record.name.clone());
        Ok(Self { person, name, key, public: holder.key })
    }

    /// This key's PIN: from the file given, else typed unseen.
    pub(crate) fn pin(&self, args: &DeviceArgs) -> Result<Pin> {
        pin(args.pin_file.as_deref(), &format!("PIN of YubiKey {}:", self.key.serial()))
    }

    /// `bob (Bob Example), YubiKey 12345678`.
    pub(crate) fn describe(&self) -> String {
        format!("{} ({}), YubiKey {}", self.person, self.name, self.key.serial())
    }
}

/// The key with this serial number, or the only one of a custodian that is plugged in; of several, a person chooses.
pub(crate) fn choose(
    out: &mut Out,
    rules: &Rules,
    serial: Option<Serial>,
    now: i64,
    wanted: &[Role],
) -> Result<Custodian> {
    if let Some(serial) = serial {
        return Custodian::recognise(rules, PivKey::open(serial)?, now, wanted);
    }
    let plugged = piv::devices()?;
    let known = |serial: Serial| {
        let mut holders = rules.holders();
        holders.find(|holder| holder.kind == KeyKind::Piv { serial: serial.0 })
    };
    let mut mine: Vec<_> = plugged.into_iter().filter(|device| known(device.serial).is_some()).collect();
    if mine.len() > 1 {
        let rows: Vec<String> = mine
            .iter()
            .filter_map(|device| Some(format!("  {}  {}", device.serial, known(device.serial)?.principal)))
            .collect();
        out.say(format!("Several custodians' keys are plugged in:\n{}", rows.join("\n")))?;
        let chosen = out.ask("Serial number of the key to sign with:")?.and_then(|text| text.parse().ok());
        let Some(chosen) = chosen else {
            let message = "several keys are plugged in and none was chosen: give --serial N";
            return Err(Problem::usage("SERIAL_NEEDED", message).into());
        };
        mine.retain(|device| device.serial == chosen);
    }
    match mine.pop() {
        Some(device) => Custodian::recognise(rules, PivKey::at(device), now, wanted),
        None => Err(Problem::unavailable(
            "NO_DEVICE",
            "no custodian's YubiKey of this charter is plugged in: plug it in and try again",
        )
        .into()),
    }
}

/// The PIN: from the file given, else typed unseen.
pub(crate) fn pin(file: Option<&Path>, prompt: &str) -> Result<Pin> {
    if let Some(file) = file {
        return Ok(Pin::from_file(file)?);
    }
    Ok(Pin::new(&terminal::secret(&text::safe(prompt))?)?)
}

/// Asks a question that only a typed `yes` answers with yes.
pub(crate) fn confirm(out: &mut Out, question: &str, assumed: bool) -> Result<()> {
    if assumed {
        return Ok(());
    }
    match out.ask(&format!("{question} [yes/no]"))? {
        Some(answer) if answer.eq_ignore_ascii_case("yes") => Ok(()),
        Some(_) => Err(Problem::declined("nothing was signed, as you did not answer yes").into()),
        None => Err(Problem::declined(
            "nothing was signed: there is no terminal to ask on (for scripts under a development charter: --yes)",
        )
        .into()),
    }
}
