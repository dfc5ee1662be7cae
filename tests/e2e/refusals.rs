//! Everything that is refused: with its stable reason, and without leaving a trace in the state. Attempts at power are
//! counted, and the counts come into the log.

use std::{collections::BTreeMap, fmt::Debug};

use breakglass::{
    client::ClientError,
    domain::event::{Entry, Event},
    grpc::tls::Identity,
    jose::{Digest, GeneralJws, Typ},
};
use serde_json::{Value, json};

use crate::{
    client::{Client, secret},
    daemon::Daemon,
    kit,
    wish::Wish,
    world::{World, now},
};

/// Notes what was refused, and that nothing happened by it.
struct Judge {
    world: World,
    daemon: Daemon,
    erin: Client,
    attempts: BTreeMap<String, u64>,
}

/// Reasons of attempts at power: somebody is not who may do this.
const ATTEMPTS: [&str; 19] = [
    "AUDIENCE_NOT_ALLOWED",
    "CHARTER_MISMATCH",
    "CLIENT_ID_MISMATCH",
    "CLIENT_UNKNOWN",
    "CLIENT_NOT_IN_TERM",
    "CNF_NOT_ALLOWED",
    "DETAILS_NOT_ALLOWED",
    "ISSUER_MISMATCH",
    "KEY_UNKNOWN",
    "NOT_A_CUSTODIAN",
    "NOT_AN_AUDITOR",
    "NOT_THE_REQUESTER",
    "NO_SEAT",
    "PROFILE_UNKNOWN",
    "REQUESTER_KEY_MISMATCH",
    "SELF_APPROVAL",
    "SIGNATURE_INVALID",
    "STATION_FORBIDDEN",
    "TTL_TOO_LONG",
];
const MORE_ATTEMPTS: [&str; 4] =
    ["WINDOW_TOO_LONG", "REQUESTER_KEY_KIND", "SUBJECT_NOT_ALLOWED", "REDEEM_KEY_NOT_FRESH"];

impl Judge {
    fn new() -> Self {
        Self::with(|document| document)
    }

    fn with(change: impl FnOnce(Value) -> Value) -> Self {
        let world = World::with(change);
        let daemon = world.start();
        let erin = world.client("erin/file");
        Self { world, daemon, erin, attempts: BTreeMap::new() }
    }

    /// The entries but those that the daemon writes by itself: counts of refusals, snapshots, keys that are gone.
    fn facts(&self) -> Vec<Vec<u8>> {
        let entries = self.erin.entries().unwrap();
        let its_own = |bytes: &Vec<u8>| {
            matches!(
                Entry::parse(bytes).unwrap().event,
                Event::AttemptsRefused { .. }
                    | Event::SnapshotTaken { .. }
                    | Event::IssuingKeyDestroyed { .. }
                    | Event::VerifierProbed { .. }
                    | Event::HookAnswered { .. }
            )
        };
        entries.into_iter().filter(|bytes| !its_own(bytes)).collect()
    }

    /// Does something that has to be refused for this reason.
    #[track_caller]
    fn refuses<T: Debug>(
        &mut self,
        reason: &str,
        action: impl FnOnce(&World, &Client) -> Result<T, ClientError>,
    ) {
        let before = self.facts();
        let error = action(&self.world, &self.erin).expect_err(reason);
        assert_eq!(error.reason, reason, "{error}");
        assert!(!error.message.is_empty());
        assert_eq!(self.facts(), before, "{reason} left a trace");
        if ATTEMPTS.contains(&reason) || MORE_ATTEMPTS.contains(&reason) {
            *self.attempts.entry(reason.to_owned()).or_default() += 1;
        }
    }

    /// Stops the daemon, and holds the log's counts against those made here.
    fn close(self) {
        assert!(self.daemon.stop().success());
        let entries = self.world.entries();
        let mut counted: BTreeMap<String, u64> = BTreeMap::new();
        for bytes in &entries {
            if let Event::AttemptsRefused { reason, count, .. } = Entry::parse(bytes).unwrap().event {
                *counted.entry(reason).or_default() += count;
            }
        }
        assert_eq!(counted, self.attempts, "every attempt at power is counted in the log, and nothing else");
        assert!(self.world.replay(&entries).unwrap().is_complete());
    }
}

