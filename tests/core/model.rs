//! Random sequences of commands against a naive model: plain lists, every rule written a second time and without any of
//! the core's code. Both must accept and refuse alike and be in the same state after each step; an auditor must reach
//! that state as well.

use breakglass::{
    domain::{
        Command, State,
        event::{Entry, Failure},
        id::{InstanceId, RequestId},
        request::Life,
    },
    jose::{Digest, Typ},
};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;

use crate::{
    kit::{AUD, Log, NOW, bytes, charter, grant_named, key, patch},
    replay::audit,
};

/// Each device and key with the person it belongs to; the last three are no custodian's.
const SIGNERS: [(&str, &str); 11] = [
    ("alice/1", "alice"),
    ("alice/2", "alice"),
    ("bob/1", "bob"),
    ("carol/1", "carol"),
    ("carol/2", "carol"),
    ("dave/1", "dave"),
    ("dave/2", "dave"),
    ("gus/1", "gus"),
    ("dave/file", ""),
    ("hank/1", ""),
    ("mallory", ""),
];

/// Requesters: key, client, subject, profile, and who is excluded.
const REQUESTERS: [(&str, &str, &str, &str, &[&str]); 6] = [
    ("erin/file", "erin", "erin", "db-read", &[]),
    ("erin/file", "erin", "erin", "db-write", &[]),
    ("dave/file", "dave", "dave", "db-read", &["dave"]),
    ("hank/1", "hank", "hank", "careful", &[]),
    ("ivan/file", "ivan", "ivan", "db-read", &[]),
    ("pager/file", "pager", "erin", "db-read", &["carol"]),
];

/// When gus's and ivan's terms end.
const TERM: i64 = NOW + 1_000;

#[derive(Debug, Clone)]
enum Step {
    Wait(i64),
    /// Requester, name of the grant's keys, ttl, window, and how far off the requester's clock is.
    File {
        by: usize,
        name: u8,
        ttl: i64,
        window: i64,
        skew: i64,
    },
    Judge {
        request: usize,
        signer: usize,
        deny: bool,
        station: bool,
        skew: i64,
    },
    Withdraw {
        request: usize,
        by: usize,
        skew: i64,
    },
    Redeem {
        request: usize,
        by: usize,
        tag: u8,
        skew: i64,
    },
    Issue(usize),
    Fail(usize, Failure),
    TakeOver(usize),
    /// Another process goes on.
    Become(&'static str),
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let skew = || prop_oneof![9 => Just(0), 1 => select(vec![-200, -121, -61, -60, -5, 60, 61])];
    let failure = select(vec![Failure::Expired, Failure::NoKey, Failure::SignatureInvalid]);
    // Mostly somebody who may.
    let by = || prop_oneof![4 => Just(99_usize), 1 => 0..REQUESTERS.len()];
    prop_oneof![
        4 => select(vec![1, 2, 29, 31, 59, 61, 121, 300, 601]).prop_map(Step::Wait),
        3 => (0..REQUESTERS.len(), 0..6_u8, select(vec![30, 60, 900, 901]), select(vec![20, 150, 600, 3_600, 3_601]), skew())
            .prop_map(|(by, name, ttl, window, skew)| Step::File { by, name, ttl, window, skew }),
        12 => (0..5_usize, 0..SIGNERS.len(), prop::bool::weighted(0.08), prop::bool::weighted(0.1), skew())
            .prop_map(|(request, signer, deny, station, skew)| Step::Judge { request, signer, deny, station, skew }),
        1 => (0..5_usize, by(), skew()).prop_map(|(request, by, skew)| Step::Withdraw { request, by, skew }),
        2 => (0..5_usize, by(), 0..4_u8, skew()).prop_map(|(request, by, tag, skew)| Step::Redeem { request, by, tag, skew }),
        3 => (0..5_usize).prop_map(Step::Issue),
        1 => (0..5_usize, failure).prop_map(|(request, reason)| Step::Fail(request, reason)),
        1 => (0..5_usize).prop_map(Step::TakeOver),
        1 => select(vec!["d1.first", "d1.second", "d2.first"]).prop_map(Step::Become),
        2 => Just(Step::Tick),
    ]
}

/// Somebody's signature, as the model remembers it.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    person: &'static str,
    device: &'static str,
    iat: i64,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Pending,
    Authorized,
    Issued,
    Ended(&'static str),
}

#[derive(Debug, Clone)]
struct Request {
    id: RequestId,
    payload: Vec<u8>,
    by: usize,
    name: u8,
    ttl: i64,
    requested: i64,
    expires: i64,
    phase: Phase,
    approvals: Vec<Said>,
    denials: Vec<&'static str>,
    /// Who is in the token, when it was minted, by which process, and since when that is at work.
    minted: Option<(Vec<&'static str>, i64, &'static str, i64)>,
    redemptions: Vec<u8>,
}

struct Model {
    now: i64,
    instance: &'static str,
    requests: Vec<Request>,
}

fn in_term(person: &str, at: i64) -> bool {
    !["gus", "ivan"].contains(&person) || at < TERM
}

fn seats(profile: &str) -> &'static [&'static [&'static str]] {
    const ANYONE: &[&str] = &["alice", "bob", "carol", "dave", "gus"];
    match profile {
        "db-write" => &[&["alice", "bob"], &["carol", "dave"]],
        _ => &[ANYONE, ANYONE],
    }
}

impl Request {
    fn profile(&self) -> &'static str {
        REQUESTERS[self.by].3
    }

