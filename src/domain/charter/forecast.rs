//! Who could approve if it were needed now, and for how long: the charter's quorums against the keys that were seen.
//!
//! A charter is only accepted while everybody in it can satisfy every quorum (`availability`). That is paper: people move
//! and keys break. Here only those count whose keys were seen, and the same questions are asked again: whoever asks, after
//! the loss of any one key, and at which instant it ends. Nothing is decided upon it.

use std::collections::BTreeSet;

use super::{Rules, availability::exclusions, document::Role};
use crate::{
    domain::{
        id::{PersonId, ProfileId},
        quorum::Quorum,
    },
    jose::Digest,
};

type Persons = BTreeSet<PersonId>;

/// How a quorum stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// Whose approvals; governance where there is none.
    pub profile: Option<ProfileId>,
    /// The formula in words.
    pub needs: String,
    /// Who has a seat in it and is in term.
    pub custodians: BTreeSet<PersonId>,
    /// Those of them with a key that counts.
    pub ready: BTreeSet<PersonId>,
    /// Whether these satisfy it, whoever asks.
    pub now: bool,
    /// Whether they still do after the loss of any one of these keys.
    pub survives: bool,
    /// The first second, Unix, at which these do not satisfy it: now, where they do not.
    pub until: i64,
    /// Whose terms end in that second; nobody's where it is the charter that expires.
    pub leaving: BTreeSet<PersonId>,
}

impl Rules {
    /// How every quorum but that of recovery stands if only these keys count: governance first. `now`: Unix seconds.
    #[must_use]
    pub fn forecast(&self, keys: &BTreeSet<Digest>, now: i64) -> Vec<Outlook> {
        let askers = exclusions(self);
        let nobody = [Persons::new()];
        let governance = (None, self.governance(), nobody.as_slice());
        let profiles = self.document.profiles.iter().filter_map(|profile| {
            let quorums = self.quorums(&profile.id)?;
            Some((Some(&profile.id), &quorums.approve, askers.as_slice()))
        });
        let quorums = [governance].into_iter().chain(profiles);
        quorums.map(|(profile, quorum, askers)| self.outlook(profile, quorum, askers, keys, now)).collect()
    }

    fn outlook(
        &self,
        profile: Option<&ProfileId>,
        quorum: &Quorum,
        askers: &[Persons],
        keys: &BTreeSet<Digest>,
        now: i64,
    ) -> Outlook {
        let seats = quorum.persons();
        let satisfied = |keys: &BTreeSet<Digest>, at: i64| {
            let present = self.present(keys, at);
            // An expired charter approves nothing, and can still be replaced.
            let stands = profile.is_none() || at < self.document.expires_at;
            stands
                && askers.iter().all(|out| quorum.satisfied_by(&present.difference(out).cloned().collect()))
        };
        let is_now = satisfied(keys, now);
        let without = |kid: &Digest| keys.iter().filter(|other| *other != kid).copied().collect();
        let survives = is_now && keys.iter().all(|kid| satisfied(&without(kid), now));
        // Terms change who is there at their ends alone, so no other instant can be the first.
        let until = self.turns(now).into_iter().find(|at| !satisfied(keys, *at));
        let until = until.unwrap_or(self.document.expires_at).max(now);
        let ends_then = |id: &&PersonId| {
            let person = self.person(id);
            person.is_some_and(|person| person.term.until == Some(until))
        };
        let everybody: BTreeSet<Digest> = self.holders().map(|holder| holder.key.thumbprint()).collect();
        Outlook {
            profile: profile.cloned(),
            needs: quorum.describe(),
            custodians: self.present(&everybody, now).intersection(seats).cloned().collect(),
            ready: self.present(keys, now).intersection(seats).cloned().collect(),
            now: is_now,
            survives,
            until,
            leaving: seats.iter().filter(ends_then).cloned().collect(),
        }
    }

    /// The custodians in term at this second with one of these keys.
    fn present(&self, keys: &BTreeSet<Digest>, at: i64) -> Persons {
        let persons = self.document.persons.iter();
        let custodians =
            persons.filter(|person| person.roles.contains(&Role::Custodian) && person.term.covers(at));
        let with_key = custodians
            .filter(|person| person.devices.iter().any(|device| keys.contains(&device.key().thumbprint())));
        with_key.map(|person| person.id.clone()).collect()
    }

    /// Now, and every later second at which a term begins or ends while the charter is in force.
    fn turns(&self, now: i64) -> BTreeSet<i64> {
        let terms = self.document.persons.iter().flat_map(|person| [person.term.from, person.term.until]);
        let later = terms.flatten().filter(|at| (now..self.document.expires_at).contains(at));
        later.chain([now]).collect()
    }
}
