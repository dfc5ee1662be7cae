//! What the entries of a kill and a lift mean for the state.
//!
//! Invariant: both are verified again, whoever wrote the entry. They decide about power as a charter does, and they are
//! few.

use std::sync::Arc;

use crate::{
    domain::{
        decide::{judge_kill, judge_lift},
        kill::{SignedKill, SignedLift},
        request::Outcome,
        state::State,
        time::Timestamp,
    },
    jose::{GeneralJws, Typ},
};

impl State {
    pub(in crate::domain) fn kill(
        &mut self,
        statement: &GeneralJws,
        epoch: u64,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        let charter = self.charter().ok_or("no charter is in force")?;
        let signed = SignedKill::verify(statement.clone(), charter, Typ::Kill)
            .map_err(|_| "the kill in it is not valid")?;
        judge_kill(self, &signed, at.seconds())
            .map_err(|_| "the kill in it was signed by nobody who may, or repeats another")?;
        if self.kills.epoch().checked_add(1) != Some(epoch) {
            return Err("it names another kill epoch than the next");
        }
        let target = &signed.about().target;
        let (hit, until) = (self.hit_by(target), self.killed_until(target, signed.signed_at(), at.seconds()));
        self.outlived_by_sessions(signed.about().id, target, at);
        Arc::make_mut(&mut self.kills).record(&signed, at, until);
        hit.iter().try_for_each(|id| self.close(id, Outcome::Killed, at))
    }

    pub(in crate::domain) fn lift(
        &mut self,
        statement: &GeneralJws,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        let charter = self.charter().ok_or("no charter is in force")?;
        let signed =
            SignedLift::verify(statement.clone(), charter).map_err(|_| "the lift in it is not valid")?;
        judge_lift(self, &signed, at.seconds())
            .map_err(|_| "the lift in it is for other kills, or too few have signed it")?;
        Arc::make_mut(&mut self.kills).lift(&signed, at);
        Ok(())
    }
}
