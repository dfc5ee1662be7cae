//! Which keys of the charter have a published fault that the charter says nothing about yet.
//!
//! This list decides nothing. What a quorum thinks of an advisory it says in the charter's own list; from then on a device
//! that it affects is refused.

use std::collections::BTreeSet;

use super::checks::Check;
use crate::{
    domain::charter::{Advisory, Device, Firmware, Outlook, Rules},
    jose::Digest,
};

/// Published by Yubico; only those that concern a P-256 key in the PIV application.
const KNOWN: [(&str, Firmware); 1] = [("YSA-2024-03", Firmware([5, 7, 0]))];

fn known() -> impl Iterator<Item = Advisory> {
    let advisory =
        |(id, below): (&str, _)| Some(Advisory { id: id.to_owned().try_into().ok()?, from: None, below });
    KNOWN.into_iter().filter_map(advisory)
}

/// What the charter's keys have, and what would be left without them. `now`: Unix seconds.
pub(super) fn checks(rules: &Rules, now: i64) -> Vec<Check> {
    let named = &rules.document().attestation.advisories;
    known()
        .filter(|advisory| !named.contains(advisory))
        .flat_map(|advisory| of(rules, &advisory, now))
        .collect()
}

fn of(rules: &Rules, advisory: &Advisory, now: i64) -> Vec<Check> {
    let mut affected = BTreeSet::new();
    let mut checks = Vec::new();
    for person in &rules.document().persons {
        for device in &person.devices {
            let Device::Piv { serial, firmware, key, .. } = device;
            if !advisory.affects(*firmware) {
                continue;
            }
            affected.insert(key.thumbprint());
            checks.push(Check::warn(
                "advisory",
                format!("YubiKey {serial} of {}, firmware {firmware}: {advisory} affects it", person.id),
                format!("replace it, and have the next charter refuse its like: breakglass charter draft --advisory {}={}", String::from(advisory.id.clone()), advisory.below),
            ));
        }
    }
    if affected.is_empty() {
        return Vec::new();
    }
    let left: BTreeSet<Digest> =
        rules.holders().map(|holder| holder.key.thumbprint()).filter(|kid| !affected.contains(kid)).collect();
    let short = |outlook: &Outlook| {
        (!outlook.now).then(|| outlook.profile.as_ref().map_or("governance", |id| id.as_str()).to_owned())
    };
    let outlooks = rules.forecast(&left, now);
    let lost: Vec<String> = outlooks.iter().filter_map(short).collect();
    if !lost.is_empty() {
        let found = format!("without the keys that it affects there is no quorum for {}", lost.join(", "));
        checks.push(Check::warn("advisory", found, "replace keys before a charter refuses them"));
    }
    checks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixture::{self, NOW};

    #[test]
    fn keys_with_a_published_fault_are_named() {
        assert_eq!(checks(&fixture::rules(), NOW), []);
        let mut document = fixture::document();
        for person in document["persons"].as_array_mut().unwrap().iter_mut().skip(1).take(3) {
            person["devices"][0]["firmware"] = json!("5.4.3");
        }
        let told = checks(&fixture::rules_of(&document), NOW);
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(
            told[0].found.contains("of bob, firmware 5.4.3: YSA-2024-03 (firmware below 5.7.0) affects it"),
            "{told:?}"
        );
        assert!(told[0].next.as_ref().unwrap().ends_with("--advisory YSA-2024-03=5.7.0"), "{told:?}");
        assert!(told[3].found.ends_with("no quorum for governance, db-read"), "{told:?}");
    }
}
