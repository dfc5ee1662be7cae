//! The common changes of a charter, made to a draft instead of by hand: people, their devices, issuing keys.
//!
//! Invariant: a change that finds nothing to change, or not exactly one thing, is refused; whether the result is a charter
//! is checked as for any draft.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::draft::operational_issuer;
use crate::{
    cli::{
        exit::Problem,
        files::{self, DeviceFile},
    },
    domain::{
        charter::{
            Advisory, Document, Firmware, IssuingKey, KeyState, OperationalKey, Person, Role, Verifier,
        },
        id::{Endpoint, GroupId, PersonId, PrincipalId, ProfileId},
    },
    jose::{Digest, IssuingPublicKey},
};

/// Changes to make to the draft.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Changes to make")]
pub(crate) struct Changes {
    /// Add a device: the record that breakglass custodian enrol wrote; it says whose it is
    #[arg(long, value_name = "FILE")]
    add_device: Vec<PathBuf>,
    /// Add a custodian, whose device --add-device adds
    #[arg(long, value_name = "ID=NAME", value_parser = person)]
    add_custodian: Vec<(PersonId, String)>,
    /// Put a person into a group
    #[arg(long, value_name = "ID=GROUP", value_parser = membership)]
    join: Vec<(PersonId, GroupId)>,
    /// Remove the device with this serial number
    #[arg(long, value_name = "SERIAL")]
    remove_device: Vec<u32>,
    /// Remove a person, from all groups as well
    #[arg(long, value_name = "ID")]
    remove_person: Vec<PersonId>,
    /// Accept no device with a published fault: those below this firmware, or from one on and below another
    #[arg(long, value_name = "ID=[FROM..]BELOW", value_parser = advisory)]
    advisory: Vec<Advisory>,
    /// Accept no device with older firmware
    #[arg(long, value_name = "VERSION", value_parser = firmware)]
    minimum_firmware: Option<Firmware>,
    /// Add an issuing key for all profiles: the public key that breakglassd issuing-key wrote
    #[arg(long, value_name = "FILE")]
    add_issuing_key: Vec<PathBuf>,
    /// Have a listed issuing key sign from now on; those that signed until now are deactivated
    #[arg(long, value_name = "FILE")]
    activate_issuing_key: Option<PathBuf>,
    /// Add an issuing key that signs at once; those that signed until now are compromised
    #[arg(long, value_name = "FILE", conflicts_with = "activate_issuing_key")]
    replace_issuing_key: Option<PathBuf>,
    /// Set where an issuing key is in its life: pre-active, active, suspended, deactivated, compromised or destroyed
    // One kid in 64 begins with a hyphen.
    #[arg(long, value_name = "KID=STATE", value_parser = key_state, allow_hyphen_values = true)]
    issuing_key: Vec<(Digest, KeyState)>,
    /// Add an operational key, after those there are: the public key that breakglassd wrote
    #[arg(long, value_name = "FILE")]
    add_operational_key: Vec<PathBuf>,
    /// Remove an operational key
    #[arg(long, value_name = "KID", allow_hyphen_values = true)]
    remove_operational_key: Vec<Digest>,
    /// Have a verifier ask the daemon about tokens: the digest that breakglass key secret printed
    #[arg(long, value_name = "ID=DIGEST", value_parser = secret)]
    verifier_secret: Vec<(PrincipalId, Digest)>,
    /// Send a verifier security events
    #[arg(long, value_name = "ID=URL", value_parser = endpoint)]
    verifier_events: Vec<(PrincipalId, Endpoint)>,
    /// Give tokens of a profile a place in the status list
    #[arg(long, value_name = "PROFILE")]
    status_list: Vec<ProfileId>,
}

fn pair(text: &str) -> Result<(&str, &str), String> {
    text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form A=B"))
}

fn person(text: &str) -> Result<(PersonId, String), String> {
    let (id, name) = pair(text)?;
    Ok((id.parse().map_err(|error| format!("{id}: {error}"))?, name.to_owned()))
}

