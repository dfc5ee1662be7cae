//! A verifier's way to the kills: nothing counts that is not signed by whom its own charter lets kill or lift.
//!
//! Invariants: what a daemon says beside the signatures (epoch, time, place in the chain) gives no right; whoever follows
//! the chain takes in every step of it, in order, or finds it broken.

use super::{Head, KillRefusal, Kills, Lifted, Recorded, SignedKill, SignedLift, UNKNOWN_FOR};
use crate::{
    domain::{charter::Rules, id::KillId, refusal::Refusal, time::Timestamp},
    jose::{GeneralJws, Typ},
};

impl Kills {
    /// A verifier's way: takes in a kill that it was shown, if a key with the right to it signed. `epoch` and `at` are
    /// what the log says of it; they order kills, and give no right.
    pub fn learn(
        &mut self,
        statement: GeneralJws,
        rules: &Rules,
        epoch: u64,
        at: Timestamp,
    ) -> Result<(), Refusal> {
        self.take_kill(statement, rules, (epoch, Head::default()), at)
    }

    fn take_kill(
        &mut self,
        statement: GeneralJws,
        rules: &Rules,
        (epoch, head): (u64, Head),
        at: Timestamp,
    ) -> Result<(), Refusal> {
        let signed = SignedKill::verify(statement, rules, Typ::Kill)?;
        let kill = signed.about();
        if kill.iss != rules.document().iss {
            return Err(Refusal::CharterMismatch);
        }
        rules.may_kill(&signed.kid(), kill.target.level(), at.seconds())?;
        self.epoch = self.epoch.max(epoch);
        if self.dead.contains(&kill.id) {
            return Err(KillRefusal::AlreadyLifted(kill.id).into());
        }
        let until = kill.target.request().map(|_| at.seconds().saturating_add(UNKNOWN_FOR));
        let (kill, statement) = (kill.clone(), signed.jws().clone());
        self.insert(Recorded { kill, statement, epoch, head, at, until });
        Ok(())
    }

    /// A verifier's way: takes in a lift, if a quorum signed it.
    pub fn learn_lift(&mut self, statement: GeneralJws, rules: &Rules, at: Timestamp) -> Result<(), Refusal> {
        self.take_lift(statement, rules, Head::default(), at)
    }

    fn take_lift(
        &mut self,
        statement: GeneralJws,
        rules: &Rules,
        head: Head,
        at: Timestamp,
    ) -> Result<(), Refusal> {
        let signed = SignedLift::verify(statement, rules)?;
        if signed.lift().iss != rules.document().iss {
            return Err(Refusal::CharterMismatch);
        }
        rules.may_lift(&signed, self.ends_lockdown_only(signed.lift()))?;
        let known = |lifted: &Lifted| lifted.statement.payload == signed.jws().payload;
        if !self.lifts.iter().any(known) {
            self.end(&signed, head, at);
        }
        Ok(())
    }

    /// A verifier that follows the chain: the next kill, as [`Self::learn`], if it is the one that leads to this head.
    pub fn follow(
        &mut self,
        statement: GeneralJws,
        rules: &Rules,
        epoch: u64,
        at: Timestamp,
        head: Head,
    ) -> Result<(), Refusal> {
        let is_next = self.epoch.checked_add(1) == Some(epoch);
        if !is_next || self.head.kill(&statement, epoch, at) != head {
            return Err(self.broken(head));
        }
        self.take_kill(statement, rules, (epoch, head), at)?;
        self.head = head;
        Ok(())
    }

    /// The same for a lift, as [`Self::learn_lift`].
    pub fn follow_lift(
        &mut self,
        statement: GeneralJws,
        rules: &Rules,
        at: Timestamp,
        head: Head,
    ) -> Result<(), Refusal> {
        if self.head.lift(&statement, self.epoch, at) != head {
            return Err(self.broken(head));
        }
        self.take_lift(statement, rules, head, at)?;
        self.head = head;
        Ok(())
    }

    /// A verifier that was shown all that is in force, and takes the log's word for where that is: from here on it
    /// follows. Whether it was shown all, its acknowledgements tell those who killed.
    pub fn stand_at(&mut self, epoch: u64, head: Head) {
        self.epoch = self.epoch.max(epoch);
        self.head = head;
    }

    /// Whether all up to this head was shown.
    pub fn stands_at(&self, epoch: u64, head: Head) -> Result<(), Refusal> {
        if self.epoch == epoch && self.head == head { Ok(()) } else { Err(self.broken(head)) }
    }

    /// Takes the place of an earlier view of the same verifier. A log only grows, so the chain does not go back, and a kill of
    /// more than one token or request ends by a lift alone, which is shown for a day at least: `is_recent` says that the earlier
    /// view is not older. What no log had is taken over: it stays until a lift names it.
    pub fn replace(&mut self, earlier: &Self, is_recent: bool) -> Result<(), Refusal> {
        let (old, new) = (earlier.head, self.head);
        if new.step < old.step || (new.step == old.step && new != old) {
            return Err(earlier.broken(new));
        }
        for recorded in earlier.standing.values() {
            let id = &recorded.kill.id;
            if self.standing.contains_key(id) || self.dead.contains(id) {
                continue;
            }
            if recorded.epoch == 0 {
                self.insert(Recorded::clone(recorded));
            } else if is_recent && recorded.kill.target.request().is_none() {
                return Err(KillRefusal::Hidden(*id).into());
            }
        }
        self.dead.extend(&earlier.dead);
        Ok(())
    }

    /// Leaves these out: another view has them now, recorded or lifted.
    pub fn leave_out(&mut self, ids: &[KillId]) {
        for id in ids {
            if let Some(recorded) = self.standing.remove(id) {
                self.index.leave(&recorded);
            }
        }
    }

    fn broken(&self, told: Head) -> Refusal {
        KillRefusal::ChainBroken { known: self.head.step, told: told.step }.into()
    }
}
