//! What follows from a command: all rules of the product, one file for each command.
//!
//! Invariants: pure; a refusal has changed nothing; the events of one decision belong together and are appended
//! together. `now` never lies before the last entry.

mod adopt;
mod attest;
mod authorize;
mod canary;
mod check_in;
mod destroy;
mod file;
mod gate;
mod genesis;
mod hook;
mod issue;
mod judge;
mod kill;
mod lift;
mod probe;
mod record;
mod redeem;
mod review;
mod revoke;
mod succeed;
mod tick;
mod withdraw;

use super::{
    charter::{Charter, Holder, IssuingKey, KeyState, Role},
    command::{Command, Context},
    event::Event,
    grant::Grant,
    id::{ProfileId, RequestId},
    kill::{KillRefusal, Subject, Target},
    refusal::Refusal,
    request::Request,
    state::State,
    statement::SignedAboutRequest,
    time::SKEW,
};
use crate::jose::Digest;

pub use file::{MAX_ENDED_PER_REQUESTER, MAX_OPEN, MAX_OPEN_PER_REQUESTER};
pub use issue::{TAKE_OVER_AFTER, standby_keys};
pub(super) use kill::judge as judge_kill;
pub(super) use lift::judge as judge_lift;
pub use record::RECORD_WITHIN;
pub use redeem::MAX_RELEASES;

/// An append this much later than the last entry is refused, unless the caller knows that the time really passed.
pub const MAX_JUMP_MILLIS: i64 = 600_000;

/// Decides one command.
pub fn decide(state: &State, command: &Command, context: &Context) -> Result<Vec<Event>, Refusal> {
    if context.now < state.last() {
        return Err(Refusal::Clock { now: context.now, last: state.last() });
    }
    genesis::open_to(state, command)?;
    match command {
        Command::Adopt { charter, evidence } => adopt::decide(state, charter, evidence, context),
        Command::Propose { proposal, evidence } => succeed::propose(state, proposal, evidence, context),
        Command::Sign { proposal, signature } => succeed::sign(state, proposal, signature, context),
        Command::Retract(signed) => succeed::retract(state, signed, context),
        Command::Announce(signed) => genesis::announce(state, signed, context),
        Command::Cancel(signed) => genesis::cancel(state, signed, context),
        Command::Record(signed) => record::decide(state, signed, context),
        Command::Review(signed) => review::decide(state, signed, context),
        Command::CheckIn(signed) => check_in::decide(state, signed, context),
        Command::Kill(signed) => kill::decide(state, signed, context),
        Command::Lift(signed) => lift::decide(state, signed, context),
        Command::Report(signed) => gate::report(state, signed, context),
        Command::Enforced(enforced) => gate::enforced(state, enforced),
        Command::Start { version } => {
            Ok(vec![Event::DaemonStarted { instance: context.instance.clone(), version: version.clone() }])
        }
        Command::KeyDestroyed { kid, found } => destroy::decide(state, *kid, *found),
        Command::File(signed) => file::decide(state, signed, context),
        Command::Judge(signed) => judge::decide(state, signed, context),
        Command::Withdraw(signed) => withdraw::decide(state, signed, context),
        Command::Redeem(signed) => redeem::decide(state, signed, context),
        Command::Revoke { request, by } => revoke::decide(state, request, by.as_ref()),
        Command::Issued { request, jwt, jwe } => issue::issued(state, request, *jwt, jwe, context),
        Command::Fail { request, reason } => issue::failed(state, request, *reason, context),
        Command::Move { request, kid } => issue::moved(state, request, *kid, context),
        Command::TakeOver { request } => issue::take_over(state, request, context),
        Command::Canary { verifier, kid } => canary::authorize(state, verifier, kid, context),
        Command::CanaryIssued { verifier, kid, jwt, jwe } => canary::issued(state, verifier, kid, *jwt, jwe),
        Command::Probed { verifier, kid, answer, kill } => {
            probe::decide(state, (verifier, kid), *answer, *kill, context)
        }
        Command::HookTold { verifier, kill, answer } => {
            hook::decide(state, verifier, *kill, *answer, context)
        }
        Command::Tick => Ok(tick::decide(state, context)),
        Command::Refused { minute, peer, reason, count } => Ok(vec![Event::AttemptsRefused {
            minute: *minute,
            peer: *peer,
            reason: reason.clone(),
            count: *count,
        }]),
        Command::Snapshot { size, .. } if *size > state.size() => {
            Err(Refusal::SnapshotAhead { size: *size, log: state.size() })
        }
        Command::Snapshot { size, root, digest } => {
            Ok(vec![Event::SnapshotTaken { size: *size, root: *root, digest: *digest }])
        }
    }
}

