//! A charter in plain words: who may do what, with which keys, and who must agree.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::grant::principal;
use crate::{
    cli::text::{self, Fields},
    domain::{
        charter::{Client, Device, KeyKind, Person, Profile, Replaced, Rules, Term},
        detail::Rule,
        quorum::Quorum,
        words,
    },
    jose::{Digest, GeneralJws, Typ},
};

/// The twelve words of a charter.
pub(crate) fn phrase(digest: &Digest) -> String {
    words::phrase(digest, words::CHARTER_WORDS).join(" ")
}

/// The rules, for people.
pub(crate) fn describe(rules: &Rules, now: i64) -> String {
    let document = rules.document();
    let mut shown = format!("Charter version {} of {}\n", document.version, document.iss);
    if document.development {
        shown.push_str("  DEVELOPMENT: scripts may enter PINs; strict verifiers refuse its tokens unless told otherwise\n");
    }
    if document.replaces.is_some() {
        shown.push_str("  BEGINS ANEW in place of a chain that nobody could continue: nothing of it carries over, all is pinned anew\n");
    }
    if document.by_recovery {
        shown.push_str(
            "  BY RECOVERY: sealed devices put this version in force, not the governance before it\n",
        );
    }
    let mut fields = Fields::default();
    fields.add("digest", rules.digest().to_string());
    fields.add("words", phrase(&rules.digest()));
    if let Some(Replaced { genesis, version }) = &document.replaces {
        fields.add("replaces", format!("the chain of {genesis}, at its version {version}"));
        fields.add("its words", phrase(genesis));
    }
    fields.add(
        "valid",
        format!("from {} until {}", text::instant(document.issued_at), text::until(document.expires_at, now)),
    );
    fields.add("changed by", rules.governance().describe());
    if let Some(recovery) = rules.recovery() {
        fields.add("recovery by", recovery.describe());
    }
    for (group, members) in &document.groups {
        let members: Vec<String> = members.iter().map(ToString::to_string).collect();
        fields.add(&format!("group {group}"), members.join(", "));
    }
    shown.push_str(&fields.render());
    for profile in &document.profiles {
        shown.push_str(&profile_text(rules, profile));
    }
    shown.push_str("\nPersons\n");
    for person in &document.persons {
        shown.push_str(&person_text(person));
    }
    if !document.clients.is_empty() {
        shown.push_str("\nTools\n");
        for client in &document.clients {
            shown.push_str(&client_text(rules, client));
        }
    }
    shown.push_str(&super::outside::describe(rules));
    shown.push_str("\nKeys\n");
    shown.push_str(&keys_text(rules));
    shown
}

fn profile_text(rules: &Rules, profile: &Profile) -> String {
    let mut fields = Fields::default();
    fields.add("for", text::safe(&profile.description));
    if let Some(quorums) = rules.quorums(&profile.id) {
        fields.add("approved by", quorums.approve.describe());
        let deny = quorums.deny.as_ref().map_or_else(|| "any one custodian".to_owned(), Quorum::describe);
        fields.add("denied by", deny);
    }
    fields.list("allows", profile.authorization_details.iter().map(rule));
    fields.add("at", profile.aud.to_string());
    fields.add("life", format!("at most {}", text::duration(profile.max_ttl.into())));
    fields.add("waits", format!("at most {} for approvals", text::duration(profile.approval_window.into())));
    if profile.cooldown > 0 {
        fields.add(
            "cooldown",
            format!("{} per person (enforced by the daemon alone)", text::duration(profile.cooldown.into())),
        );
    }
    if let (Some(review), Some(by)) =
        (&profile.review, rules.quorums(&profile.id).and_then(|quorums| quorums.review.as_ref()))
    {
        let within = text::duration(review.within.into());
        fields.add("reviewed", format!("within {within} of each issuance, by {}", by.describe()));
    }
    if profile.status {
        fields.add("status", "tokens have a place in the status list");
    }
    fields.add(
        "stations",
        if profile.stations {
            "approvals at a shared station count"
        } else {
            "approvals at a shared station do not count"
        },
    );
    format!("\nProfile {}\n{}", profile.id, fields.render())
}

fn rule(rule: &Rule) -> String {
    let join =
        |patterns: &BTreeSet<_>| patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let objects = if rule.identifiers.is_empty() {
        String::new()
    } else {
        format!(", only {}", join(&rule.identifiers))
    };
    format!("{} on {}{objects} ({})", join(&rule.actions), join(&rule.locations), rule.kind)
}

fn roles(roles: &BTreeSet<impl serde::Serialize>) -> String {
    let names =
        roles.iter().filter_map(|role| serde_json::to_value(role).ok()?.as_str().map(ToOwned::to_owned));
    let names: Vec<String> = names.collect();
    if names.is_empty() { "no role".to_owned() } else { names.join(", ") }
}

fn term(term: Term) -> String {
    let side = |word, at: Option<i64>| at.map(|at| format!("{word} {}", text::instant(at)));
    let sides: Vec<String> =
        [side("from", term.from), side("until", term.until)].into_iter().flatten().collect();
    if sides.is_empty() { String::new() } else { format!("; {}", sides.join(" ")) }
}

