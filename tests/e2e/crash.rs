//! Power cuts: the daemon is killed at random points under load, again and again, on one log.
//!
//! The oracle is what clients were told: whatever was acknowledged has to be there after the restart, and no token may
//! have come out whose authorization is not in the log before it. More rounds with `BREAKGLASS_CRASH_ROUNDS`, or for so long
//! as `BREAKGLASS_CRASH_MINUTES` says (`scripts/soak`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use breakglass::{
    client::ClientError,
    domain::{
        claims::Claims,
        event::{Entry, Event},
        grant::Grant,
        id::RequestId,
        replay::Replay,
        statement::request_of,
    },
    grpc::v1::RequestState,
    jose::{CompactJwt, Digest, Typ, json},
};
use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _, Row as _, sqlite::SqliteConnectOptions};
use testkit::wait_for;

use crate::{
    client::{Client, wait},
    daemon::Daemon,
    kit,
    wish::Wish,
    world::{DEADLINE, World},
};

/// What clients were told.
#[derive(Default)]
struct Told {
    /// What was begun, whether an answer came or not.
    begun: Vec<Wish>,
    filed: Vec<Wish>,
    approved: Vec<(RequestId, Digest)>,
    withdrawn: Vec<RequestId>,
    redeemed: Vec<(RequestId, String)>,
}

/// What the log says.
#[derive(Default)]
struct Ledger {
    filed: BTreeSet<RequestId>,
    approved: BTreeSet<(RequestId, Digest)>,
    withdrawn: BTreeSet<RequestId>,
    /// Index, `iat`, and the digest of the claims.
    authorized: BTreeMap<RequestId, (usize, i64, Digest)>,
    taken_over: usize,
    /// Index and the digest of the token.
    issued: BTreeMap<RequestId, (usize, Digest)>,
    /// Index of the first release.
    released: BTreeMap<RequestId, usize>,
}

impl Ledger {
    fn of(entries: &[Vec<u8>]) -> Self {
        let mut ledger = Self::default();
        for (index, bytes) in entries.iter().enumerate() {
            ledger.enter(index, Entry::parse(bytes).unwrap().event);
        }
        ledger
    }

    fn enter(&mut self, index: usize, event: Event) {
        match event {
            Event::RequestFiled { request } => assert!(self.filed.insert(Grant::id_of(&request.payload))),
            Event::ApprovalRecorded { request_id, signature } => {
                self.approved.insert((request_id, signature.header().kid));
            }
            Event::RequestWithdrawn { withdrawal } => {
                self.withdrawn.insert(request_of(&withdrawal).unwrap());
            }
            Event::IssuanceAuthorized { request_id, iat, claims, .. } => {
                let twice = self.authorized.insert(request_id, (index, iat, claims));
                assert!(twice.is_none(), "{request_id} was authorized twice");
            }
            Event::IssuanceTakenOver { .. } => self.taken_over += 1,
            Event::TokenIssued { request_id, jwt, .. } => {
                assert!(
                    self.issued.insert(request_id, (index, jwt)).is_none(),
                    "{request_id} was issued twice"
                );
            }
            Event::TokenReleased { redemption } => {
                self.released.entry(request_of(&redemption).unwrap()).or_insert(index);
            }
            _ => {}
        }
    }

    /// Holds what clients were told against the log.
    fn bears_out(&self, told: &Told) {
        for wish in &told.filed {
            assert!(self.filed.contains(&wish.id()), "a filed request is lost");
        }
        for approval in &told.approved {
            assert!(self.approved.contains(approval), "an approval is lost");
        }
        for id in &told.withdrawn {
            assert!(self.withdrawn.contains(id), "a withdrawal is lost");
        }
        for (id, jwt) in &told.redeemed {
            self.explains(id, jwt);
        }
    }

    /// A token that came out was authorized first, then issued, then released; and it is the one that was authorized.
    fn explains(&self, id: &RequestId, jwt: &str) {
        let (authorized, iat, digest) = self.authorized[id];
        let (issued, token) = self.issued[id];
        assert!(authorized < issued && issued < self.released[id]);
        assert_eq!(token, Digest::of(jwt.as_bytes()));
        let parsed = CompactJwt::parse(jwt, 8000).unwrap();
        assert_eq!(Digest::of(parsed.payload()), digest);
        let claims: Claims = json::parse(parsed.payload(), 8000).unwrap();
        assert_eq!((claims.jti, claims.iat), (*id, iat));
        assert_eq!(usize::try_from(claims.breakglass.log.index), Ok(authorized));
    }
}