fn secret(text: &str) -> Result<(PrincipalId, Digest), String> {
    let (id, digest) = pair(text)?;
    let digest = digest.parse().map_err(|error| format!("{digest}: {error}"))?;
    Ok((id.parse().map_err(|error| format!("{id}: {error}"))?, digest))
}

fn endpoint(text: &str) -> Result<(PrincipalId, Endpoint), String> {
    let (id, url) = pair(text)?;
    let url = url.parse().map_err(|error| format!("{url}: {error}"))?;
    Ok((id.parse().map_err(|error| format!("{id}: {error}"))?, url))
}

fn firmware(text: &str) -> Result<Firmware, String> {
    text.to_owned().try_into()
}

fn advisory(text: &str) -> Result<Advisory, String> {
    let (id, range) = pair(text)?;
    let (from, below) = match range.split_once("..") {
        Some((from, below)) => (Some(firmware(from)?), below),
        None => (None, range),
    };
    Ok(Advisory { id: id.to_owned().try_into()?, from, below: firmware(below)? })
}

fn membership(text: &str) -> Result<(PersonId, GroupId), String> {
    let (id, group) = pair(text)?;
    let group = group.parse().map_err(|error| format!("{group}: {error}"))?;
    Ok((id.parse().map_err(|error| format!("{id}: {error}"))?, group))
}

fn key_state(text: &str) -> Result<(Digest, KeyState), String> {
    let (kid, state) = text.rsplit_once('=').ok_or("a key's state is KID=STATE")?;
    let kid = kid.parse().map_err(|error| format!("{kid}: {error}"))?;
    let state = serde_json::from_value(state.into()).map_err(|_| format!("{state} is no state of a key"))?;
    Ok((kid, state))
}

impl Changes {
    /// Makes them.
    pub(super) fn make(&self, document: &mut Document) -> Result<()> {
        for serial in &self.remove_device {
            remove_device(document, *serial)?;
        }
        for id in &self.remove_person {
            remove_person(document, id)?;
        }
        for (id, name) in &self.add_custodian {
            add_custodian(document, id, name)?;
        }
        for file in &self.add_device {
            let record: DeviceFile = files::read_json(file, "the record of a device")?;
            let person = known(document, &record.person)?;
            person.devices.push(record.device);
        }
        for (id, group) in &self.join {
            known(document, id)?;
            let members = document.groups.get_mut(group);
            let members =
                members.ok_or_else(|| nothing(format!("the charter has no group {}", group.as_str())))?;
            members.insert(id.clone());
        }
        document.attestation.advisories.extend(self.advisory.iter().cloned());
        if self.minimum_firmware.is_some() {
            document.attestation.minimum_firmware = self.minimum_firmware;
        }
        for file in &self.add_issuing_key {
            add_key(document, file, KeyState::PreActive)?;
        }
        if let Some(file) = &self.activate_issuing_key {
            let key: IssuingPublicKey = files::read_json(file, "a public key")?;
            retire(document, KeyState::Deactivated);
            set_state(document, &key.thumbprint(), KeyState::Active)?;
        }
        if let Some(file) = &self.replace_issuing_key {
            retire(document, KeyState::Compromised);
            add_key(document, file, KeyState::Active)?;
        }
        for (kid, state) in &self.issuing_key {
            set_state(document, kid, *state)?;
        }
        self.make_for_verifiers(document)
    }

