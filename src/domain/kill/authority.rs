//! Who may kill and who may lift: the same functions in daemon, auditor, gate and client.

use super::{KillRefusal, SignedLift};
use crate::{
    domain::{
        charter::{KillLevel, Rules},
        refusal::Refusal,
    },
    jose::Digest,
};

impl Rules {
    /// Whether this key may kill at this level at this second: any custodian's hardware key may, at any level, and
    /// every key of those whom the charter names for it.
    pub fn may_kill(&self, kid: &Digest, level: KillLevel, at: i64) -> Result<(), Refusal> {
        let holder = self.holder(kid).ok_or(Refusal::KeyUnknown)?;
        let named = self.document().kill_rights.get(&level);
        let has_right =
            named.is_some_and(|named| named.contains(&holder.principal)) && holder.term.covers(at);
        if has_right || holder.custodian(at).is_some() {
            return Ok(());
        }
        Err(KillRefusal::NoRight(level).into())
    }

    /// Whether those who signed the lift satisfy the governance formula; or that of recovery, where the lift ends nothing
    /// but lockdowns: after a loss of custodians nobody else may be left who could.
    pub fn may_lift(&self, signed: &SignedLift, only_lockdown: bool) -> Result<(), Refusal> {
        let (custodians, sealed) = signed.persons(self);
        let recovers = only_lockdown && self.recovery().is_some_and(|formula| formula.satisfied_by(&sealed));
        if recovers || self.governance().satisfied_by(&custodians) {
            return Ok(());
        }
        Err(KillRefusal::LiftIncomplete(self.governance().missing(&custodians)).into())
    }
}
