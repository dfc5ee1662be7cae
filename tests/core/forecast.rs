//! Who could approve now: against a reference that tries every second person, every requester, every loss and every day.

use std::collections::BTreeSet;

use breakglass::{
    domain::charter::{Outlook, Rules},
    jose::Digest,
};
use proptest::{collection::vec, prelude::*, sample::subsequence};
use serde_json::{Value, json};

use crate::kit::{NOW, device, document, key, patch, payload};

const DAY: i64 = 86_400;
const PEOPLE: [&str; 6] = ["ada", "ben", "cleo", "dan", "eva", "fay"];

/// A charter of six people, two keys each; some also ask for access, and a tool of `owner` asks for `subject`.
#[derive(Debug, Clone)]
struct World {
    threshold: usize,
    seats: BTreeSet<usize>,
    askers: BTreeSet<usize>,
    /// Person, first and last day of the term.
    terms: Vec<(usize, Option<i64>, Option<i64>)>,
    tool: Option<(usize, usize)>,
    /// Keys that were seen: person, device.
    seen: BTreeSet<(usize, usize)>,
    day: i64,
}

fn world() -> impl Strategy<Value = World> {
    let people: Vec<usize> = (0..PEOPLE.len()).collect();
    let keys: Vec<(usize, usize)> = people.iter().flat_map(|p| [(*p, 1), (*p, 2)]).collect();
    let term = (0..PEOPLE.len(), prop::option::of(-5_i64..40), prop::option::of(20_i64..100));
    (
        2_usize..=3,
        subsequence(people.clone(), 4..=6),
        subsequence(people, 0..=3),
        vec(term, 0..3),
        prop::option::of((0..PEOPLE.len(), 0..PEOPLE.len())),
        subsequence(keys, 0..=12),
        0_i64..90,
    )
        .prop_map(|(threshold, seats, askers, terms, tool, seen, day)| World {
            threshold,
            seats: seats.into_iter().collect(),
            // Whom a tool may file for is a requester himself.
            askers: askers.into_iter().chain(tool.map(|(_, subject)| subject)).collect(),
            terms,
            tool,
            seen: seen.into_iter().collect(),
            day,
        })
}

fn name(person: usize, device: usize) -> String {
    format!("{}/{device}", PEOPLE[person])
}

impl World {
    /// The last term given for somebody is his.
    fn term(&self, person: usize) -> (Option<i64>, Option<i64>) {
        let own = self.terms.iter().rev().find(|(who, ..)| *who == person);
        own.map_or((None, None), |(_, from, until)| {
            let after = from.map_or(*until, |from| until.map(|until| until.max(from + 1)));
            (*from, after)
        })
    }

    fn rules(&self) -> Option<Rules> {
        let persons: Vec<Value> = (0..PEOPLE.len())
            .map(|person| {
                let (from, until) = self.term(person);
                let mut term = json!({});
                for (side, day) in [("from", from), ("until", until)] {
                    if let Some(day) = day {
                        term[side] = json!(NOW + day * DAY);
                    }
                }
                let roles = if self.askers.contains(&person) {
                    json!(["custodian", "requester"])
                } else {
                    json!(["custodian"])
                };
                let serial = u32::try_from(person * 10).unwrap();
                let devices =
                    json!([device(&name(person, 1), serial + 1), device(&name(person, 2), serial + 2)]);
                let mut record =
                    json!({"id": PEOPLE[person], "name": PEOPLE[person], "roles": roles, "devices": devices});
                if term != json!({}) {
                    record["term"] = term;
                }
                record
            })
            .collect();
        let clients: Vec<Value> = self
            .tool
            .iter()
            .map(|(owner, subject)| {
                json!({"id": "tool", "owners": [PEOPLE[*owner]], "roles": ["requester"],
                "subjects": [PEOPLE[*subject]], "keys": [key("tool").jwk()]})
            })
            .collect();
        let seats: Vec<&str> = self.seats.iter().map(|person| PEOPLE[*person]).collect();
        let mut profile = document()["profiles"][0].clone();
        profile["quorum"] = json!({"threshold": self.threshold, "of": seats});
        let members = json!({
            "issued_at": NOW, "expires_at": NOW + 80 * DAY, "persons": persons, "clients": clients, "groups": {},
            "profiles": [profile], "governance": {"threshold": 2, "of": PEOPLE},
            "issuing_keys": [{"key": key("hsm/1").jwk(), "profiles": ["db-read"], "state": "active"}],
        });
        Rules::parse(&payload(&patch(document(), members))).ok()
    }