fn person_text(person: &Person) -> String {
    let mut fields = Fields::default();
    let devices = person.devices.iter().map(|device| {
        let attested = match device {
            Device::Piv { firmware, attestation, .. } => format!(
                "firmware {firmware}, {}",
                if attestation.is_some() { "attested" } else { "NOT attested" }
            ),
        };
        format!("YubiKey {}, {attested}", device.serial())
    });
    let keys = person.keys.iter().map(|key| format!("file key {}", key.thumbprint()));
    fields.list("", devices.chain(keys));
    format!(
        "  {} ({}): {}{}\n{}",
        person.id,
        text::safe(&person.name),
        roles(&person.roles),
        term(person.term),
        fields.render()
    )
}

fn client_text(rules: &Rules, client: &Client) -> String {
    let owners: Vec<String> =
        client.owners.iter().map(|owner| principal(rules, &owner.clone().into())).collect();
    let subjects: Vec<String> = client.subjects.iter().map(ToString::to_string).collect();
    let files_for = if subjects.is_empty() { "itself alone".to_owned() } else { subjects.join(", ") };
    let mut fields = Fields::default();
    fields.add("answered for by", owners.join(", "));
    fields.add("files for", files_for);
    fields.list("keys", client.keys.iter().map(|key| key.thumbprint().to_string()));
    let indented = fields.render().lines().fold(String::new(), |text, line| text + "  " + line + "\n");
    format!("  {}: {}{}\n{}", client.id, roles(&client.roles), term(client.term), indented)
}

fn keys_text(rules: &Rules) -> String {
    let document = rules.document();
    let mut fields = Fields::default();
    fields.list(
        "issuing",
        document.issuing_keys.iter().map(|key| {
            let profiles: Vec<String> = key.profiles.iter().map(ToString::to_string).collect();
            let state =
                serde_json::to_value(key.state).ok().and_then(|state| Some(state.as_str()?.to_owned()));
            let (kid, alg) = (key.key.thumbprint(), key.key.alg());
            format!("{kid} {alg} {} for {}", state.unwrap_or_default(), profiles.join(", "))
        }),
    );
    let operational = document.operational_keys.iter();
    fields.list("operational", operational.map(|key| format!("{} as {}", key.key.thumbprint(), key.iss)));
    fields
        .list("log", document.log_keys.iter().map(|key| format!("{} {}", key.origin, key.key.thumbprint())));
    fields.list("daemon", document.daemons.iter().map(|daemon| format!("{} {}", daemon.id, daemon.spki)));
    let roots = document.attestation.roots.len();
    let between = match document.attestation.intermediates.len() {
        0 => String::new(),
        1 => ", 1 intermediate".to_owned(),
        more => format!(", {more} intermediates"),
    };
    let firmware = document
        .attestation
        .minimum_firmware
        .map_or_else(String::new, |oldest| format!(", firmware {oldest} or newer"));
    let refused =
        document.attestation.advisories.iter().map(|advisory| format!("none that {advisory} affects"));
    fields.add(
        "attestation",
        match roots {
            0 => format!("no root: keys are believed without proof{firmware}"),
            1 => format!("1 root{between}{firmware}"),
            more => format!("{more} roots{between}{firmware}"),
        },
    );
    fields.list("", refused);
    fields.render()
}

/// One device that has to sign, and whether it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignatureState {
    pub(crate) person: String,
    pub(crate) serial: u32,
    pub(crate) signed_at: Option<i64>,
}

/// Which custodians' devices have signed this charter, each signature verified.
pub(crate) fn signatures(rules: &Rules, statement: Option<&GeneralJws>) -> Vec<SignatureState> {
    let signed_at = |kid: &Digest, key| {
        let mut signatures = statement.iter().flat_map(|statement| &statement.signatures);
        let found = signatures.find(|signature| signature.header().kid == *kid)?;
        let payload = &statement?.payload;
        found.verify(payload, key, Typ::Charter).ok().map(|()| found.header().iat)
    };
    let mut states: Vec<SignatureState> = rules
        .holders()
        .filter_map(|holder| match holder.kind {
            KeyKind::Piv { serial } if holder.duty().is_some() => Some(SignatureState {
                person: holder.principal.to_string(),
                serial,
                signed_at: signed_at(&holder.key.thumbprint(), &holder.key),
            }),
            _ => None,
        })
        .collect();
    states.sort_by(|a, b| (&a.person, a.serial).cmp(&(&b.person, b.serial)));
    states
}

/// The signatures, for people.
pub(crate) fn signatures_text(states: &[SignatureState]) -> String {
    let line = |state: &SignatureState| {
        let when = state
            .signed_at
            .map_or_else(|| "MISSING".to_owned(), |at| format!("signed {}", text::instant(at)));
        format!("  {} with YubiKey {}: {when}\n", state.person, state.serial)
    };
    format!("Signatures\n{}", states.iter().map(line).collect::<String>())
}

/// The charter, for programs.
pub(crate) fn json(rules: &Rules, states: &[SignatureState]) -> Value {
    let quorums = |id| rules.quorums(id).map(|quorums| quorums.approve.describe());
    let profiles: Vec<Value> = rules
        .document()
        .profiles
        .iter()
        .map(|profile| json!({ "id": profile.id, "approved_by": quorums(&profile.id) }))
        .collect();
    let signatures: Vec<Value> = states
        .iter()
        .map(|state| json!({ "person": state.person, "serial": state.serial, "signed_at": state.signed_at }))
        .collect();
    json!({
        "digest": rules.digest(),
        "words": phrase(&rules.digest()),
        "governance": rules.governance().describe(),
        "recovery": rules.recovery().map(Quorum::describe),
        "profiles": profiles,
        "signatures": signatures,
        "complete": states.iter().all(|state| state.signed_at.is_some()),
        "charter": rules.document(),
    })
}