    fn is_live(&self) -> bool {
        !matches!(self.phase, Phase::Ended(_))
    }

    /// The pair of approvals that would go into the token: of all pairs that fill both seats the newest.
    fn pair(&self, now: i64) -> Option<Vec<Said>> {
        let excluded = REQUESTERS[self.by].4;
        let counts = |said: &&Said| {
            in_term(said.person, now)
                && !excluded.contains(&said.person)
                && !self.denials.contains(&said.person)
        };
        let counted: Vec<&Said> = self.approvals.iter().filter(counts).collect();
        let [first, second] = seats(self.profile()) else { unreachable!() };
        let rank = |said: &Said| (said.iat, key(said.device).kid());
        let mut best: Option<Vec<Said>> = None;
        for a in &counted {
            for b in &counted {
                if a.person == b.person || !first.contains(&a.person) || !second.contains(&b.person) {
                    continue;
                }
                let mut pair = vec![(*a).clone(), (*b).clone()];
                pair.sort_by_key(|said| std::cmp::Reverse(rank(said)));
                let newer = |old: &Vec<Said>| {
                    pair.iter().map(rank).collect::<Vec<_>>() > old.iter().map(rank).collect::<Vec<_>>()
                };
                if best.as_ref().is_none_or(newer) {
                    best = Some(pair);
                }
            }
        }
        best
    }
}

fn is_old(pair: &[Said], now: i64) -> bool {
    pair.iter().map(|said| said.iat).max().unwrap() + 120 < now
}

impl Model {
    fn may_file(&self, asked: &Request) -> bool {
        let (_, client, sub, profile, _) = REQUESTERS[asked.by];
        let known = self.requests.iter().any(|other| other.id == asked.id);
        let reused = self.requests.iter().any(|other| other.is_live() && other.name == asked.name);
        let issued = |other: &&Request| {
            other.profile() == "careful" && matches!(other.phase, Phase::Issued | Phase::Ended("expired"))
        };
        let cold = profile == "careful"
            && self
                .requests
                .iter()
                .filter(issued)
                .any(|other| other.minted.as_ref().is_some_and(|(_, iat, ..)| iat + 1_200 > self.now));
        asked.ttl <= 900
            && asked.expires - asked.requested <= 3_600
            && asked.requested <= self.now + 60
            && asked.expires > self.now
            && [client, sub].iter().all(|who| in_term(who, asked.requested) && in_term(who, self.now))
            && !known
            && !reused
            && !cold
    }

