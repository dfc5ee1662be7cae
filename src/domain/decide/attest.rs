//! Evidence that the devices of a charter are what it says they are.
//!
//! New devices are judged, and all of them where the demands change; what the log holds already need not be given again.

use std::collections::BTreeMap;

use crate::{
    domain::{
        attestation,
        charter::{Device, Firmware, Rules},
        event::Event,
        evidence::Evidence,
        refusal::Refusal,
        state::State,
    },
    jose::Digest,
};

/// Evidence at most, in base64url: it has to fit an entry, and real certificates have about a kilobyte each.
const MAX_EVIDENCE_BYTES: usize = 32_000;

/// Judges the devices of `next`, and returns what has to be recorded before it. `now`: Unix seconds.
pub(super) fn judge(
    state: &State,
    next: &Rules,
    given: &[Evidence],
    now: i64,
) -> Result<Vec<Event>, Refusal> {
    let given: BTreeMap<Digest, &Evidence> = given.iter().map(|item| (item.digest(), item)).collect();
    let before = state
        .charter()
        .filter(|charter| charter.document().attestation == next.document().attestation)
        .map(|charter| devices(charter).collect::<Vec<_>>())
        .unwrap_or_default();
    let mut events = Vec::new();
    for device in devices(next).filter(|device| !before.contains(device)) {
        let Device::Piv { serial, attestation: Some(digest), .. } = device else { continue };
        let refuse = |why: String| Refusal::Attestation { serial: *serial, why };
        let recorded = state.evidence(digest);
        let item = recorded.or(given.get(digest).copied()).ok_or_else(|| {
            refuse(format!(
                "the charter names evidence {digest}, which was not given; pass it with --evidence"
            ))
        })?;
        if item.statement.len() + item.intermediate.len() > MAX_EVIDENCE_BYTES {
            return Err(refuse(format!("its evidence has more than {MAX_EVIDENCE_BYTES} bytes")));
        }
        check(next, device, item, now).map_err(refuse)?;
        if recorded.is_none() {
            events.push(Event::AttestationRecorded {
                statement: item.statement.clone(),
                intermediate: item.intermediate.clone(),
            });
        }
    }
    Ok(events)
}

fn devices(rules: &Rules) -> impl Iterator<Item = &Device> {
    rules.document().persons.iter().flat_map(|person| &person.devices)
}

/// The evidence leads to one of the charter's roots and says of the key what the charter says of the device.
fn check(rules: &Rules, device: &Device, evidence: &Evidence, now: i64) -> Result<(), String> {
    let policy = &rules.document().attestation;
    let attested = attestation::verify(evidence, &policy.root_ders(), &policy.intermediate_ders(), now)
        .map_err(|error| format!("its attestation is refused: {error}"))?;
    let Device::Piv { key, serial, firmware, .. } = device;
    let agree = [
        (attested.public_key == *key, "key"),
        (attested.serial == *serial, "serial number"),
        (Firmware(attested.firmware) == *firmware, "firmware"),
        (attested.pin_policy == attestation::PinPolicy::Always, "PIN policy (it must be always)"),
        (attested.touch_policy == attestation::TouchPolicy::Always, "touch policy (it must be always)"),
    ];
    match agree.iter().find(|(same, _)| !same) {
        Some((_, what)) => Err(format!("its attestation speaks of another {what} than the charter")),
        None => Ok(()),
    }
}
