//! Grants, charters, entries, snapshots, and the evidence of devices.

use breakglass::domain::{
    State, attestation,
    charter::Rules,
    event::Entry,
    evidence::Evidence,
    grant::Grant,
    kill::{Kill, Lift},
    replay::Replay,
};
use serde_json::json;

use crate::{Parsed, fuzz, kit};

#[test]
fn grants() {
    let grant = kit::bytes(&kit::grant(&kit::charter()));
    fuzz(&[grant], |bytes| match Grant::parse(bytes) {
        Ok(grant) => Parsed::As(grant.to_bytes().unwrap()),
        Err(_) => Parsed::Refused,
    });
}

#[test]
fn kills_and_lifts() {
    let charter = kit::charter();
    let id = kit::nonce("a kill");
    let about = json!({"iss": charter.document().iss, "charter": charter.digest()});
    let kill = kit::patch(
        about.clone(),
        json!({"id": id, "level": "requester", "target": "erin", "reason": "stolen"}),
    );
    fuzz(&[kit::bytes(&kill)], |bytes| match Kill::parse(bytes) {
        Ok(kill) => Parsed::As(kill.to_bytes().unwrap()),
        Err(_) => Parsed::Refused,
    });
    let lift = kit::patch(about, json!({"kills": [id], "epoch": 1, "suspend": [charter.digest()]}));
    fuzz(&[kit::bytes(&lift)], |bytes| match Lift::parse(bytes) {
        Ok(lift) => Parsed::As(lift.to_bytes().unwrap()),
        Err(_) => Parsed::Refused,
    });
}

/// Documents, below the signatures: whoever signs one does not make it valid.
#[test]
fn charters() {
    let document = kit::payload(&kit::document());
    fuzz(&[document], |bytes| match Rules::parse(bytes) {
        Ok(rules) => Parsed::As(breakglass::jose::json::canonical(rules.document()).unwrap()),
        Err(_) => Parsed::Refused,
    });
}

#[test]
fn entries() {
    let (log, _, _) = kit::flow();
    fuzz(&log.entries, |bytes| match Entry::parse(bytes) {
        Ok(entry) => Parsed::As(entry.to_bytes().unwrap()),
        Err(_) => Parsed::Refused,
    });
}

/// An auditor reads what somebody else has written: an entry that was changed in any way does not follow.
#[test]
fn entries_in_their_place() {
    let (log, _, _) = kit::flow();
    let mut before = Replay::new(log.pinned);
    let last = log.entries.len() - 1;
    for entry in &log.entries[..last] {
        before.next(entry).unwrap();
    }
    fuzz(&log.entries[last..], |bytes| match before.clone().next(bytes) {
        Ok(entry) => Parsed::As(entry.to_bytes().unwrap()),
        Err(_) => Parsed::Refused,
    });
}

#[test]
fn snapshots() {
    let (log, _, _) = kit::flow();
    fuzz(&[log.state.to_snapshot().unwrap()], |bytes| match State::from_snapshot(bytes) {
        Ok(state) => {
            // Its digest is in the log, so nobody relies on there being one way to write it.
            state.to_snapshot().unwrap();
            Parsed::Loosely
        }
        Err(_) => Parsed::Refused,
    });
}

/// Certificates of a device, DER; made once by another library. Whatever is changed in them, the chain does not hold.
#[test]
fn attestation_certificates() {
    const ROOT: &[u8] = include_bytes!("../vectors/attestation/root.der");
    const F9: &[u8] = include_bytes!("../vectors/attestation/f9.der");
    const STATEMENT: &[u8] = include_bytes!("../vectors/attestation/statement.der");
    let verify = |statement: &[u8], f9: &[u8], root: &[u8]| {
        let evidence = Evidence::of_der(statement, f9);
        attestation::verify(&evidence, &[root.to_vec()], &[statement.to_vec()], kit::NOW)
    };
    fuzz(&[STATEMENT.to_vec()], |bytes| match verify(bytes, F9, ROOT) {
        Ok(_) => Parsed::As(STATEMENT.to_vec()),
        Err(_) => Parsed::Refused,
    });
    fuzz(&[F9.to_vec()], |bytes| match verify(STATEMENT, bytes, ROOT) {
        Ok(_) => Parsed::As(F9.to_vec()),
        Err(_) => Parsed::Refused,
    });
    // A root is trusted as it is: its own signature is nobody's business.
    fuzz(&[ROOT.to_vec()], |bytes| match verify(STATEMENT, F9, bytes) {
        Ok(_) => Parsed::Loosely,
        Err(_) => Parsed::Refused,
    });
}