    /// Whether the judgement is accepted; if so, it is done.
    fn judge(&mut self, at: usize, said: &Said, deny: bool, station: bool) -> bool {
        let (now, instance) = (self.now, self.instance);
        let request = &mut self.requests[at];
        let (_, client, sub, profile, excluded) = REQUESTERS[request.by];
        let ok = request.phase == Phase::Pending
            && now < request.expires
            && !said.person.is_empty()
            && in_term(said.person, now)
            && (request.requested - 60..=now + 60).contains(&said.iat)
            && !request.denials.contains(&said.person);
        if !ok {
            return false;
        }
        if deny {
            request.denials.push(said.person);
            let counted = request.denials.iter().filter(|person| **person != "gus").count();
            if profile != "careful" || counted >= 2 {
                request.phase = Phase::Ended("denied");
            }
            return true;
        }
        if excluded.contains(&said.person)
            || [client, sub].iter().any(|who| !in_term(who, now))
            || (station && profile != "careful")
            || !seats(profile).iter().any(|seat| seat.contains(&said.person))
        {
            return false;
        }
        if let Some(old) = request.approvals.iter().find(|old| old.person == said.person) {
            let stale = request.pair(now).is_some_and(|pair| is_old(&pair, now));
            if !stale || old.device != said.device || old.iat >= said.iat {
                return false;
            }
        }
        request.approvals.retain(|old| old.person != said.person);
        request.approvals.push(said.clone());
        if let Some(pair) = request.pair(now).filter(|pair| !is_old(pair, now)) {
            let mut persons: Vec<_> = pair.iter().map(|said| said.person).collect();
            persons.sort_unstable();
            request.minted = Some((persons, now, instance, now));
            request.phase = Phase::Authorized;
        }
        true
    }

    fn exp(request: &Request) -> i64 {
        request.minted.as_ref().unwrap().1 + request.ttl
    }

    fn tick(&mut self) {
        for request in &mut self.requests {
            let (over, end) = match request.phase {
                Phase::Pending => (request.expires, "lapsed"),
                Phase::Authorized => (Self::exp(request), "failed"),
                Phase::Issued => (Self::exp(request), "expired"),
                Phase::Ended(_) => continue,
            };
            if over <= self.now {
                request.phase = Phase::Ended(end);
            }
        }
    }

    fn may_speak(&self, at: usize, by: usize, iat: i64) -> bool {
        let (_, client, ..) = REQUESTERS[by];
        REQUESTERS[self.requests[at].by].1 == client
            && in_term(client, self.now)
            && (iat - self.now).abs() <= 60
    }
}

/// The core and the model, side by side.
struct Pair {
    log: Log,
    model: Model,
}

impl Pair {
    fn new() -> Self {
        let model = Model { now: NOW, instance: "d1.first", requests: Vec::new() };
        Self { log: Log::new(&charter()), model }
    }

    /// Takes a step in both; whether each of them accepted it.
    fn take(&mut self, step: &Step) -> (bool, bool) {
        let now = self.model.now;
        let count = self.model.requests.len();
        match *step {
            Step::Wait(seconds) => {
                self.model.now += seconds;
                (true, true)
            }
            Step::Become(instance) => {
                self.model.instance = instance;
                self.log.instance = instance.parse::<InstanceId>().unwrap();
                (true, true)
            }
            Step::Tick => {
                self.model.tick();
                (self.log.run(&Command::Tick, now * 1000).is_ok(), true)
            }
            Step::File { by, name, ttl, window, skew } => self.file(by, name, (ttl, window), now + skew),
            _ if count == 0 => (true, true),
            Step::Judge { request, signer, deny, station, skew } => {
                self.judge(request % count, signer, (deny, station), now + skew)
            }
            Step::Withdraw { request, by, skew } => {
                let (at, by) = self.about(request, by);
                let done = self.say(at, by, Typ::Withdrawal, "w", now + skew);
                let may = self.model.requests[at].phase == Phase::Pending
                    && self.model.may_speak(at, by, now + skew);
                if may {
                    self.model.requests[at].phase = Phase::Ended("withdrawn");
                }
                (done, may)
            }
            Step::Redeem { request, by, tag, skew } => {
                let (at, by) = self.about(request, by);
                let done = self.say(at, by, Typ::Redeem, &tag.to_string(), now + skew);
                let asked = &self.model.requests[at];
                let may = asked.phase == Phase::Issued
                    && Model::exp(asked) > now
                    && !asked.redemptions.contains(&tag)
                    && self.model.may_speak(at, by, now + skew);
                if may {
                    self.model.requests[at].redemptions.push(tag);
                }
                (done, may)
            }
            Step::Issue(request) => self.issue(request % count),
            Step::Fail(request, reason) => self.fail(request % count, reason),
            Step::TakeOver(request) => self.take_over(request % count),
        }
    }