    fn is_in_term(&self, person: usize, day: i64) -> bool {
        let (from, until) = self.term(person);
        from.is_none_or(|from| from <= day) && until.is_none_or(|until| day < until)
    }

    /// The persons behind each possible request.
    fn behind(&self) -> Vec<BTreeSet<usize>> {
        let mut sets = vec![BTreeSet::new()];
        sets.extend(self.askers.iter().map(|asker| BTreeSet::from([*asker])));
        sets.extend(
            self.tool
                .iter()
                .flat_map(|(owner, subject)| [BTreeSet::from([*owner]), BTreeSet::from([*owner, *subject])]),
        );
        sets
    }

    /// Whether enough people are there on this day with these keys, whoever asks.
    fn can(&self, seen: &BTreeSet<(usize, usize)>, day: i64) -> bool {
        day < 80
            && self.behind().iter().all(|behind| {
                let there = self.seats.iter().filter(|person| {
                    self.is_in_term(**person, day)
                        && !behind.contains(person)
                        && seen.iter().any(|(who, _)| who == *person)
                });
                there.count() >= self.threshold
            })
    }

    fn names(&self, keep: impl Fn(usize) -> bool) -> BTreeSet<&'static str> {
        self.seats.iter().filter(|person| keep(**person)).map(|person| PEOPLE[*person]).collect()
    }
}

fn ids(persons: &BTreeSet<breakglass::domain::id::PersonId>) -> BTreeSet<&str> {
    persons.iter().map(breakglass::domain::id::PersonId::as_str).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_forecast_is_what_trying_everything_shows(world in world()) {
        let rules = world.rules();
        prop_assume!(rules.is_some());
        let rules = rules.unwrap();
        let keys: BTreeSet<Digest> = world.seen.iter().map(|(who, which)| key(&name(*who, *which)).kid()).collect();
        let outlooks = rules.forecast(&keys, NOW + world.day * DAY);
        let [governance, Outlook { custodians, ready, now, survives, until, leaving, .. }] = outlooks.as_slice()
            else { panic!("one profile") };
        prop_assert!(governance.profile.is_none());
        let has_key = |person| world.seen.iter().any(|(who, _)| *who == person);
        prop_assert_eq!(ids(custodians), world.names(|person| world.is_in_term(person, world.day)));
        prop_assert_eq!(ids(ready), world.names(|person| world.is_in_term(person, world.day) && has_key(person)));
        prop_assert_eq!(*now, world.can(&world.seen, world.day));
        let loses = |lost: &(usize, usize)| {
            let left = world.seen.iter().filter(|key| *key != lost).copied().collect();
            world.can(&left, world.day)
        };
        prop_assert_eq!(*survives, *now && world.seen.iter().all(loses));
        // Day by day: the terms of this world turn at midnight.
        let end = (world.day..=80).find(|day| !world.can(&world.seen, *day)).unwrap_or(world.day);
        prop_assert_eq!(*until, NOW + end * DAY);
        if *now && end < 80 {
            let then = world.names(|person| world.term(person).1 == Some(end));
            prop_assert!(!then.is_empty());
            prop_assert_eq!(ids(leaving), then);
        }
    }
}

#[test]
fn a_forecast_counts_only_keys_that_were_seen() {
    let rules = Rules::parse(&payload(&document())).unwrap();
    let outlook = |devices: &[&str], now| {
        let keys = devices.iter().map(|device| key(device).kid()).collect();
        rules.forecast(&keys, now)
    };
    // db-write: one of security (alice, bob) and one of ops (carol, dave); dave asks as well.
    let all = ["alice/1", "bob/1", "carol/1", "carol/2", "dave/1", "dave/2"];
    let write = &outlook(&all, NOW)[2];
    assert_eq!(write.profile.as_ref().unwrap().as_str(), "db-write");
    assert_eq!(write.needs, "1 of security and 1 of ops");
    assert!(write.now && write.survives && write.leaving.is_empty());
    assert_eq!(write.until, rules.document().expires_at);
    let write = &outlook(&["alice/1", "bob/1", "carol/1", "dave/1"], NOW)[2];
    assert!(write.now && !write.survives, "dave has one key, and carol's tool may be what asks");
    let write = &outlook(&["alice/1", "bob/1", "dave/1"], NOW)[2];
    assert!(!write.now && write.until == NOW, "dave cannot approve for himself");
    // gus leaves, and alice alone is no quorum.
    let read = &outlook(&["alice/1", "gus/1"], NOW)[1];
    assert_eq!((read.now, read.survives, read.until), (true, false, NOW + 1000));
    assert_eq!(ids(&read.leaving), ["gus"].into());
}