/// Files, approves, and redeems or withdraws, until the daemon is gone.
fn work(world: &World, client: &Client, turn: usize, told: &Mutex<Told>) -> ClientError {
    for round in turn.. {
        let by = ["erin", "dave"][round % 2];
        let wish = world.wish_by(&format!("{by}/file"), json!({"sub": by, "client_id": by, "ttl": 300}));
        if let Err(error) = one(&wish, client, round, told) {
            return error;
        }
    }
    unreachable!("a range without end")
}

fn one(wish: &Wish, client: &Client, round: usize, told: &Mutex<Told>) -> Result<(), ClientError> {
    told.lock().unwrap().begun.push(wish.clone());
    wish.file(client)?;
    told.lock().unwrap().filed.push(wish.clone());
    if round % 5 == 4 {
        wish.withdraw(client)?;
        told.lock().unwrap().withdrawn.push(wish.id());
        return Ok(());
    }
    for device in ["alice/1", "bob/1"] {
        wish.approve(client, device)?;
        told.lock().unwrap().approved.push((wish.id(), kit::key(device).kid()));
    }
    let jwt = wish.redeem(client)?;
    told.lock().unwrap().redeemed.push((wish.id(), jwt));
    Ok(())
}

/// Takes back what the power cut before left pending: a requester may have only so many open.
fn tidy_up(client: &Client, told: &Mutex<Told>) {
    let begun = std::mem::take(&mut told.lock().unwrap().begun);
    for wish in begun {
        let pending = match client.get(&wish.id().to_string()) {
            Ok(request) => request.state() == RequestState::Pending,
            Err(error) => {
                assert_eq!(error.reason, "REQUEST_UNKNOWN", "it never arrived");
                false
            }
        };
        if pending {
            wish.withdraw(client).unwrap();
            told.lock().unwrap().withdrawn.push(wish.id());
        }
    }
}

/// The number of entries as another process sees it, without any lock of the daemon's.
struct Watcher(sqlx::SqliteConnection);

impl Watcher {
    fn new(world: &World) -> Self {
        let options = SqliteConnectOptions::new().filename(world.database()).read_only(true);
        Self(wait(options.connect()).unwrap())
    }

    fn size(&mut self) -> i64 {
        let row = sqlx::query("SELECT count(*) FROM entry").fetch_one(&mut self.0);
        wait(row).unwrap().get(0)
    }
}

fn random(below: u8) -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).unwrap();
    byte[0] % below
}

/// One life of the daemon: load, and a power cut once the log has grown by so much, or after a while.
fn life(world: &World, round: u64, told: &Mutex<Told>) {
    let daemon = world.start();
    tidy_up(&world.client("erin/file"), told);
    let mut watcher = Watcher::new(world);
    let start = watcher.size();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|turn| {
                let client = world.client("pager/file");
                scope.spawn(move || work(world, &client, turn, told))
            })
            .collect();
        if round.is_multiple_of(2) {
            let grown = start + 1 + i64::from(random(40));
            wait_for("the log to grow", DEADLINE, || (watcher.size() >= grown).then_some(()));
        } else {
            wait_for("the load to begin", DEADLINE, || (watcher.size() > start).then_some(()));
            let (begun, life) = (Instant::now(), Duration::from_micros(u64::from(random(200)) * 500));
            wait_for("the time to be over", DEADLINE, || (begun.elapsed() >= life).then_some(()));
        }
        daemon.kill();
        for worker in workers {
            let error = worker.join().unwrap();
            assert!(error.is_uncertain() || error.reason.starts_with("SERVER_"), "{error:?}");
        }
    });
    wait(watcher.0.close()).unwrap();
}

#[test]
fn promise_4_no_record_no_token_across_power_cuts() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let until =
        number("BREAKGLASS_CRASH_MINUTES").map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let rounds = number("BREAKGLASS_CRASH_ROUNDS").unwrap_or(15);
    let world = World::new();
    let told = Mutex::new(Told::default());
    let mut replay = Replay::new(world.charter.digest());
    let mut before: Vec<Vec<u8>> = Vec::new();
    for round in 0.. {
        if until.map_or(round >= rounds, |until| Instant::now() >= until) {
            println!("{round} power cuts, {} entries", before.len());
            break;
        }
        life(&world, round, &told);
        let entries = world.entries();
        assert!(entries.starts_with(&before), "what was durable stays, byte for byte");
        for (index, bytes) in entries.iter().enumerate().skip(before.len()) {
            replay.next(bytes).unwrap_or_else(|why| panic!("entry {index}: {why}"));
        }
        Ledger::of(&entries).bears_out(&told.lock().unwrap());
        before = entries;
    }
    everything_is_finished(&world, &told.into_inner().unwrap(), &before);
}