/// A wish of erin's with these changes, filed.
fn file(changes: Value) -> impl FnOnce(&World, &Client) -> Result<(), ClientError> {
    move |world, client| world.wish(changes).file(client).map(drop)
}

fn file_jws(
    make: impl FnOnce(&Wish) -> GeneralJws,
) -> impl FnOnce(&World, &Client) -> Result<(), ClientError> {
    move |world, client| client.file(&make(&world.wish(json!({})))).map(drop)
}

#[test]
fn what_the_charter_does_not_permit_is_not_filed() {
    let mut judge = Judge::new();
    let (now, digest) = (now(), Digest::of(b"another charter"));
    let details = |actions: Value, location: &str| json!({"authorization_details": [{"type": "database", "actions": actions, "locations": [location]}]});
    judge.refuses("CHARTER_MISMATCH", file(json!({"charter": digest})));
    judge.refuses("ISSUER_MISMATCH", file(json!({"iss": "https://other.example.test"})));
    judge.refuses("PROFILE_UNKNOWN", file(json!({"profile": "root"})));
    judge.refuses("AUDIENCE_NOT_ALLOWED", file(json!({"aud": "https://other.example.test"})));
    judge.refuses("DETAILS_NOT_ALLOWED", file(details(json!(["write"]), "pg/prod/orders")));
    judge.refuses("DETAILS_NOT_ALLOWED", file(details(json!(["read"]), "pg/test/orders")));
    judge.refuses("TTL_TOO_LONG", file(json!({"ttl": 901})));
    judge.refuses("WINDOW_TOO_LONG", file(json!({"expires_at": now + 3700})));
    judge.refuses("REQUESTER_KEY_KIND", file(json!({"profile": "careful"})));
    judge.refuses("CLIENT_ID_MISMATCH", file(json!({"client_id": "dave", "sub": "dave"})));
    judge.refuses("SUBJECT_NOT_ALLOWED", file(json!({"sub": "dave"})));
    judge.refuses("CNF_NOT_ALLOWED", file(json!({"cnf": {"jkt": kit::key("erin/file").kid()}})));
    judge.refuses("REDEEM_KEY_NOT_FRESH", file(json!({"redeem_key": kit::key("alice/1").jwk()})));
    judge.close();
}

#[test]
fn what_is_no_request_is_not_filed() {
    let mut judge = Judge::new();
    let now = now();
    judge.refuses("JSON_MALFORMED", |_, client| client.file_bytes(b"{".to_vec()));
    judge.refuses("TOO_LONG", |_, client| client.file_bytes(vec![b' '; 40_000]));
    judge.refuses("MESSAGE_TOO_LARGE", |_, client| client.file_bytes_unchecked(vec![b' '; 300 * 1024]));
    judge.refuses("JSON_SHAPE_UNEXPECTED", file(json!({"surprise": true})));
    judge.refuses("JSON_SHAPE_UNEXPECTED", file(json!({"reason": "x".repeat(281)})));
    judge.refuses("TEXT_FORBIDDEN_CHARACTER", file(json!({"reason": "read\u{202e}daer"})));
    judge.refuses("GRANT_TIMES", file(json!({"ttl": 0})));
    judge.refuses("GRANT_TIMES", file(json!({"expires_at": now - 10})));
    judge.refuses("DEADLINE_PASSED", file(json!({"requested_at": now - 20, "expires_at": now - 10})));
    judge.refuses("CLOCK_SKEW", file(json!({"requested_at": now + 300, "expires_at": now + 600})));
    judge.refuses("TYP_UNEXPECTED", file_jws(|wish| wish.verdict("erin/file", Typ::Approval)));
    judge.refuses("REQUESTER_KEY_MISMATCH", file_jws(|wish| wish.verdict("dave/file", Typ::Request)));
    judge.refuses(
        "NOT_ONE_SIGNATURE",
        file_jws(|wish| {
            let mut jws = wish.request();
            jws.signatures.extend(wish.verdict("alice/1", Typ::Approval).signatures);
            jws
        }),
    );
    judge.refuses(
        "TIMES_DIFFER",
        file_jws(|wish| {
            kit::key("erin/file").jws(
                Typ::Request,
                &wish.payload,
                wish.grant["requested_at"].as_i64().unwrap() - 1,
            )
        }),
    );
    judge.refuses("SIGNATURE_INVALID", |world, client| {
        let (one, other) = (world.wish(json!({})), world.wish(json!({})));
        client.file(&GeneralJws { payload: one.payload.clone(), signatures: other.request().signatures })
    });
    judge.refuses("KEY_UNKNOWN", |world, client| world.wish_by("mallory/file", json!({})).file(client));
    judge.close();
}

