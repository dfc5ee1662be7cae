//! Which documents are charters: everything that can be checked without signatures.
//!
//! Each rule refuses with a sentence that names the record and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CharterError, ProfileQuorums, Rules, availability,
    document::{Client, Device, Document, IssuingKey, KeyState, Person, Profile, Role, Term},
    holders::{self, Holder},
    outside, recovery,
};
use crate::{
    domain::{
        claims,
        grant::MAX_TTL,
        id::{GroupId, PersonId},
        quorum::{Formula, Quorum},
    },
    jose::{Digest, IssuingPublicKey, P256PublicKey, b64},
};

const MAX_PERSONS: usize = 64;
const MAX_ADVISORIES: usize = 32;
const MAX_LIFETIME: i64 = 366 * 86_400;
const MAX_WINDOW: u32 = 7 * 86_400;
/// A token and its header line have to pass proxies that take 8 kB.
pub(crate) const MAX_TOKEN_BYTES: usize = 7_500;
/// The claims of a plain grant, before any approval; a profile in which not even that fits is of no use.
const PLAIN_CLAIMS_BYTES: usize = 3_000;

pub(super) fn check(document: Document, digest: Digest) -> Result<Rules, CharterError> {
    header(&document)?;
    persons(&document)?;
    clients(&document)?;
    distinct(&document)?;
    attestation(&document)?;
    keys(&document)?;
    outside::check(&document)?;
    let holders = holders::collect(&document)?;
    apart(&document, &holders)?;
    let governance = formula(&document, "governance", &document.governance, Role::Custodian)?;
    let resolve = |of: &Formula| formula(&document, "recovery", of, Role::Recovery);
    let recovery = document.recovery.as_ref().map(resolve).transpose()?;
    recovery::check(&document, recovery.as_ref())?;
    let mut quorums = BTreeMap::new();
    for profile in &document.profiles {
        if quorums.insert(profile.id.clone(), self::profile(&document, profile)?).is_some() {
            return refuse(format!("profile {} appears twice", profile.id));
        }
    }
    let rules = Rules { document, digest, holders, quorums, governance, recovery };
    availability::check(&rules)?;
    Ok(rules)
}

/// A key has one purpose: those of people and tools, of daemons, those that issue and operational ones are not the same.
fn apart(document: &Document, holders: &BTreeMap<Digest, Holder>) -> Result<(), CharterError> {
    let issuing = || document.issuing_keys.iter().map(|key| &key.key);
    if let Some(key) = issuing().map(IssuingPublicKey::thumbprint).find(|kid| holders.contains_key(kid)) {
        return refuse(format!("issuing key {key} is also somebody's own key"));
    }
    let operational = || document.operational_keys.iter().map(|key| &key.key);
    let taken = |kid: &Digest| {
        holders.contains_key(kid) || issuing().map(IssuingPublicKey::thumbprint).any(|one| one == *kid)
    };
    if let Some(key) = operational().map(P256PublicKey::thumbprint).find(taken) {
        return refuse(format!("operational key {key} is also an issuing key, or somebody's own"));
    }
    let people = holders
        .values()
        .map(|holder| holder.key.spki_der())
        .chain(operational().map(P256PublicKey::spki_der));
    let others: BTreeSet<Digest> =
        people.chain(issuing().map(|key| key.key().spki_der())).map(|der| Digest::of(&der)).collect();
    match document.daemons.iter().find(|daemon| others.contains(&daemon.spki)) {
        Some(daemon) => refuse(format!("the key of daemon {} is also somebody else's key", daemon.id)),
        None => Ok(()),
    }
}

fn refuse<T>(why: String) -> Result<T, CharterError> {
    Err(CharterError::Content(why))
}

fn header(document: &Document) -> Result<(), CharterError> {
    if document.version == 0 || (document.version == 1) != document.previous.is_none() {
        return refuse("version 1 has no previous charter, and every later one names it".into());
    }
    if document.version > 1 && document.replaces.is_some() {
        return refuse("only version 1 can replace another chain".into());
    }
    let lifetime = document.expires_at.saturating_sub(document.issued_at);
    if document.issued_at < 0 || !(1..=MAX_LIFETIME).contains(&lifetime) {
        return refuse("it must expire after it was issued, within 366 days".into());
    }
    if document.log_keys.is_empty() || document.daemons.is_empty() || document.profiles.is_empty() {
        return refuse("it needs at least one profile, one log key and one daemon".into());
    }
    Ok(())
}

