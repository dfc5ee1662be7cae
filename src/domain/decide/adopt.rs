//! Genesis: the first charter, with evidence that its devices are what it says they are.

use std::collections::BTreeMap;

use crate::{
    domain::{
        attestation,
        charter::{Charter, Device, Firmware},
        command::Context,
        event::Event,
        evidence::Evidence,
        refusal::Refusal,
        state::State,
    },
    jose::Digest,
};

/// Evidence at most, in base64url: it has to fit an entry, and real certificates have about a kilobyte each.
const MAX_EVIDENCE_BYTES: usize = 32_000;

pub(super) fn decide(
    state: &State,
    charter: &Charter,
    evidence: &[Evidence],
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    if state.charter().is_some() {
        return Err(Refusal::CharterInForce);
    }
    if !charter.is_in_force(context.now.seconds()) {
        return Err(Refusal::CharterExpired);
    }
    let by_digest: BTreeMap<Digest, &Evidence> = evidence.iter().map(|item| (item.digest(), item)).collect();
    let mut events = Vec::new();
    for person in &charter.document().persons {
        for device in &person.devices {
            let Device::Piv { serial, attestation: Some(digest), .. } = device else { continue };
            let refuse = |why: String| Refusal::Attestation { serial: *serial, why };
            let item = by_digest.get(digest).ok_or_else(|| {
                refuse(format!(
                    "the charter names evidence {digest}, which was not given; pass it with --evidence"
                ))
            })?;
            if item.statement.len() + item.intermediate.len() > MAX_EVIDENCE_BYTES {
                return Err(refuse(format!("its evidence has more than {MAX_EVIDENCE_BYTES} bytes")));
            }
            check(charter, device, item, context).map_err(refuse)?;
            events.push(Event::AttestationRecorded {
                statement: item.statement.clone(),
                intermediate: item.intermediate.clone(),
            });
        }
    }
    events.push(Event::CharterAdopted { charter: charter.statement().clone() });
    Ok(events)
}

/// The evidence leads to one of the charter's roots and says of the key what the charter says of the device.
fn check(charter: &Charter, device: &Device, evidence: &Evidence, context: &Context) -> Result<(), String> {
    let policy = &charter.document().attestation;
    let attested = attestation::verify(
        evidence,
        &policy.root_ders(),
        &policy.intermediate_ders(),
        context.now.seconds(),
    )
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
