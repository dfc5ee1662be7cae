//! A charter draft: TOML that a person writes, with files for what machines made.
//!
//! Unknown keys are refused. Paths are relative to the draft. What the draft leaves out has no hidden meaning: the
//! charter that comes out shows all of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Deserializer};

use crate::{
    cli::{
        exit::Problem,
        files::{self, DaemonFile, DeviceFile},
        text,
    },
    domain::{
        charter::{
            Advisory, AttestationPolicy, Client, Document, Firmware, IssuingKey, KeyState, KillLevel,
            OperationalKey, Person, Probe, Profile, Receipts, RequesterKey, Review, Role, Term, Verifier,
        },
        detail::Rule,
        evidence::Evidence,
        id::{Audience, Endpoint, GroupId, Issuer, Nonce, PersonId, PrincipalId, ProfileId},
        quorum::Formula,
    },
    jose::{Digest, P256PublicKey, b64},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Draft {
    issuer: Issuer,
    #[serde(default)]
    development: bool,
    #[serde(default = "ninety")]
    valid_days: u16,
    /// What `breakglassd setup` wrote.
    daemon: PathBuf,
    #[serde(default)]
    attestation_roots: Vec<PathBuf>,
    #[serde(default)]
    attestation_intermediates: Vec<PathBuf>,
    minimum_firmware: Option<Firmware>,
    #[serde(default)]
    advisories: BTreeSet<Advisory>,
    governance: Formula,
    recovery: Option<Formula>,
    #[serde(default)]
    groups: BTreeMap<GroupId, BTreeSet<PersonId>>,
    #[serde(rename = "person")]
    persons: Vec<PersonDraft>,
    #[serde(rename = "client", default)]
    clients: Vec<ClientDraft>,
    #[serde(rename = "profile")]
    profiles: Vec<ProfileDraft>,
    #[serde(rename = "verifier", default)]
    verifiers: Vec<VerifierDraft>,
    #[serde(default)]
    kill_rights: BTreeMap<KillLevel, BTreeSet<PrincipalId>>,
    receipts: Option<Receipts>,
    /// The issuer of status lists and security events: another than that of tokens.
    operational_issuer: Option<Issuer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonDraft {
    id: PersonId,
    name: String,
    roles: BTreeSet<Role>,
    #[serde(default, deserialize_with = "instant")]
    from: Option<i64>,
    #[serde(default, deserialize_with = "instant")]
    until: Option<i64>,
    /// Files of `breakglass custodian enrol`.
    #[serde(default)]
    devices: Vec<PathBuf>,
    /// Files of `breakglass key new`.
    #[serde(default)]
    keys: Vec<PathBuf>,
    /// Client certificates to which tokens may be bound.
    #[serde(default)]
    certificates: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientDraft {
    id: PrincipalId,
    owners: BTreeSet<PersonId>,
    roles: BTreeSet<Role>,
    #[serde(default)]
    subjects: BTreeSet<PersonId>,
    #[serde(default, deserialize_with = "instant")]
    from: Option<i64>,
    #[serde(default, deserialize_with = "instant")]
    until: Option<i64>,
    keys: Vec<PathBuf>,
    #[serde(default)]
    certificates: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileDraft {
    id: ProfileId,
    description: String,
    quorum: Formula,
    denials: Option<Formula>,
    audience: Audience,
    #[serde(rename = "allow")]
    allows: Vec<Rule>,
    #[serde(deserialize_with = "span")]
    max_ttl: u32,
    #[serde(deserialize_with = "span")]
    approval_window: u32,
    #[serde(default, deserialize_with = "span")]
    cooldown: u32,
    #[serde(default = "file_key")]
    requester_key: RequesterKey,
    #[serde(default)]
    stations: bool,
    review: Option<ReviewDraft>,
    #[serde(default)]
    status: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReviewDraft {
    #[serde(deserialize_with = "span")]
    within: u32,
    by: Formula,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifierDraft {
    id: PrincipalId,
    audience: Audience,
    probe: Option<Probe>,
    #[serde(default, deserialize_with = "span")]
    longest_session: u32,
    revocation_hook: Option<Endpoint>,
    #[serde(default)]
    keys: Vec<PathBuf>,
    /// What `breakglass key secret` printed.
    secret: Option<Digest>,
    events: Option<Endpoint>,
}

const fn ninety() -> u16 {
    90
}

const fn file_key() -> RequesterKey {
    RequesterKey::File
}

/// `"15m"`, as `--ttl` takes it.
fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    text::parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// `2026-01-31T00:00:00Z`, as a TOML time or as text.
fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let time = toml::value::Datetime::deserialize(deserializer)?.to_string();
    let parsed: jiff::Timestamp = time.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "{time} is no instant: write it with an offset, 2026-01-31T00:00:00Z"
        ))
    })?;
    Ok(Some(parsed.as_second()))
}

/// A document with the attestation evidence that belongs beside it.
pub(super) struct Drafted {
    pub(super) document: Document,
    pub(super) evidence: Vec<Evidence>,
}

/// Reads a draft and the files it names.
pub(super) fn read(path: &Path, nonce: Nonce, now: i64) -> Result<Drafted> {
    let bytes = files::read(path)?;
    let draft: Draft = toml::from_str(&String::from_utf8_lossy(&bytes)).map_err(|error| {
        Problem::usage("DRAFT_SHAPE", format!("{} is no charter draft:\n{error}", path.display()))
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    draft.resolve(&Folder(folder), nonce, now)
}

/// The folder that a draft's paths are relative to.
struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn keys(&self, paths: &[PathBuf]) -> Result<Vec<P256PublicKey>> {
        let read =
            |path: &PathBuf| files::read_json(&self.0.join(path), "a public key of breakglass key new");
        paths.iter().map(read).collect()
    }

    fn certificates(&self, paths: &[PathBuf]) -> Result<BTreeSet<Digest>> {
        Ok(self.ders(paths)?.iter().map(|der| Digest::of(der)).collect())
    }

    fn ders(&self, paths: &[PathBuf]) -> Result<Vec<Vec<u8>>> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| self.0.join(path)).collect();
        files::certificates(&paths)
    }
}