#[test]
fn requests_are_filed_once_with_fresh_keys_and_not_without_end() {
    let mut judge = Judge::new();
    let first = judge.world.wish(json!({}));
    first.file(&judge.erin).unwrap();
    judge.refuses("DUPLICATE_REQUEST", |_, client| first.file(client));
    let reused = json!({"cnf": first.grant["cnf"]});
    judge.refuses("KEY_REUSED", file(reused));
    judge.refuses("KEY_REUSED", file(json!({"redeem_key": first.grant["redeem_key"]})));
    for _ in 1..32 {
        judge.world.wish(json!({})).file(&judge.erin).unwrap();
    }
    judge.refuses("TOO_MANY_OPEN", file(json!({})));
    first.withdraw(&judge.erin).unwrap();
    judge.refuses("DUPLICATE_REQUEST", |_, client| first.file(client));
    judge.world.wish(json!({})).file(&judge.erin).unwrap();
    judge.close();
}

#[test]
fn approvals_count_only_from_custodians_who_may_give_them() {
    let mut judge = Judge::new();
    let wish = judge.world.wish(json!({}));
    wish.file(&judge.erin).unwrap();
    let other = judge.world.wish(json!({}));
    other.file(&judge.erin).unwrap();
    let id = wish.id().to_string();
    let approve = |device: &'static str| {
        let wish = wish.clone();
        move |_: &World, client: &Client| wish.approve(client, device)
    };
    judge.refuses("NOT_A_CUSTODIAN", approve("erin/file"));
    judge.refuses("NOT_A_CUSTODIAN", approve("hank/1"));
    judge.refuses("KEY_UNKNOWN", approve("mallory/1"));
    judge.refuses("NOT_A_VERDICT", |_, client| client.submit(&id, &wish.verdict("alice/1", Typ::Kill)));
    judge.refuses("REQUEST_ID_INVALID", |_, client| {
        client.submit("x", &wish.verdict("alice/1", Typ::Approval))
    });
    judge
        .refuses("REQUEST_UNKNOWN", |_, client| client.submit(&id, &other.verdict("alice/1", Typ::Approval)));
    judge.refuses("SIGNATURE_INVALID", |_, client| {
        let signatures = other.verdict("alice/1", Typ::Approval).signatures;
        client.submit(&id, &GeneralJws { payload: wish.payload.clone(), signatures })
    });
    judge.refuses("CLOCK_SKEW", |_, client| {
        client.submit(&id, &kit::key("alice/1").jws(Typ::Approval, &wish.payload, now() - 200))
    });
    judge.refuses("STATION_FORBIDDEN", |_, client| {
        let signature = kit::key("alice/1").state_at(Typ::Approval, &wish.payload, now(), Some("bridge"));
        client.submit(&id, &GeneralJws { payload: wish.payload.clone(), signatures: vec![signature] })
    });
    wish.approve(&judge.erin, "alice/1").unwrap();
    judge.refuses("ALREADY_SIGNED", approve("alice/2"));
    let of_dave = judge.world.wish_by("dave/file", json!({"sub": "dave", "client_id": "dave"}));
    of_dave.file(&judge.world.client("dave/file")).unwrap();
    judge.refuses("SELF_APPROVAL", |_, client| of_dave.approve(client, "dave/1"));
    judge.refuses("SELF_APPROVAL", |_, client| of_dave.approve(client, "dave/2"));
    let write = json!({"profile": "db-write", "aud": "https://write.example.test", "authorization_details":
        [{"type": "database", "actions": ["write"], "locations": ["pg/prod/a"], "identifier": "t_1"}]});
    let write = judge.world.wish(write);
    write.file(&judge.erin).unwrap();
    judge.refuses("NO_SEAT", |_, client| write.approve(client, "gus/1"));
    judge.close();
}