    /// The request, and who speaks: its own requester where the step says nobody else.
    fn about(&self, request: usize, by: usize) -> (usize, usize) {
        let at = request % self.model.requests.len();
        (at, if by < REQUESTERS.len() { by } else { self.model.requests[at].by })
    }

    fn say(&mut self, at: usize, by: usize, typ: Typ, tag: &str, iat: i64) -> bool {
        let id = self.model.requests[at].id;
        let command = self.log.about(&id, REQUESTERS[by].0, typ, iat, tag).unwrap();
        self.log.run(&command, self.model.now * 1000).is_ok()
    }

    fn file(&mut self, by: usize, name: u8, (ttl, window): (i64, i64), requested: i64) -> (bool, bool) {
        let (requester, client, sub, profile, _) = REQUESTERS[by];
        let (aud, detail) = match profile {
            "db-write" => (
                "https://write.example.test",
                json!({"type": "database", "actions": ["write"], "identifier": "t_1", "locations": ["pg/prod/x"]}),
            ),
            _ => (AUD, json!({"type": "database", "actions": ["read"], "locations": ["pg/prod/x"]})),
        };
        let expires = requested + window;
        let asked = patch(
            grant_named(&self.log.charter(), &name.to_string()),
            json!({"profile": profile, "sub": sub,
            "client_id": client, "requester_key": key(requester).kid(), "aud": aud, "authorization_details": [detail],
            "ttl": ttl, "requested_at": requested, "expires_at": expires}),
        );
        let payload = bytes(&asked);
        let request = Request {
            id: RequestId(Digest::of(&payload)),
            payload,
            by,
            name,
            ttl,
            requested,
            expires,
            phase: Phase::Pending,
            approvals: Vec::new(),
            denials: Vec::new(),
            minted: None,
            redemptions: Vec::new(),
        };
        let done = self.log.file_at(&asked, requester, self.model.now * 1000).is_ok();
        let may = self.model.may_file(&request);
        if may {
            self.model.requests.push(request);
        }
        (done, may)
    }

    fn judge(&mut self, at: usize, signer: usize, (deny, station): (bool, bool), iat: i64) -> (bool, bool) {
        let (device, person) = SIGNERS[signer];
        let payload = self.model.requests[at].payload.clone();
        let typ = if deny { Typ::Denial } else { Typ::Approval };
        let signature = key(device).state_at(typ, &payload, iat, station.then_some("desk-1"));
        let done = self.log.submit(&payload, signature, self.model.now).is_ok();
        (done, self.model.judge(at, &Said { person, device, iat }, deny, station))
    }

    fn issue(&mut self, at: usize) -> (bool, bool) {
        let request = &mut self.model.requests[at];
        let may = request.phase == Phase::Authorized
            && request.minted.as_ref().unwrap().2 == self.model.instance
            && Model::exp(request) > self.model.now;
        // What is signed does not matter to the core.
        let (jwt, jwe) = (Digest::of(b"jwt"), "e30".to_owned());
        let done =
            self.log.run(&Command::Issued { request: request.id, jwt, jwe }, self.model.now * 1000).is_ok();
        if may {
            request.phase = Phase::Issued;
        }
        (done, may)
    }

    fn fail(&mut self, at: usize, reason: Failure) -> (bool, bool) {
        let request = &mut self.model.requests[at];
        let may = request.phase == Phase::Authorized
            && request.minted.as_ref().unwrap().2 == self.model.instance
            && match reason {
                Failure::Expired => Model::exp(request) <= self.model.now,
                Failure::NoKey | Failure::Superseded => false,
                Failure::SignatureInvalid => true,
            };
        let done =
            self.log.run(&Command::Fail { request: request.id, reason }, self.model.now * 1000).is_ok();
        if may {
            request.phase = Phase::Ended("failed");
        }
        (done, may)
    }