impl Draft {
    fn resolve(self, folder: &Folder<'_>, nonce: Nonce, now: i64) -> Result<Drafted> {
        let daemon: DaemonFile =
            files::read_json(&folder.0.join(&self.daemon), "what breakglassd setup writes")?;
        let mut evidence = Vec::new();
        let persons = self.persons.into_iter().map(|person| person.resolve(folder, &mut evidence));
        let persons = persons.collect::<Result<Vec<Person>>>()?;
        let clients = self.clients.into_iter().map(|client| client.resolve(folder));
        let clients = clients.collect::<Result<Vec<Client>>>()?;
        let verifiers = self.verifiers.into_iter().map(|verifier| verifier.resolve(folder));
        let profiles: Vec<Profile> = self.profiles.into_iter().map(ProfileDraft::resolve).collect();
        let roots = folder.ders(&self.attestation_roots).context("an attestation root cannot be read")?;
        let intermediates = folder
            .ders(&self.attestation_intermediates)
            .context("an attestation intermediate cannot be read")?;
        let issuing_key = IssuingKey {
            key: daemon.issuing_key,
            profiles: profiles.iter().map(|profile| profile.id.clone()).collect(),
            state: KeyState::Active,
        };
        let operational_issuer = match (self.operational_issuer, &daemon.operational_key) {
            (Some(issuer), _) => Some(issuer),
            (None, Some(_)) => Some(operational_issuer(&self.issuer)?),
            (None, None) => None,
        };
        let operational_keys = operational_issuer.into_iter().zip(daemon.operational_key);
        let operational_keys = operational_keys.map(|(iss, key)| OperationalKey { iss, key });
        let document = Document {
            version: 1,
            previous: None,
            replaces: None,
            nonce,
            iss: self.issuer,
            development: self.development,
            issued_at: now,
            expires_at: now.saturating_add(i64::from(self.valid_days) * 86_400),
            persons,
            clients,
            groups: self.groups,
            profiles,
            governance: self.governance,
            recovery: self.recovery,
            by_recovery: false,
            issuing_keys: vec![issuing_key],
            operational_keys: operational_keys.collect(),
            log_keys: vec![daemon.log_key],
            daemons: vec![daemon.daemon],
            attestation: AttestationPolicy {
                roots: roots.iter().map(|root| b64::encode(root)).collect(),
                intermediates: intermediates.iter().map(|one| b64::encode(one)).collect(),
                minimum_firmware: self.minimum_firmware,
                advisories: self.advisories,
            },
            verifiers: verifiers.collect::<Result<_>>()?,
            kill_rights: self.kill_rights,
            receipts: self.receipts,
        };
        Ok(Drafted { document, evidence })
    }
}

/// Where nobody names another: one below that of tokens.
pub(super) fn operational_issuer(issuer: &Issuer) -> Result<Issuer> {
    let text = format!("{}/ops", issuer.as_str().trim_end_matches('/'));
    text.parse().context("name an operational_issuer in the draft")
}

impl PersonDraft {
    fn resolve(self, folder: &Folder<'_>, evidence: &mut Vec<Evidence>) -> Result<Person> {
        let mut devices = Vec::new();
        for path in &self.devices {
            let path = folder.0.join(path);
            let file: DeviceFile = files::read_json(&path, "a record of breakglass custodian enrol")?;
            if file.person != self.id {
                let message =
                    format!("{} is about {}, but {} names it as his", path.display(), file.person, self.id);
                return Err(Problem::usage("DEVICE_OF_ANOTHER", message).into());
            }
            devices.push(file.device);
            evidence.push(file.evidence);
        }
        Ok(Person {
            id: self.id,
            name: self.name,
            roles: self.roles,
            term: Term { from: self.from, until: self.until },
            devices,
            keys: folder.keys(&self.keys)?,
            certificates: folder.certificates(&self.certificates)?,
        })
    }
}

impl ClientDraft {
    fn resolve(self, folder: &Folder<'_>) -> Result<Client> {
        Ok(Client {
            id: self.id,
            owners: self.owners,
            roles: self.roles,
            subjects: self.subjects,
            term: Term { from: self.from, until: self.until },
            keys: folder.keys(&self.keys)?,
            certificates: folder.certificates(&self.certificates)?,
        })
    }
}

impl ProfileDraft {
    fn resolve(self) -> Profile {
        Profile {
            id: self.id,
            description: self.description,
            quorum: self.quorum,
            denials: self.denials,
            aud: self.audience,
            authorization_details: self.allows,
            max_ttl: self.max_ttl,
            approval_window: self.approval_window,
            cooldown: self.cooldown,
            requester_key: self.requester_key,
            stations: self.stations,
            review: self.review.map(|review| Review { within: review.within, by: review.by }),
            status: self.status,
        }
    }
}

impl VerifierDraft {
    fn resolve(self, folder: &Folder<'_>) -> Result<Verifier> {
        Ok(Verifier {
            id: self.id,
            aud: self.audience,
            probe: self.probe,
            longest_session: self.longest_session,
            revocation_hook: self.revocation_hook,
            keys: folder.keys(&self.keys)?,
            secret: self.secret,
            events: self.events,
        })
    }
}