#[test]
fn only_the_requester_withdraws_and_redeems_and_only_in_time() {
    let mut judge = Judge::new();
    let wish = judge.world.wish(json!({}));
    wish.file(&judge.erin).unwrap();
    judge.refuses("NOT_THE_REQUESTER", |_, client| {
        client.withdraw(&wish.statement("dave/file", Typ::Withdrawal))
    });
    judge.refuses("NOT_ISSUED_YET", |_, client| client.redeem(&wish.statement("dave/file", Typ::Redeem), 0));
    judge.refuses("TYP_UNEXPECTED", |_, client| client.withdraw(&wish.statement("erin/file", Typ::Redeem)));
    judge.refuses("NOT_ISSUED_YET", |_, client| wish.redeem(client));
    wish.approve(&judge.erin, "alice/1").unwrap();
    wish.approve(&judge.erin, "bob/1").unwrap();
    wish.redeem(&judge.erin).unwrap();
    judge.refuses("WRONG_STATE", |_, client| wish.withdraw(client));
    judge.refuses("WRONG_STATE", |_, client| wish.approve(client, "carol/1"));
    judge.refuses("WRONG_STATE", |_, client| wish.deny(client, "carol/1"));
    judge.refuses("NOT_THE_REQUESTER", |_, client| {
        client.redeem(&wish.statement("dave/file", Typ::Redeem), 0)
    });
    for _ in 1..32 {
        wish.redeem(&judge.erin).unwrap();
    }
    judge.refuses("REDEEMED_TOO_OFTEN", |_, client| wish.redeem(client));
    judge.refuses("REQUEST_UNKNOWN", |world, client| world.wish(json!({})).withdraw(client));
    judge.close();
}

#[test]
fn strangers_and_those_out_of_term_get_typed_errors() {
    let mut judge = Judge::with(|mut document| {
        for person in document["persons"].as_array_mut().unwrap() {
            if person["id"] == "ivan" {
                person["term"] = json!({"until": now() - 10});
            }
        }
        document
    });
    let stranger = Identity::from_key(&secret("mallory"), "alice", &[]).unwrap();
    let stranger = judge.world.connect(Some(stranger)).unwrap();
    let nobody = judge.world.connect(None).unwrap();
    let (ivan, pager) = (judge.world.client("ivan/file"), judge.world.client("pager/file"));
    let wish = judge.world.wish(json!({}));
    wish.file(&judge.erin).unwrap();
    for client in [&stranger, &nobody] {
        judge.refuses("CLIENT_UNKNOWN", |world, _| world.wish(json!({})).file(client));
        judge.refuses("CLIENT_UNKNOWN", |_, _| wish.approve(client, "alice/1"));
        judge.refuses("CLIENT_UNKNOWN", |_, _| wish.redeem(client));
        judge.refuses("CLIENT_UNKNOWN", |_, _| client.list());
        judge.refuses("CLIENT_UNKNOWN", |_, _| client.entries());
        judge.refuses("CLIENT_UNKNOWN", |_, _| client.daemon());
    }
    judge.refuses("CLIENT_NOT_IN_TERM", |_, _| ivan.list());
    judge.refuses("NOT_AN_AUDITOR", |_, _| pager.entries());
    judge.refuses("NOT_AN_AUDITOR", |_, _| pager.checkpoint());
    judge.refuses("REQUEST_UNKNOWN", |_, _| pager.get(&wish.id().to_string()));
    assert_eq!(pager.list().unwrap(), [], "others' requests are not shown");
    judge.close();
}

#[test]
fn who_calls_too_often_waits_and_nobody_else_does() {
    let mut judge = Judge::new();
    let dave = judge.world.client("dave/file");
    let limited = (0..5_000).find_map(|_| dave.daemon().err()).expect("a client may call without end");
    assert_eq!((limited.reason.as_str(), limited.code), ("RATE_LIMITED", tonic::Code::ResourceExhausted));
    judge.refuses("RATE_LIMITED", |_, _| {
        let mut answers = (0..5_000).map(|_| dave.list());
        answers.find(Result::is_err).expect("a client may call without end")
    });
    judge.world.wish(json!({})).file(&judge.erin).expect("others are not affected");
    testkit::wait_for("the client to be let in again", crate::world::DEADLINE, || dave.daemon().ok());
    judge.close();
}
