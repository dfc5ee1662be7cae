//! A custodian's verdict on a request: review, question, PIN, touch, submission. What approve, deny and station share.
//!
//! Invariant: nothing is signed but the bytes that [`Reviewed`] was made from, after they were shown.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{
    Session, clock,
    daemon::{Daemon, insist, state_name},
    device::{self, Custodian, DeviceArgs},
    exit::Problem,
    id::IdArg,
    review::Reviewed,
    setup::Setup,
    statement::{self, Statement},
    text, view,
};
use crate::{
    domain::{
        charter::{Role, Rules},
        statement::Verdict,
    },
    grpc::v1,
    jose::{GeneralJws, Typ},
    piv::Pin,
};

/// Approves or denies the request that the arguments name.
pub(super) fn run(id: &IdArg, device: &DeviceArgs, verdict: Verdict, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    device.check(&setup.charter)?;
    let daemon = setup.connect()?;
    let id = daemon.resolve(id)?;
    let request = daemon.get(&id)?;
    open(&request, verdict)?;
    let reviewed = Reviewed::new(&setup.charter, &request.jws, &id)?;
    let (custodian, pin) = consent(&reviewed, &setup.charter, device, verdict, session)?;
    let after = sign_and_submit(&daemon, &reviewed, &custodian, &pin, verdict, None, session)?;
    let result = json!({
        "request_id": id,
        "state": state_name(&after),
        "person": custodian.person,
        "serial": custodian.key.serial().0,
        "verdict": word(verdict),
    });
    session.out.result(&result, || outcome(&after, verdict, &setup.charter))
}

/// Shows what is asked, and has a custodian who may judge it say yes and enter the PIN.
pub(super) fn consent(
    reviewed: &Reviewed<'_>,
    charter: &Rules,
    device: &DeviceArgs,
    verdict: Verdict,
    session: &mut Session,
) -> Result<(Custodian, Pin)> {
    let now = clock::now();
    session.out.say(view::grant::describe(reviewed, charter, now))?;
    let custodian = device::choose(&mut session.out, charter, device.serial, now, &[Role::Custodian])?;
    reviewed.eligible(charter, &custodian.person, verdict, false, now)?;
    device::confirm(&mut session.out, &question(verdict, &custodian), device.yes)?;
    let pin = custodian.pin(device)?;
    Ok((custodian, pin))
}

/// Nobody is asked for a PIN and a touch for a request that has ended; of one that ended, not even its bytes are kept.
fn open(request: &v1::Request, verdict: Verdict) -> Result<()> {
    if request.state() == v1::RequestState::Pending {
        return Ok(());
    }
    let (id, state) = (text::safe(&request.request_id), state_name(request));
    let message = format!("request {id} is {state}: there is nothing to {} any more", word(verdict));
    Err(Problem::refused("WRONG_STATE", message).into())
}

/// `approve` or `deny`.
pub(super) const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approve => "approve",
        Verdict::Deny => "deny",
    }
}

pub(super) fn question(verdict: Verdict, custodian: &Custodian) -> String {
    match verdict {
        Verdict::Approve => format!("Approve exactly this, as {}?", custodian.describe()),
        Verdict::Deny => format!("Deny it, as {}?", custodian.describe()),
    }
}

/// Signs the verdict over the reviewed bytes, with a touch.
pub(super) fn sign(
    reviewed: &Reviewed<'_>,
    custodian: &Custodian,
    pin: &Pin,
    verdict: Verdict,
    station: Option<&str>,
    session: &mut Session,
) -> Result<GeneralJws> {
    session.out.say(format!("Touch YubiKey {} when it blinks …", custodian.key.serial()))?;
    let typ = match verdict {
        Verdict::Approve => Typ::Approval,
        Verdict::Deny => Typ::Denial,
    };
    let statement = Statement { typ, payload: reviewed.payload(), station, iat: clock::now() };
    let signature = statement::sign_with_device(&custodian.key, &custodian.public, pin, &statement)?;
    Ok(statement::single(reviewed.payload().to_vec(), signature))
}

/// Signs the verdict over the reviewed bytes, and hands it to the daemon.
pub(super) fn sign_and_submit(
    daemon: &Daemon,
    reviewed: &Reviewed<'_>,
    custodian: &Custodian,
    pin: &Pin,
    verdict: Verdict,
    station: Option<&str>,
    session: &mut Session,
) -> Result<v1::Request> {
    let jws = sign(reviewed, custodian, pin, verdict, station, session)?;
    // A signature that the daemon holds already changes nothing, so asking again is safe.
    let answer = match insist(|| daemon.submit(&reviewed.id, jws.to_json())) {
        (Err(error), true) if matches!(error.reason.as_str(), "ALREADY_SIGNED" | "WRONG_STATE") => {
            daemon.get(&reviewed.id)
        }
        (answer, _) => answer,
    };
    answer.with_context(|| {
        format!("your signature on request {} was made, but the daemon did not take it", reviewed.id)
    })
}

/// What became of the request.
pub(super) fn outcome(after: &v1::Request, verdict: Verdict, rules: &Rules) -> String {
    let id: crate::domain::id::RequestId = match after.request_id.parse() {
        Ok(id) => id,
        Err(_) => return "Signed, and the daemon took it.".to_owned(),
    };
    let done = match verdict {
        Verdict::Approve => "Approved",
        Verdict::Deny => "Denied",
    };
    let state = state_name(after);
    let next = match (after.state(), Reviewed::new(rules, &after.jws, &id)) {
        (v1::RequestState::Pending, Ok(reviewed)) => {
            let quorums = rules.quorums(&reviewed.grant().profile);
            let missing = quorums.map(|quorums| {
                quorums.approve.missing_without(&reviewed.approvers(), &reviewed.permit.excluded)
            });
            match missing.unwrap_or_default() {
                // The quorum took so long that its newest approval is too old to mint on.
                missing if missing.is_empty() => "one who has approved has to approve once more".to_owned(),
                missing => format!("still needed: {}", text::safe(&missing)),
            }
        }
        (v1::RequestState::Authorized | v1::RequestState::Issued, _) => {
            "the quorum is complete; the requester can redeem it".to_owned()
        }
        _ => "nothing more to do".to_owned(),
    };
    format!("{done}. The request is {state}; {next}.")
}