/// The charter, in force now.
fn charter_in_force<'a>(state: &'a State, context: &Context) -> Result<&'a Charter, Refusal> {
    let charter = state.charter().ok_or(Refusal::NoCharter)?;
    if charter.is_in_force(context.now.seconds()) { Ok(charter) } else { Err(Refusal::CharterExpired) }
}

/// A live request, or what became of it.
fn live<'a>(state: &'a State, id: &RequestId) -> Result<&'a Request, Refusal> {
    state.request(id).ok_or_else(|| match state.closed(id) {
        Some(closed) => Refusal::WrongState(closed.outcome.as_str()),
        None => Refusal::RequestUnknown(*id),
    })
}

/// Neither is it killed, nor is there no key left to issue its token.
fn not_killed(
    state: &State,
    charter: &Charter,
    grant: &Grant,
    id: RequestId,
    now: i64,
) -> Result<(), Refusal> {
    state.kills.refuse(&Subject { id, grant, approvers: &[], issuer: None }, now)?;
    match (charter.issuing_key(&grant.profile), issuing_key(state, charter, &grant.profile, now)) {
        (Some(killed), None) => Err(KillRefusal::killed(&Target::Key(killed.key.thumbprint())).into()),
        _ => Ok(()),
    }
}

/// The keys that would sign a token of some profile now.
#[must_use]
pub fn signing_keys(state: &State, now: i64) -> Vec<&IssuingKey> {
    let Some(charter) = state.charter() else { return Vec::new() };
    let mut keys: Vec<&IssuingKey> = Vec::new();
    for profile in &charter.document().profiles {
        let key = issuing_key(state, charter, &profile.id, now);
        keys.extend(key.filter(|key| !keys.contains(key)));
    }
    keys
}

/// The key that signs tokens of this profile now: the first active one that is neither killed nor destroyed.
fn issuing_key<'a>(
    state: &State,
    charter: &'a Charter,
    profile: &ProfileId,
    now: i64,
) -> Option<&'a IssuingKey> {
    let mut keys = charter.document().issuing_keys.iter();
    keys.find(|key| {
        key.state == KeyState::Active
            && key.profiles.contains(profile)
            && !is_gone(state, &key.key.thumbprint(), now)
    })
}

/// Whether nothing is signed with this key any more: a lift ends its kill, but does not bring back what was destroyed.
fn is_gone(state: &State, kid: &Digest, at: i64) -> bool {
    state.kills.stops(&Target::Key(*kid), at) || state.is_destroyed(kid)
}

/// A time of signing within the tolerated skew of now.
fn about_now(signed_at: i64, context: &Context) -> Result<(), Refusal> {
    let now = context.now.seconds();
    if signed_at.abs_diff(now) <= SKEW.unsigned_abs() {
        Ok(())
    } else {
        Err(Refusal::ClockSkew { signed_at, now })
    }
}

/// The requester of this grant is who signed the statement about it, by the charter in force.
fn by_requester<'a>(
    charter: &'a Charter,
    grant: &Grant,
    signed: &SignedAboutRequest,
    context: &Context,
) -> Result<&'a Holder, Refusal> {
    about_now(signed.signed_at(), context)?;
    let about = signed.about();
    // Whoever asked under an earlier charter may go on naming that one.
    let named = about.charter == charter.digest() || about.charter == grant.charter;
    if !named || about.iss != charter.document().iss {
        return Err(Refusal::CharterMismatch);
    }
    let holder = charter.holder(&signed.kid()).ok_or(Refusal::KeyUnknown)?;
    let is_requester =
        holder.principal == grant.client_id && holder.has(Role::Requester, context.now.seconds());
    if is_requester { Ok(holder) } else { Err(Refusal::NotTheRequester) }
}