fn persons(document: &Document) -> Result<(), CharterError> {
    if document.persons.len() > MAX_PERSONS {
        return refuse(format!("at most {MAX_PERSONS} persons"));
    }
    for person in &document.persons {
        let Person { id, name, roles, devices, .. } = person;
        if name.trim().is_empty() || name.len() > 80 {
            return refuse(format!("{id} needs a name of 1 to 80 bytes"));
        }
        let duty = [Role::Custodian, Role::Recovery].into_iter().find(|role| roles.contains(role));
        if let Some(role) = duty.filter(|_| devices.is_empty()) {
            return refuse(format!("{id} is a {} without a device", role.as_str()));
        }
    }
    for Person { id, term, .. } in &document.persons {
        never(id.as_str(), term)?;
    }
    for (group, members) in &document.groups {
        if members.is_empty() {
            return refuse(format!("group {group} has no members"));
        }
        let keeps = |id| has_role(document, id, Role::Custodian) || has_role(document, id, Role::Recovery);
        if let Some(stranger) = members.iter().find(|member| !keeps(member)) {
            return refuse(format!("{stranger} in group {group} is no custodian of this charter"));
        }
    }
    Ok(())
}

/// A term that is over before it begins is a slip of the pen.
fn never(id: &str, term: &Term) -> Result<(), CharterError> {
    match (term.from, term.until) {
        (Some(from), Some(until)) if until <= from => {
            refuse(format!("the term of {id} ends before it begins"))
        }
        _ => Ok(()),
    }
}

fn has_role(document: &Document, id: &PersonId, role: Role) -> bool {
    document.persons.iter().any(|person| person.id == *id && person.roles.contains(&role))
}

fn clients(document: &Document) -> Result<(), CharterError> {
    for client in &document.clients {
        let Client { id, owners, roles, subjects, keys, term, .. } = client;
        never(id.as_str(), term)?;
        if roles.contains(&Role::Custodian) || roles.contains(&Role::Recovery) {
            return refuse(format!("client {id} cannot be a custodian: only persons approve and recover"));
        }
        if owners.is_empty() || keys.is_empty() {
            return refuse(format!("client {id} needs at least one owner and one key"));
        }
        if let Some(owner) =
            owners.iter().find(|owner| !document.persons.iter().any(|person| person.id == **owner))
        {
            return refuse(format!("owner {owner} of client {id} is no person of this charter"));
        }
        if let Some(subject) = subjects.iter().find(|subject| !has_role(document, subject, Role::Requester)) {
            return refuse(format!(
                "client {id} may not file for {subject}, who is no requester of this charter"
            ));
        }
    }
    Ok(())
}

/// Ids, serial numbers and certificates each belong to one record.
fn distinct(document: &Document) -> Result<(), CharterError> {
    let devices = || document.persons.iter().flat_map(|person| &person.devices);
    let persons = document.persons.iter().map(|person| person.id.to_string());
    let clients = document.clients.iter().map(|client| client.id.to_string());
    let verifiers = document.verifiers.iter().map(|verifier| verifier.id.to_string());
    if let Some(reserved) = persons_and_tools(document).find(|id| *id == crate::domain::canary::SUBJECT) {
        return refuse(format!("{reserved} is nobody's id: canaries are called so"));
    }
    let sinks = || document.receipts.iter().flat_map(|receipts| &receipts.sinks);
    let of_persons = document.persons.iter().flat_map(|person| &person.certificates);
    let of_clients = document.clients.iter().flat_map(|client| &client.certificates);
    once("id", persons.chain(clients).chain(verifiers).chain(sinks().map(|sink| sink.id.to_string())))?;
    once("sink", sinks().map(|sink| sink.key.thumbprint().to_string()))?;
    // Custodians see names: two persons under one name could not be told apart.
    once("name", document.persons.iter().map(|person| person.name.clone()))?;
    once("device", devices().map(|device| device.serial().to_string()))?;
    once("certificate", of_persons.chain(of_clients).map(ToString::to_string))?;
    once("issuing key", document.issuing_keys.iter().map(|key| key.key.thumbprint().to_string()))?;
    once("operational key", document.operational_keys.iter().map(|key| key.key.thumbprint().to_string()))?;
    let secrets = document.verifiers.iter().filter_map(|verifier| verifier.secret);
    once("secret", secrets.map(|secret| secret.to_string()))?;
    once("log origin", document.log_keys.iter().map(|key| key.origin.to_string()))?;
    once("daemon", document.daemons.iter().map(|daemon| daemon.id.to_string()))?;
    once("daemon key", document.daemons.iter().map(|daemon| daemon.spki.to_string()))
}

fn persons_and_tools(document: &Document) -> impl Iterator<Item = &str> {
    let persons = document.persons.iter().map(|person| person.id.as_str());
    persons.chain(document.clients.iter().map(|client| client.id.as_str()))
}

fn once(what: &str, mut values: impl Iterator<Item = String>) -> Result<(), CharterError> {
    let mut seen = BTreeSet::new();
    match values.find(|value| !seen.insert(value.clone())) {
        Some(twice) => refuse(format!("{what} {twice} appears twice: each belongs to one record")),
        None => Ok(()),
    }
}