/// After the last restart: what was authorized is issued as it was authorized, and every requester gets his token.
fn everything_is_finished(world: &World, told: &Told, before: &[Vec<u8>]) {
    let daemon = world.start();
    let client = world.client("pager/file");
    let authorized = Ledger::of(before).authorized;
    let ids: Vec<&Wish> = told.filed.iter().filter(|wish| authorized.contains_key(&wish.id())).collect();
    assert!(!ids.is_empty(), "the load never completed a quorum");
    let mut tokens = Vec::new();
    for wish in ids {
        let jwt = wish.redeem(&client).unwrap();
        let claims = world.verify(&jwt).unwrap().claims;
        assert_eq!(claims.iat, authorized[&wish.id()].1, "signed again with the time that was logged");
        tokens.push((wish.id(), jwt));
    }
    assert!(daemon.stop().success());
    let entries = world.entries();
    let ledger = Ledger::of(&entries);
    println!(
        "{} entries, {} requests, {} authorized, {} issued, {} taken over after a power cut",
        entries.len(),
        ledger.filed.len(),
        ledger.authorized.len(),
        ledger.issued.len(),
        ledger.taken_over
    );
    assert_eq!(ledger.authorized.len(), ledger.issued.len(), "nothing is left authorized");
    ledger.bears_out(told);
    for (id, jwt) in &tokens {
        ledger.explains(id, jwt);
    }
    assert!(world.replay(&entries).unwrap().is_complete());
}

/// A power cut exactly between the authorization and the signature, which a missing HSM keeps apart.
#[test]
fn a_power_cut_before_the_signature_is_made_good_with_the_same_claims() {
    signed_after_the_next_start(Daemon::kill);
}

#[test]
fn so_is_a_stop_by_an_operator_who_does_not_wait_for_the_hsm() {
    signed_after_the_next_start(|daemon| assert!(daemon.stop().success()));
}

fn signed_after_the_next_start(end: impl FnOnce(Daemon)) {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let wish = world.wish(json!({"ttl": 300}));
    wish.file(&client).unwrap();
    wish.approve(&client, "alice/1").unwrap();
    let token = world.hsm.take_away("issuing");
    assert_eq!(wish.approve(&client, "bob/1").unwrap().state(), RequestState::Authorized);
    end(daemon);
    let before = world.entries();
    let (index, iat, _) = Ledger::of(&before).authorized[&wish.id()];
    assert_eq!(index, before.len() - 1, "the authorization is the last that happened");
    token.bring_back();

    let later = crate::world::now() + 1;
    wait_for("another second to begin", DEADLINE, || (crate::world::now() > later).then_some(()));
    let _daemon = world.start();
    let client = world.client("erin/file");
    let jwt = wish.redeem(&client).unwrap();
    let claims = world.verify(&jwt).unwrap().claims;
    assert_eq!((claims.jti, claims.iat), (wish.id(), iat));
    let entries = client.entries().unwrap();
    let ledger = Ledger::of(&entries);
    assert_eq!(ledger.taken_over, 1);
    ledger.explains(&wish.id(), &jwt);
    world.replay(&entries).unwrap();
}

/// The same, but nobody comes back before the token would have expired.
#[test]
fn what_is_authorized_and_never_signed_fails_when_it_would_have_expired() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let wish = world.wish(json!({"ttl": 1}));
    wish.file(&client).unwrap();
    wish.approve(&client, "alice/1").unwrap();
    let _token = world.hsm.take_away("issuing");
    wish.approve(&client, "bob/1").unwrap();
    let failed = wait_for("the request to fail", DEADLINE, || {
        let request = client.get(&wish.id().to_string()).unwrap();
        (request.state() == RequestState::Failed).then_some(request)
    });
    assert_eq!(failed.failure.unwrap().reason, "ISSUANCE_EXPIRED");
    let redeem = wish.statement("erin/file", Typ::Redeem);
    assert_eq!(client.redeem(&redeem, 0).unwrap_err().reason, "WRONG_STATE");
    assert!(daemon.stop().success());
    assert!(world.replay(&world.entries()).unwrap().is_complete());
}