    /// What others are told about tokens.
    fn make_for_verifiers(&self, document: &mut Document) -> Result<()> {
        for kid in &self.remove_operational_key {
            let before = document.operational_keys.len();
            document.operational_keys.retain(|key| key.key.thumbprint() != *kid);
            if document.operational_keys.len() == before {
                return Err(nothing(format!("the charter has no operational key {kid}")).into());
            }
        }
        for file in &self.add_operational_key {
            let key = files::read_json(file, "a public key")?;
            let iss = match document.operational_keys.first() {
                Some(first) => first.iss.clone(),
                None => operational_issuer(&document.iss)?,
            };
            document.operational_keys.push(OperationalKey { iss, key });
        }
        for (id, digest) in &self.verifier_secret {
            verifier(document, id)?.secret = Some(*digest);
        }
        for (id, url) in &self.verifier_events {
            verifier(document, id)?.events = Some(url.clone());
        }
        for id in &self.status_list {
            let profile = document.profiles.iter_mut().find(|profile| profile.id == *id);
            profile.ok_or_else(|| nothing(format!("the charter has no profile {id}")))?.status = true;
        }
        Ok(())
    }
}

fn verifier<'a>(document: &'a mut Document, id: &PrincipalId) -> Result<&'a mut Verifier> {
    let found = document.verifiers.iter_mut().find(|verifier| verifier.id == *id);
    Ok(found.ok_or_else(|| nothing(format!("the charter has no verifier {id}")))?)
}

fn nothing(message: String) -> Problem {
    Problem::refused("NOTHING_TO_CHANGE", message)
}

fn known<'a>(document: &'a mut Document, id: &PersonId) -> Result<&'a mut Person> {
    let found = document.persons.iter_mut().find(|person| person.id == *id);
    Ok(found.ok_or_else(|| {
        nothing(format!("the charter has no person {id}; a new custodian needs --add-custodian {id}=NAME"))
    })?)
}

fn add_key(document: &mut Document, file: &Path, state: KeyState) -> Result<()> {
    let key = files::read_json(file, "a public key")?;
    let profiles = document.profiles.iter().map(|profile| profile.id.clone()).collect();
    document.issuing_keys.push(IssuingKey { key, profiles, state });
    Ok(())
}

/// The keys that sign now do so no more.
fn retire(document: &mut Document, state: KeyState) {
    for key in document.issuing_keys.iter_mut().filter(|key| key.state == KeyState::Active) {
        key.state = state;
    }
}

fn set_state(document: &mut Document, kid: &Digest, state: KeyState) -> Result<()> {
    let mut keys = document.issuing_keys.iter_mut();
    let key = keys.find(|key| key.key.thumbprint() == *kid);
    key.ok_or_else(|| nothing(format!("the charter has no issuing key {kid}")))?.state = state;
    Ok(())
}

fn remove_device(document: &mut Document, serial: u32) -> Result<()> {
    let before = document.persons.iter().map(|person| person.devices.len()).sum::<usize>();
    for person in &mut document.persons {
        person.devices.retain(|device| device.serial() != serial);
    }
    let after = document.persons.iter().map(|person| person.devices.len()).sum::<usize>();
    if after < before {
        return Ok(());
    }
    Err(nothing(format!("the charter has no device with serial number {serial}")).into())
}

fn remove_person(document: &mut Document, id: &PersonId) -> Result<()> {
    known(document, id)?;
    document.persons.retain(|person| person.id != *id);
    for members in document.groups.values_mut() {
        members.remove(id);
    }
    Ok(())
}

fn add_custodian(document: &mut Document, id: &PersonId, name: &str) -> Result<()> {
    if let Some(person) = document.persons.iter_mut().find(|person| person.id == *id) {
        // Whoever asks may become a custodian as well: still one record, so that nobody counts twice.
        if !person.roles.insert(Role::Custodian) {
            return Err(nothing(format!("{id} is a custodian already")).into());
        }
        return Ok(());
    }
    let at = document.persons.partition_point(|person| person.id < *id);
    let person = Person {
        id: id.clone(),
        name: name.to_owned(),
        roles: [Role::Custodian].into(),
        term: crate::domain::charter::Term::default(),
        devices: Vec::new(),
        keys: Vec::new(),
        certificates: std::collections::BTreeSet::new(),
    };
    document.persons.insert(at, person);
    Ok(())
}