    fn take_over(&mut self, at: usize) -> (bool, bool) {
        let request = &mut self.model.requests[at];
        let (now, mine) = (self.model.now, self.model.instance);
        let may = request.phase == Phase::Authorized && {
            let (_, _, theirs, since) = request.minted.as_mut().unwrap();
            let may = *theirs != mine && (theirs[..2] == mine[..2] || now - *since >= 30);
            if may {
                (*theirs, *since) = (mine, now);
            }
            may
        };
        (self.log.run(&Command::TakeOver { request: request.id }, now * 1000).is_ok(), may)
    }

    /// Both are in the same state, and no promise is broken.
    fn agree(&self) {
        let state = &self.log.state;
        for request in &self.model.requests {
            let live = state.request(&request.id);
            match &request.phase {
                Phase::Ended(end) => {
                    assert!(live.is_none());
                    if let Some(closed) = state.closed(&request.id) {
                        assert_eq!(closed.outcome.as_str(), *end);
                    } else {
                        assert!(state.last().seconds() > request.expires + request.ttl + 120);
                    }
                }
                phase => {
                    let live = live.unwrap_or_else(|| panic!("{phase:?}, but it is gone"));
                    let name = format!("{phase:?}").to_lowercase();
                    assert_eq!(live.state(), name);
                    if let Life::Authorized(authorization) | Life::Issued { authorization, .. } = live.life()
                    {
                        let (persons, iat, ..) = request.minted.as_ref().unwrap();
                        let holder = |kid: &Digest| {
                            SIGNERS.iter().find(|(device, _)| key(device).kid() == *kid).unwrap().1
                        };
                        let mut signed: Vec<_> = authorization
                            .approvals
                            .iter()
                            .map(|approval| holder(&approval.header().kid))
                            .collect();
                        signed.sort_unstable();
                        assert_eq!(
                            (&signed, authorization.iat, authorization.exp),
                            (persons, *iat, iat + request.ttl)
                        );
                        signed.dedup();
                        assert_eq!(signed.len(), 2, "two distinct persons");
                        let excluded = REQUESTERS[request.by].4;
                        assert!(signed.iter().all(|person| !person.is_empty() && !excluded.contains(person)));
                    }
                }
            }
        }
        let live = self.model.requests.iter().filter(|request| request.is_live()).count();
        assert_eq!(state.requests().count(), live);
        let restored = State::from_snapshot(&state.to_snapshot().unwrap()).unwrap();
        assert_eq!(&restored, state);
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(24);
    ProptestConfig { cases, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_core_agrees_with_the_model(steps in vec(step(), 20..90)) {
        let mut pair = Pair::new();
        for (n, step) in steps.iter().enumerate() {
            let entries = pair.log.entries.len();
            let (core, model) = pair.take(step);
            prop_assert_eq!(core, model, "step {}: {:?} (the core first)", n, step);
            prop_assert!(core || pair.log.entries.len() == entries, "a refusal left an entry");
            if n % 8 == 7 {
                pair.agree();
            }
        }
        pair.agree();
        let audited = audit(&pair.log.entries, pair.log.pinned);
        prop_assert_eq!(audited.as_ref(), Ok(&pair.log.state));
        let times: Vec<_> = pair.log.entries.iter().map(|entry| Entry::parse(entry).unwrap().at).collect();
        prop_assert!(times.is_sorted());
    }
}

/// The random walk really reaches every state: a generator that only makes refusals would prove nothing.
#[test]
fn random_steps_reach_every_state() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..config().cases {
        let steps = vec(step(), 90..91).new_tree(&mut runner).unwrap().current();
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
            for request in &pair.model.requests {
                *seen.entry(format!("{:?}", request.phase)).or_default() += 1;
            }
        }
    }
    println!("{seen:?}");
    for phase in [
        "Pending",
        "Authorized",
        "Issued",
        "Ended(\"denied\")",
        "Ended(\"withdrawn\")",
        "Ended(\"lapsed\")",
        "Ended(\"failed\")",
        "Ended(\"expired\")",
    ] {
        assert!(seen.contains_key(phase), "{phase} was never reached: {seen:?}");
    }
}
