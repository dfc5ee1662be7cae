//! The daemon's side of a new charter: proposals and their signatures, what ends when a version is adopted and what is
//! finished under the old one, what an expired charter still allows, and what an auditor and a strict verifier make of it.

use breakglass::{
    domain::{
        Command, Refusal, State,
        charter::{Charter, SIGNING_WINDOW},
        event::{Entry, Event, Failure},
        id::RequestId,
        proposal::{SignedProposal, SignedRetraction},
        request::Outcome,
        strict::{self, Rejection, Seen, View},
    },
    jose::{Digest, GeneralJws, Typ},
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::{
    chain::{by, next, sign},
    kit::{
        AUD, DEVICES, Log, NOW, bytes, charter, charter_of, document, flow, grant_named, key, nonce, patch,
        payload,
    },
    replay::audit,
};

impl Log {
    /// Submits a document under signatures, at `at` seconds.
    pub fn propose(&mut self, statement: GeneralJws, at: i64) -> Result<Vec<Event>, Refusal> {
        let proposal = Box::new(SignedProposal::verify(statement, &self.charter(), at)?);
        self.run(&Command::Propose { proposal, evidence: Vec::new() }, at * 1000)
    }

    /// One more signature under a proposal.
    pub fn consent(&mut self, document: &Value, device: &str, at: i64) -> Result<Vec<Event>, Refusal> {
        let payload = payload(document);
        let signature = Box::new(key(device).state(Typ::Charter, &payload, at));
        self.run(&Command::Sign { proposal: Digest::of(&payload), signature }, at * 1000)
    }

    fn retract(&mut self, document: &Value, device: &str, at: i64) -> Result<Vec<Event>, Refusal> {
        let command = self.retraction(document, device, at)?;
        self.run(&command, at * 1000)
    }

    fn retraction(&self, document: &Value, device: &str, at: i64) -> Result<Command, Refusal> {
        let rules = self.charter();
        let about = bytes(&json!({"iss": rules.document().iss, "charter": rules.digest(),
            "proposal": Digest::of(&payload(document)), "nonce": nonce("retraction")}));
        let jws = key(device).jws(Typ::Retraction, &about, at);
        Ok(Command::Retract(Box::new(SignedRetraction::verify(jws, &rules, Typ::Retraction)?)))
    }

    /// Adopts a document that alice and bob have signed.
    pub fn succeed(&mut self, document: &Value, at: i64) -> Vec<Event> {
        self.propose(sign(document, &[("alice/1", at), ("bob/1", at)]), at).unwrap()
    }

    pub fn outcome(&self, id: &RequestId) -> Outcome {
        self.state.closed(id).unwrap().outcome
    }

    /// Everything that must hold of any log: an auditor agrees, and a snapshot at any size is the fold.
    pub fn audited(&self) {
        assert_eq!(audit(&self.entries, self.pinned).unwrap(), self.state);
        let mut state = State::default();
        for entry in &self.entries {
            state.evolve(&Entry::parse(entry).unwrap()).unwrap();
            let snapshot = state.to_snapshot().unwrap();
            let restored = State::from_snapshot(&snapshot).unwrap();
            assert_eq!(restored, state);
            assert_eq!(restored.to_snapshot().unwrap(), snapshot);
        }
        self.state.recheck().unwrap();
    }
}

pub fn refused(result: Result<Vec<Event>, Refusal>, reason: &str) {
    match result {
        Ok(events) => panic!("{reason} expected, but: {events:?}"),
        Err(refusal) => assert_eq!(refusal.reason(), reason, "{refusal}"),
    }
}

fn one(document: &Value, device: &str, at: i64) -> GeneralJws {
    sign(document, &[(device, at)])
}

/// The document that follows, issued when it is proposed.
pub fn following(log: &Log, at: i64) -> Value {
    patch(next(&log.charter()), json!({"issued_at": at, "expires_at": at + 80 * 86_400}))
}

#[test]
fn a_charter_is_proposed_signed_and_adopted_with_the_last_signature() {
    let mut log = Log::new(&charter());
    let document = following(&log, NOW);
    let events = log.propose(one(&document, "alice/1", NOW), NOW).unwrap();
    assert!(matches!(events.as_slice(), [Event::CharterProposed { .. }]));
    let digest = Digest::of(&payload(&document));
    let proposal = log.state.proposal(&digest).unwrap();
    assert_eq!(proposal.author().as_str(), "alice");
    assert_eq!(log.state.charter().unwrap().document().version, 1);
    refused(log.consent(&document, "alice/1", NOW + 1), "ALREADY_SIGNED");
    refused(log.consent(&document, "dave/file", NOW + 1), "CHARTER_SIGNATURES");
    refused(log.consent(&document, "mallory", NOW + 1), "NOT_A_CUSTODIAN");
    refused(log.consent(&document, "hank/1", NOW + 1), "NOT_A_CUSTODIAN");
    // Her second device and a custodian without a seat may sign, and complete nothing.
    log.consent(&document, "alice/2", NOW + 2).unwrap();
    let events = log.consent(&document, "gus/1", NOW + 3).unwrap();
    assert!(matches!(events.as_slice(), [Event::CharterSigned { .. }]));
    let events = log.consent(&document, "carol/1", NOW + 4).unwrap();
    assert!(matches!(events.as_slice(), [Event::CharterSigned { .. }, Event::CharterAdopted { .. }]));
    let adopted = log.charter();
    assert_eq!((adopted.document().version, adopted.digest()), (2, digest));
    assert_eq!(adopted.effective_from(), NOW + 4);
    assert_eq!(log.state.proposals().count(), 0);
    assert_eq!(log.state.versions().len(), 2);
    refused(log.consent(&document, "dave/1", NOW + 5), "PROPOSAL_UNKNOWN");
    log.audited();
}

#[test]
fn a_charter_signed_by_enough_is_adopted_in_one_go() {
    let mut log = Log::new(&charter());
    let document = following(&log, NOW);
    let events = log.succeed(&document, NOW);
    assert!(matches!(events.as_slice(), [Event::CharterAdopted { .. }]));
    // Once more, and its fork: neither follows.
    assert_eq!(
        log.propose(by(&document, &["alice/1", "bob/1"]), NOW).unwrap_err().reason(),
        "CHARTER_VERSION"
    );
    let fork = patch(document, json!({"nonce": nonce("fork")}));
    assert_eq!(log.propose(by(&fork, &["alice/1", "bob/1"]), NOW).unwrap_err().reason(), "CHARTER_FORK");
    log.audited();
}

#[test]
fn only_custodians_propose_one_at_a_time_and_nobody_ends_anothers() {
    let mut log = Log::new(&charter());
    let document = following(&log, NOW);
    for stranger in ["hank/1", "mallory"] {
        assert!(log.propose(one(&document, stranger, NOW), NOW).is_err());
    }
    log.propose(one(&document, "alice/1", NOW), NOW).unwrap();
    refused(log.propose(one(&document, "bob/1", NOW), NOW), "PROPOSAL_EXISTS");
    let other = patch(document.clone(), json!({"nonce": nonce("other")}));
    refused(log.propose(one(&other, "alice/2", NOW), NOW), "PROPOSAL_OPEN");
    log.propose(one(&other, "bob/1", NOW), NOW).unwrap();
    refused(log.retract(&document, "bob/1", NOW + 1), "NOT_THE_AUTHOR");
    refused(log.retract(&document, "dave/file", NOW + 1), "NOT_THE_AUTHOR");
    assert_eq!(log.retract(&document, "mallory", NOW + 1).unwrap_err().reason(), "KEY_UNKNOWN");
    let replayed = log.retraction(&document, "alice/2", NOW + 1).unwrap();
    log.run(&replayed, (NOW + 1) * 1000).unwrap();
    refused(log.consent(&document, "carol/1", NOW + 2), "PROPOSAL_UNKNOWN");
    // Proposed again, it is not ended by the statement that ended it before.
    log.propose(one(&document, "alice/1", NOW + 2), NOW + 2).unwrap();
    refused(log.run(&replayed, (NOW + 2) * 1000), "CLOCK_SKEW");
    // The other one is adopted: this one is over.
    log.consent(&other, "carol/1", NOW + 3).unwrap();
    assert_eq!(log.state.proposals().count(), 0);
    refused(log.consent(&document, "bob/1", NOW + 4), "PROPOSAL_UNKNOWN");
    log.audited();
}

#[test]
fn a_proposal_lapses_when_nobody_can_sign_it_any_more() {
    let mut log = Log::new(&charter());
    let document = following(&log, NOW);
    log.propose(one(&document, "alice/1", NOW), NOW).unwrap();
    assert_eq!(log.state.next_deadline(), Some(NOW + SIGNING_WINDOW));
    let late = NOW + SIGNING_WINDOW;
    refused(log.consent(&document, "bob/1", late), "DEADLINE_PASSED");
    let events = log.run(&Command::Tick, late * 1000).unwrap();
    assert!(matches!(events.as_slice(), [Event::CharterLapsed { .. }]));
    assert_eq!(log.state.proposals().count(), 0);
    refused(log.propose(one(&document, "alice/1", late - 1), late), "DEADLINE_PASSED");
    // What was signed in time by enough people may still be handed in.
    let complete = sign(&document, &[("alice/1", NOW), ("bob/1", NOW + 1)]);
    log.propose(complete, late).unwrap();
    log.audited();
}

#[test]
fn the_key_of_the_log_stays_where_it_is() {
    let mut log = Log::new(&charter());
    let mut document = following(&log, NOW);
    document["log_keys"][0]["key"]["x"] = json!(breakglass::jose::b64::encode(&[8; 32]));
    refused(log.propose(by(&document, &["alice/1", "bob/1"]), NOW), "LOG_KEY_CHANGED");
}

/// Requests of all kinds, and then a new charter.
#[test]
fn pending_requests_are_superseded_and_what_still_stands_is_finished() {
    let mut log = Log::new(&charter());
    let file = |log: &mut Log, name: &str| {
        let grant = grant_named(&log.charter(), name);
        log.file(&grant, "erin/file").unwrap()
    };
    let [pending, half, authorized, issued] = ["a", "b", "c", "d"].map(|name| file(&mut log, name));
    log.approve(&half, "alice/1", NOW + 1).unwrap();
    for (device, at) in [("alice/1", NOW + 1), ("bob/1", NOW + 2)] {
        for id in [&authorized, &issued] {
            log.approve(id, device, at).unwrap();
        }
    }
    let token = log.issue(&issued, NOW + 3).unwrap();
    let document = following(&log, NOW);
    log.propose(one(&document, "carol/1", NOW + 4), NOW + 4).unwrap();
    let events = log.consent(&document, "dave/1", NOW + 5).unwrap();
    assert_eq!(events.len(), 4, "{events:?}");
    for id in [&pending, &half] {
        assert_eq!(log.outcome(id), Outcome::Superseded);
    }
    assert_eq!(log.state.request(&authorized).unwrap().state(), "authorized");
    // Signed under the charter of its grant, redeemed under either.
    let finished = log.issue(&authorized, NOW + 6).unwrap();
    log.redeem(&authorized, "erin/file", NOW + 7, "new").unwrap();
    let old = charter();
    let about = bytes(&json!({"iss": old.document().iss, "charter": old.digest(), "request_id": issued,
        "nonce": nonce("old")}));
    let signed = breakglass::domain::statement::SignedAboutRequest::verify(
        key("erin/file").jws(Typ::Redeem, &about, NOW + 7),
        &old,
        Typ::Redeem,
    );
    log.run(&Command::Redeem(Box::new(signed.unwrap())), (NOW + 7) * 1000).unwrap();
    // New requests name the new charter.
    let stale = grant_named(&old, "e");
    assert_eq!(log.file_at(&stale, "erin/file", (NOW + 8) * 1000).unwrap_err().reason(), "CHARTER_MISMATCH");
    let fresh = log.file_at(&grant_named(&log.charter(), "f"), "erin/file", (NOW + 8) * 1000).unwrap();
    assert!(log.state.request(&fresh).is_some());
    for jwt in [&token, &finished] {
        verified(&log.charter(), jwt, NOW + 8).unwrap();
    }
    log.audited();
}

fn verified(charter: &Charter, jwt: &str, now: i64) -> Result<(), Rejection> {
    let audience = AUD.parse().unwrap();
    let view = View { charter, audience: &audience, now, allow_development: true, killed: None };
    strict::verify(jwt, &view, &mut Seen::default()).map(drop)
}

type Change = fn(&mut Value);

/// What a new charter may change, and whether it leaves alone what alice and bob approved for erin.
const CHANGES: [(&str, bool, Change); 13] = [
    ("nothing", true, |_| ()),
    ("key deactivated", true, |document| document["issuing_keys"][0]["state"] = json!("deactivated")),
    ("key compromised", false, |document| document["issuing_keys"][0]["state"] = json!("compromised")),
    ("key suspended", false, |document| document["issuing_keys"][0]["state"] = json!("suspended")),
    ("key not listed", false, |document| remove(&mut document["issuing_keys"], 0)),
    ("a custodian is no more", false, |document| {
        remove(&mut document["persons"], 1);
        scrub(document, "bob");
    }),
    ("a custodian leaves later", true, |document| {
        document["persons"][1]["term"] = json!({"until": NOW + 40 * 86_400});
    }),
    ("a device is no more", false, |document| remove(&mut document["persons"][0]["devices"], 0)),
    ("another device is no more", true, |document| remove(&mut document["persons"][0]["devices"], 1)),
    ("the requester may not ask", false, |document| {
        document["persons"][4]["roles"] = json!(["auditor"]);
        document["clients"][0]["subjects"] = json!(["ivan"]);
    }),
    ("the requester has another key", false, |document| {
        document["persons"][4]["keys"] = json!([key("erin/new").jwk()]);
    }),
    ("another requester is no more", true, |document| remove(&mut document["persons"], 6)),
    ("the profile is no more", false, |document| {
        remove(&mut document["profiles"], 0);
        scrub(document, "db-read");
    }),
];

fn remove(list: &mut Value, at: usize) {
    list.as_array_mut().unwrap().remove(at);
}

/// Both the authorization that is not signed yet and, for a strict verifier, the token that is.
#[test]
fn what_a_new_charter_takes_away_is_gone_at_once() {
    for (what, stands, change) in CHANGES {
        let mut log = Log::new(&ample());
        let ids = ["a", "b"].map(|name| {
            let grant = grant_named(&log.charter(), name);
            log.file(&grant, "erin/file").unwrap()
        });
        for (device, at) in [("alice/1", NOW + 1), ("bob/1", NOW + 2)] {
            for id in &ids {
                log.approve(id, device, at).unwrap();
            }
        }
        let token = log.issue(&ids[0], NOW + 3).unwrap();
        let mut document = following(&log, NOW);
        change(&mut document);
        log.propose(sign(&document, &[("carol/1", NOW + 4), ("dave/1", NOW + 4)]), NOW + 4).unwrap();
        assert_eq!(verified(&log.charter(), &token, NOW + 5).is_ok(), stands, "{what}: the token");
        match log.state.closed(&ids[1]) {
            None => assert!(stands, "{what}: the authorization"),
            Some(closed) => {
                assert!(!stands, "{what}: the authorization");
                assert_eq!(closed.outcome, Outcome::Failed(Failure::Superseded));
            }
        }
        // What is issued stays with the daemon until it expires; killing is another matter.
        assert_eq!(log.state.request(&ids[0]).unwrap().state(), "issued");
        log.audited();
    }
}

/// Takes a name out of all lists.
fn scrub(value: &mut Value, person: &str) {
    match value {
        Value::Array(items) => {
            items.retain(|item| item != person);
            for item in items {
                scrub(item, person);
            }
        }
        Value::Object(members) => {
            for member in members.values_mut() {
                scrub(member, person);
            }
        }
        _ => {}
    }
}

/// The charter of most tests, with people and keys to spare, so that each can be taken away alone.
fn ample() -> Charter {
    let mut document = document();
    document["groups"]["security"] = json!(["alice", "bob", "gus"]);
    document["persons"][5]["term"] = json!({});
    document["persons"][5].as_object_mut().unwrap().remove("term");
    document["profiles"][0]["quorum"] =
        json!({"threshold": 2, "of": ["alice", "bob", "carol", "dave", "gus"]});
    for profile in document["profiles"].as_array_mut().unwrap() {
        let everyone = json!({"threshold": 2, "of": [
            {"threshold": 1, "of": ["alice", "carol", "dave", "gus"]},
            {"threshold": 1, "of": ["alice", "bob", "carol", "dave", "gus"]}]});
        profile["quorum"] = patch(everyone, json!({}));
    }
    let spare =
        json!({"key": key("hsm/2").jwk(), "profiles": ["careful", "db-read", "db-write"], "state": "active"});
    document["issuing_keys"].as_array_mut().unwrap().push(spare);
    charter_of(&document)
}

#[test]
fn a_verifier_accepts_the_predecessor_for_the_longest_ttl_and_no_longer() {
    let (log, _, jwt) = flow();
    let first = log.charter();
    // Minted at NOW + 10, it lives until NOW + 70; the longest ttl of any profile is 900.
    let follow = |at: i64| {
        let document = patch(next(&first), json!({"issued_at": at}));
        first.successor(sign(&document, &[("alice/1", at), ("bob/1", at)]), at + 1).unwrap()
    };
    verified(&first, &jwt, NOW + 60).unwrap();
    verified(&follow(NOW + 20), &jwt, NOW + 60).unwrap();
    assert_eq!(verified(&follow(NOW + 20), &jwt, NOW + 70), Err(Rejection::Time));
    // A thief of the old quorum's devices and of the issuing key dates a token back: he cannot do so for long.
    let second = follow(NOW + 20);
    let third = second
        .successor(
            sign(
                &patch(next(&second), json!({"issued_at": NOW + 20})),
                &[("alice/1", NOW + 30), ("bob/1", NOW + 30)],
            ),
            NOW + 30,
        )
        .unwrap();
    verified(&third, &jwt, NOW + 60).unwrap();
    let forgotten = breakglass::domain::charter::verify_chain(
        first.digest(),
        [&first, &second].map(|charter| charter.statement().clone()),
        NOW + 20 + 960,
    );
    let error = verified(&forgotten.unwrap(), &jwt, NOW + 60).unwrap_err();
    assert_eq!(error.reason(), "CHARTER_MISMATCH");
    assert_eq!(verified(&follow(NOW - 950), &jwt, NOW + 60), Err(Rejection::Superseded));
}

#[test]
fn an_expired_charter_allows_a_new_charter_and_nothing_else() {
    let mut short = document();
    short["expires_at"] = json!(NOW + 20);
    let mut log = Log::new(&charter_of(&short));
    let ids = ["a", "b"].map(|name| {
        let grant = grant_named(&log.charter(), name);
        log.file(&grant, "erin/file").unwrap()
    });
    log.approve(&ids[0], "alice/1", NOW + 1).unwrap();
    log.approve(&ids[0], "bob/1", NOW + 2).unwrap();
    log.issue(&ids[0], NOW + 3).unwrap();
    let over = NOW + 20;
    assert_eq!(
        log.file_at(&grant_named(&log.charter(), "c"), "erin/file", over * 1000).unwrap_err().reason(),
        "CHARTER_EXPIRED"
    );
    refused(log.approve(&ids[1], "alice/1", over), "CHARTER_EXPIRED");
    refused(log.redeem(&ids[0], "erin/file", over, "r"), "CHARTER_EXPIRED");
    refused(log.withdraw(&ids[1], "erin/file", over), "CHARTER_EXPIRED");
    let document = following(&log, over);
    log.propose(one(&document, "alice/1", over), over).unwrap();
    log.consent(&document, "bob/1", over + 1).unwrap();
    assert_eq!(log.charter().document().version, 2);
    assert_eq!(log.outcome(&ids[1]), Outcome::Superseded);
    log.redeem(&ids[0], "erin/file", over + 2, "r").unwrap();
    log.audited();
}

#[test]
fn a_document_that_has_expired_is_not_adopted() {
    let mut log = Log::new(&charter());
    let document = patch(following(&log, NOW), json!({"expires_at": NOW + 100}));
    log.propose(one(&document, "alice/1", NOW), NOW).unwrap();
    let another = patch(document.clone(), json!({"nonce": nonce("another")}));
    let statement = by(&another, &["alice/1", "bob/1"]);
    let proposal = Box::new(SignedProposal::verify(statement, &log.charter(), NOW + 100).unwrap());
    let late = Command::Propose { proposal, evidence: Vec::new() };
    refused(log.run(&late, (NOW + 100) * 1000), "CHARTER_EXPIRED");
    refused(log.consent(&document, "bob/1", NOW + 100), "DEADLINE_PASSED");
}

/// One step of a random life.
#[derive(Debug, Clone)]
enum Step {
    File,
    Approve(usize, usize),
    Issue(usize),
    Redeem(usize),
    Propose(usize, usize),
    Sign(usize, usize),
    Retract(usize, usize),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Step> {
    let any = 0..32_usize;
    prop_oneof![
        4 => Just(Step::File),
        8 => (any.clone(), any.clone()).prop_map(|(request, device)| Step::Approve(request, device)),
        4 => any.clone().prop_map(Step::Issue),
        1 => any.clone().prop_map(Step::Redeem),
        3 => (any.clone(), any.clone()).prop_map(|(change, device)| Step::Propose(change, device)),
        5 => (any.clone(), any.clone()).prop_map(|(proposal, device)| Step::Sign(proposal, device)),
        1 => (any.clone(), any).prop_map(|(proposal, device)| Step::Retract(proposal, device)),
        2 => prop_oneof![6 => 1..30_i64, 2 => 100..700_i64, 1 => 86_400..500_000_i64].prop_map(Step::Wait),
    ]
}

/// A log in which requests and charters come and go.
struct Life {
    log: Log,
    now: i64,
    filed: Vec<RequestId>,
    tokens: Vec<String>,
    documents: Vec<Value>,
}

impl Life {
    fn new() -> Self {
        let log = Log::new(&ample());
        Self { log, now: NOW, filed: Vec::new(), tokens: Vec::new(), documents: Vec::new() }
    }

    /// Does what may be done; what is refused changes nothing.
    fn step(&mut self, step: &Step) -> Result<(), Refusal> {
        let device = |at: &usize| DEVICES[at % DEVICES.len()];
        let (now, log) = (self.now, &mut self.log);
        let request = |at: &usize| self.filed.get(at % self.filed.len().max(1)).copied();
        let document = |at: &usize| self.documents.get(at % self.documents.len().max(1)).cloned();
        match step {
            Step::Wait(seconds) => {
                self.now += seconds;
                log.run(&Command::Tick, self.now * 1000)?;
            }
            Step::File => {
                let name = format!("g{}", log.entries.len());
                let times = json!({"requested_at": now, "expires_at": now + 600});
                let grant = patch(grant_named(&log.charter(), &name), times);
                self.filed.push(log.file(&grant, "erin/file")?);
            }
            Step::Approve(at, by) => {
                if let Some(id) = request(at) {
                    log.approve(&id, device(by), now)?;
                }
            }
            Step::Issue(at) => {
                let authorized =
                    |id: &RequestId| log.state.request(id).is_some_and(|it| it.state() == "authorized");
                if let Some(id) = request(at).filter(authorized) {
                    self.tokens.push(log.issue(&id, now)?);
                }
            }
            Step::Redeem(at) => {
                if let Some(id) = request(at) {
                    log.redeem(&id, "erin/file", now, &log.entries.len().to_string())?;
                }
            }
            Step::Propose(change, by) => {
                let mut document = following(log, now);
                document["nonce"] = json!(nonce(&log.entries.len().to_string()));
                let edit = CHANGES[change % CHANGES.len()].2;
                // An index that an earlier change has taken away is no change.
                let edited = std::panic::catch_unwind(|| {
                    let mut document = document.clone();
                    edit(&mut document);
                    document
                });
                let document = edited.unwrap_or(document);
                log.propose(one(&document, device(by), now), now)?;
                self.documents.push(document);
            }
            Step::Sign(at, by) => {
                if let Some(document) = document(at) {
                    log.consent(&document, device(by), now)?;
                }
            }
            Step::Retract(at, by) => {
                if let Some(document) = document(at) {
                    log.retract(&document, device(by), now)?;
                }
            }
        }
        Ok(())
    }

    fn holds(&self) {
        let charter = self.log.charter();
        for request in self.log.state.requests() {
            let named = self.log.state.charter_named(&request.grant().charter);
            assert!(named.is_some(), "the charter of every live request is kept");
            assert!(request.state() != "pending" || named == Some(&charter), "nothing waits under old rules");
        }
        assert!(
            self.log
                .state
                .proposals()
                .all(|proposal| proposal.rules().document().previous == Some(charter.digest()))
        );
        for jwt in &self.tokens {
            if let Err(rejection) = verified(&charter, jwt, self.now) {
                let reasons = [
                    "TAKEN_AWAY",
                    "TOKEN_TIME",
                    "CHARTER_SUPERSEDED",
                    "CHARTER_MISMATCH",
                    "CHARTER_NOT_IN_FORCE",
                ];
                assert!(reasons.contains(&rejection.reason()), "{rejection}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens around changes of the charter, an auditor and every snapshot agree with the daemon.
    #[test]
    fn random_lives_with_new_charters_are_audited(steps in vec(steps(), 10..60)) {
        let mut life = Life::new();
        for step in &steps {
            let before = life.log.entries.len();
            if life.step(step).is_err() {
                prop_assert_eq!(life.log.entries.len(), before);
            }
            life.holds();
        }
        life.log.audited();
    }
}
