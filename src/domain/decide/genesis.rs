//! A new chain in place of one that nobody can continue: announced, cancelled, and what ends with the old one.
//!
//! An expired charter does not stand in the way: a chain that nobody can continue ends by expiring.

use crate::{
    domain::{
        command::{Command, Context},
        event::{Event, Failure},
        genesis::{Announcement, DAY, DAYS, SignedAnnouncement, SignedCancellation},
        refusal::Refusal,
        request::Life,
        state::State,
        time::SKEW,
    },
    jose::Digest,
};

/// Once another chain has taken its place, nothing is decided that gives anybody anything; what is there can be read,
/// runs out, and can be killed.
pub(super) fn open_to(state: &State, command: &Command) -> Result<(), Refusal> {
    let gives = matches!(
        command,
        Command::Adopt { .. }
            | Command::Propose { .. }
            | Command::Sign { .. }
            | Command::Retract(_)
            | Command::File(_)
            | Command::Judge(_)
            | Command::Withdraw(_)
            | Command::Redeem(_)
            | Command::Issued { .. }
            | Command::TakeOver { .. }
            | Command::Canary { .. }
            | Command::CanaryIssued { .. }
            | Command::Announce(_)
            | Command::Cancel(_)
    );
    match state.replacement().ended() {
        Some(ended) if gives => Err(Refusal::ChainEnded(ended.genesis)),
        _ => Ok(()),
    }
}

/// Any one custodian or recovery custodian in term.
pub(super) fn announce(
    state: &State,
    signed: &SignedAnnouncement,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let charter = state.charter().ok_or(Refusal::NoCharter)?;
    let (statement, now) = (signed.signed(), context.now.seconds());
    let about = statement.about();
    if about.charter != charter.digest() || about.iss != charter.document().iss {
        return Err(Refusal::CharterMismatch);
    }
    super::about_now(statement.signed_at(), context)?;
    let by = charter.holder(&statement.kid()).and_then(|holder| holder.keeper(now));
    by.ok_or(Refusal::NotACustodian)?;
    let next = signed.charter().document();
    let first = state.versions().first().map(|adopted| adopted.digest);
    let replaces = next.replaces.filter(|replaced| Some(replaced.genesis) == first);
    if replaces.is_none_or(|replaced| replaced.version != charter.document().version) {
        let version = charter.document().version;
        let genesis = first.as_ref().map(Digest::to_string).unwrap_or_default();
        return Err(Refusal::GenesisRefused(format!(
            "it has to say that it replaces the chain of {genesis} at version {version}"
        )));
    }
    if next.iss != charter.document().iss {
        return Err(Refusal::GenesisRefused("it names another issuer".into()));
    }
    if next.issued_at > now + SKEW || next.expires_at <= now + i64::from(DAYS) * DAY {
        return Err(Refusal::GenesisRefused(
            "it is issued in the future, or expires before the wait is over".into(),
        ));
    }
    if state.replacement().announcement(&signed.digest()).is_some() {
        return Err(Refusal::GenesisKnown(signed.digest()));
    }
    Ok(vec![Event::GenesisAnnounced {
        announcement: statement.jws().clone(),
        charter: signed.charter().statement().clone(),
    }])
}

/// Any quorum of the charter in force: that it can sign shows that nothing has to begin anew.
pub(super) fn cancel(
    state: &State,
    signed: &SignedCancellation,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let charter = state.charter().ok_or(Refusal::NoCharter)?;
    let (about, now) = (signed.about(), context.now.seconds());
    if about.charter != charter.digest() || about.iss != charter.document().iss {
        return Err(Refusal::CharterMismatch);
    }
    let announced = state.replacement().announcement(&about.announcement);
    let announced = announced.ok_or(Refusal::GenesisUnknown(about.announcement))?;
    let window = announced.at.seconds() - SKEW..=now + SKEW;
    if let Some(signed_at) = signed.times().find(|time| !window.contains(time)) {
        return Err(Refusal::ClockSkew { signed_at, now });
    }
    if !signed.suffices(charter) {
        return Err(Refusal::NoQuorum(signed.missing(charter)));
    }
    Ok(vec![Event::GenesisCancelled { cancellation: signed.jws().clone() }])
}

/// The end of this chain, if seven days have passed, and of what is open under it. What was issued runs out by itself.
pub(super) fn ended(state: &State, now: i64) -> Option<Vec<Event>> {
    let ripe = |one: &&Announcement| one.days + 1 >= DAYS && one.next_day() <= now;
    let one = state.replacement().announced().iter().find(ripe)?;
    let mut events = vec![Event::GenesisReplaced { announcement: one.digest, genesis: one.genesis }];
    events.extend(state.requests().filter_map(|request| match request.life() {
        Life::Pending { .. } => Some(Event::RequestSuperseded { request_id: request.id() }),
        Life::Authorized(_) => {
            Some(Event::IssuanceFailed { request_id: request.id(), reason: Failure::Superseded })
        }
        Life::Issued { .. } => None,
    }));
    Some(events)
}

/// The alarms that are due.
pub(super) fn alarms(state: &State, now: i64) -> impl Iterator<Item = Event> {
    let due = state.replacement().announced().iter();
    let due = due.filter(move |one| one.days + 1 < DAYS && one.next_day() <= now);
    due.map(|one| Event::GenesisAlarmed { announcement: one.digest, day: one.days + 1 })
}