fn attestation(document: &Document) -> Result<(), CharterError> {
    let policy = &document.attestation;
    if policy.roots.is_empty() && !document.development {
        return refuse("it names no attestation root, which only a development charter may do".into());
    }
    if policy.roots.iter().any(|root| b64::decode(root).is_err()) {
        return refuse("an attestation root is not base64url of a DER certificate".into());
    }
    if policy.intermediates.iter().any(|one| b64::decode(one).is_err()) {
        return refuse("an attestation intermediate is not base64url of a DER certificate".into());
    }
    if policy.advisories.len() > MAX_ADVISORIES {
        return refuse(format!("it names more than {MAX_ADVISORIES} advisories"));
    }
    if let Some(empty) = policy.advisories.iter().find(|one| one.from.is_some_and(|from| from >= one.below)) {
        return refuse(format!(
            "no firmware is from {} on and below {}: correct {empty}",
            empty.from.unwrap_or(empty.below),
            empty.below
        ));
    }
    for person in &document.persons {
        for Device::Piv { serial, firmware, attestation, .. } in &person.devices {
            if attestation.is_none() && !policy.roots.is_empty() {
                return refuse(format!("device {serial} of {} has no attestation", person.id));
            }
            if let Some(advisory) = policy.affecting(*firmware) {
                return refuse(format!(
                    "device {serial} of {} has firmware {firmware}, which {advisory} affects: replace it",
                    person.id
                ));
            }
            if policy.minimum_firmware.is_some_and(|minimum| *firmware < minimum) {
                return refuse(format!(
                    "device {serial} of {} has firmware {firmware}, older than demanded",
                    person.id
                ));
            }
        }
    }
    Ok(())
}

fn keys(document: &Document) -> Result<(), CharterError> {
    for key in &document.issuing_keys {
        let mut named = key.profiles.iter();
        if let Some(unknown) = named.find(|id| !document.profiles.iter().any(|profile| profile.id == **id)) {
            return refuse(format!(
                "issuing key {} names profile {unknown}, which does not exist",
                key.key.thumbprint()
            ));
        }
    }
    Ok(())
}

fn profile(document: &Document, profile: &Profile) -> Result<ProfileQuorums, CharterError> {
    let id = &profile.id;
    if profile.authorization_details.is_empty() {
        return refuse(format!("profile {id} allows nothing"));
    }
    if profile.authorization_details.iter().any(|rule| rule.actions.is_empty() || rule.locations.is_empty()) {
        return refuse(format!("profile {id} has a rule without actions or locations, which allows nothing"));
    }
    if !(1..=MAX_TTL).contains(&profile.max_ttl) || !(1..=MAX_WINDOW).contains(&profile.approval_window) {
        return refuse(format!(
            "profile {id}: max_ttl is 1 second to a day, approval_window 1 second to a week"
        ));
    }
    if profile.description.trim().is_empty() || profile.description.len() > 200 {
        return refuse(format!("profile {id} needs a description of 1 to 200 bytes"));
    }
    let active = |key: &&IssuingKey| key.state == KeyState::Active && key.profiles.contains(id);
    let signing = document.issuing_keys.iter().filter(active);
    let Some(signature) = signing.map(|key| key.key.signature_bytes()).max() else {
        return refuse(format!("profile {id} has no active issuing key"));
    };
    let approve = formula(document, &format!("profile {id}"), &profile.quorum, Role::Custodian)?;
    let size = claims::token_bytes(PLAIN_CLAIMS_BYTES, approve.most_seats(), profile.stations, signature);
    if size > MAX_TOKEN_BYTES {
        return refuse(format!(
            "profile {id}: its tokens would have {size} bytes, and {MAX_TOKEN_BYTES} is the most that proxies take"
        ));
    }
    let denials = profile.denials.as_ref();
    let place = format!("denials of profile {id}");
    let deny = denials.map(|denials| formula(document, &place, denials, Role::Custodian)).transpose()?;
    outside::review(profile)?;
    let place = format!("review of profile {id}");
    let review = profile.review.as_ref();
    let review = review.map(|review| formula(document, &place, &review.by, Role::Custodian)).transpose()?;
    Ok(ProfileQuorums { approve, deny, review })
}

/// Resolves a formula, all of whose persons have this role.
fn formula(document: &Document, place: &str, formula: &Formula, role: Role) -> Result<Quorum, CharterError> {
    let groups: &BTreeMap<GroupId, BTreeSet<PersonId>> = &document.groups;
    let quorum = Quorum::new(formula.clone(), groups)
        .map_err(|source| CharterError::Formula { place: place.to_owned(), source })?;
    match quorum.persons().iter().find(|person| !has_role(document, person, role)) {
        Some(stranger) => {
            let role = role.as_str();
            refuse(format!("{stranger} in the formula of {place} is no {role} of this charter"))
        }
        None => Ok(quorum),
    }
}
