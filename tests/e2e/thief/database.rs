//! The thief edits the database.
//!
//! What is not the log's own hash is found at once. Where he makes the derived hashes again (they are no secret), the
//! statements themselves convict him; where he only leaves out, it takes a checkpoint that somebody kept elsewhere.

use breakglass::{
    domain::{
        event::{Actor, Entry, Event},
        id::Nonce,
    },
    grpc::v1::RequestState,
    jose::{Digest, Signature, Typ},
    store::{SqliteStore, StoreOptions},
    tlog::{Frontier, leaf_hash},
};
use serde_json::{Value, json};
use testkit::wait_for;

use crate::{
    client::wait,
    kit,
    wish::Wish,
    world::{DEADLINE, World, canonical},
};

/// Hashes and all that was signed over them: the daemon makes new ones.
pub const FORGET: &str = "DELETE FROM node; DELETE FROM checkpoint; DELETE FROM snapshot;";
pub const UNLOCK: &str = "DROP TRIGGER entry_is_final; DROP TRIGGER entry_is_kept;";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// SQL that appends an event as if the daemon had decided it.
pub fn insert(entries: &[Vec<u8>], offset: usize, event: Event) -> String {
    let last = Entry::parse(entries.last().unwrap()).unwrap();
    let instance = "d1.thief".parse().unwrap();
    let entry = Entry {
        v: 1,
        at: last.at,
        actor: Actor::Daemon { instance },
        salt: Nonce::from_random([7; 16]),
        event,
    };
    let index = entries.len() + offset;
    format!("INSERT INTO entry (idx, bytes) VALUES ({index}, x'{}');\n", hex(&entry.to_bytes().unwrap()))
}

/// A signature that claims to be bob's; the thief's key made it.
fn forged(wish: &Wish) -> Signature {
    let theirs = wish.verdict("bob/1", Typ::Approval).signatures.remove(0);
    let bytes = kit::key("mallory").sign(&Signature::signing_input(theirs.protected(), &wish.payload));
    Signature::new(theirs.protected().to_owned(), bytes).unwrap()
}

/// A world whose daemon has stopped, with one issued request and one that alice has approved.
fn scene() -> (World, Wish, Vec<Vec<u8>>) {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    world.wish(json!({"ttl": 900})).grant_all(&client).unwrap();
    let pending = world.wish(json!({"ttl": 900}));
    pending.file(&client).unwrap();
    pending.approve(&client, "alice/1").unwrap();
    assert!(daemon.stop().success());
    let entries = world.entries();
    (world, pending, entries)
}

/// The daemon does not start on this log, and says why.
#[track_caller]
pub fn refuses_to_start(world: &World, expected: &str) {
    match world.try_start(&[]) {
        Ok(_) => panic!("the daemon starts, where it should say {expected:?}"),
        Err(log) => assert!(log.contains(expected), "{log}"),
    }
}

#[test]
fn promise_1_an_approval_written_into_the_database_is_found_by_its_signature() {
    let (world, wish, mut entries) = scene();
    let approval = Event::ApprovalRecorded { request_id: wish.id(), signature: forged(&wish) };
    let script = insert(&entries, 0, approval);
    let index = entries.len();
    world.sql(&script);
    refuses_to_start(&world, "hashes");
    world.sql(FORGET);
    refuses_to_start(
        &world,
        &format!("request {} in the log is not what its signatures say (SIGNATURE_INVALID)", wish.id()),
    );
    entries = world.entries();
    let (wrong, why) = world.replay(&entries).unwrap_err();
    assert_eq!((wrong, why.as_str()), (index, "the rules refuse it (SIGNATURE_INVALID)"));
}

/// Hank has a device, too, but is no custodian: his approval is a genuine signature that counts for nothing.
#[test]
fn promise_1_an_authorization_written_into_the_database_is_not_signed() {
    let (world, wish, entries) = scene();
    let hanks = wish.verdict("hank/1", Typ::Approval).signatures;
    // A clever thief dates it as the entry that he writes; any other date does not follow.
    let at = Entry::parse(entries.last().unwrap()).unwrap().at.seconds();
    let approvals = [wish.verdict("alice/1", Typ::Approval).signatures, hanks.clone()].concat();
    let claims = world.claims(&wish, approvals, at);
    let authorization = Event::IssuanceAuthorized {
        request_id: wish.id(),
        approvals: vec![kit::key("alice/1").kid(), kit::key("hank/1").kid()],
        iat: claims["iat"].as_i64().unwrap(),
        exp: claims["exp"].as_i64().unwrap(),
        kid: world.issuing_key().thumbprint(),
        claims: Digest::of(&canonical(&claims)),
        instance: "d1.thief".parse().unwrap(),
        status: None,
    };
    let approval = Event::ApprovalRecorded { request_id: wish.id(), signature: hanks[0].clone() };
    world.sql(&(insert(&entries, 0, approval) + &insert(&entries, 1, authorization)));
    world.sql(FORGET);
    refuses_to_start(
        &world,
        &format!("request {} in the log is not what its signatures say (STATEMENTS_INVALID)", wish.id()),
    );
    let (wrong, why) = world.replay(&world.entries()).unwrap_err();
    assert_eq!((wrong, why.as_str()), (entries.len(), "the rules refuse it (NOT_A_CUSTODIAN)"));
}

#[test]
fn promise_4_an_issuance_without_its_authorization_does_not_follow() {
    let (world, wish, entries) = scene();
    let issued = Event::TokenIssued { request_id: wish.id(), jwt: Digest::of(b"x"), jwe: "e30.e30".into() };
    world.sql(&insert(&entries, 0, issued));
    world.sql(FORGET);
    refuses_to_start(&world, &format!("entry {} does not follow", entries.len()));
    let (wrong, why) = world.replay(&world.entries()).unwrap_err();
    assert_eq!((wrong, why.as_str()), (entries.len(), "the rules refuse it (WRONG_STATE)"));
}

#[test]
fn promise_4_an_entry_that_was_changed_is_found_by_its_hash_and_by_its_signatures() {
    let (world, _, entries) = scene();
    // The first approval of the request that was issued: another header, so another time of signing.
    let index = entries
        .iter()
        .position(|bytes| matches!(Entry::parse(bytes).unwrap().event, Event::ApprovalRecorded { .. }));
    let index = index.unwrap();
    let change = format!(
        "UPDATE entry SET bytes = CAST(replace(CAST(bytes AS TEXT), 'eyJ', 'eyK') AS BLOB) WHERE idx = {index};"
    );
    world.sql(&format!("{UNLOCK}{change}"));
    refuses_to_start(&world, "do not have the hash that is stored for them");
    world.sql(FORGET);
    refuses_to_start(&world, &format!("entry {index}"));
    let (wrong, _) = world.replay(&world.entries()).unwrap_err();
    assert_eq!(wrong, index);
}

#[test]
fn a_tail_that_was_cut_off_is_found_by_what_was_signed_over_it() {
    let (world, _, entries) = scene();
    // The charter, the start and the first request stay: of the token that was issued nothing is left.
    let kept = 3;
    world.sql(&format!("{UNLOCK}DELETE FROM entry WHERE idx >= {kept};"));
    refuses_to_start(&world, "hashes");
    world.sql("DELETE FROM node; DELETE FROM snapshot;");
    refuses_to_start(&world, "entries were lost or rolled back");
    assert!(world.replay(&entries[..kept]).is_ok(), "a shorter log is a log: the rules cannot tell");
}

/// SECURITY.md says it: whoever has the database and leaves nothing behind can make the log forget. What convicts him
/// is a checkpoint that is kept elsewhere: no consistency proof leads from it to the log that he has now.
#[test]
fn a_rollback_without_a_trace_is_convicted_by_a_checkpoint_kept_elsewhere() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    world.wish(json!({})).grant_all(&client).unwrap();
    let denied = world.wish(json!({}));
    denied.file(&client).unwrap();
    denied.deny(&client, "alice/1").unwrap();
    // Anything that makes the daemon sign a newer checkpoint.
    world.wish(json!({})).grant_all(&client).unwrap();
    let kept_elsewhere = client.checkpoint().unwrap();
    let entries = client.entries().unwrap();
    assert!(daemon.stop().success());
    let cut = entries
        .iter()
        .position(|bytes| matches!(Entry::parse(bytes).unwrap().event, Event::DenialRecorded { .. }));
    world.sql(&format!("{UNLOCK}DELETE FROM entry WHERE idx >= {};{FORGET}", cut.unwrap()));
    let daemon = world.start();
    let client = world.client("erin/file");
    assert_eq!(
        client.get(&denied.id().to_string()).unwrap().state(),
        RequestState::Pending,
        "the denial is forgotten"
    );
    denied.approve(&client, "bob/1").unwrap();
    denied.approve(&client, "carol/1").unwrap();
    denied.redeem(&client).unwrap();
    world.wish(json!({})).grant_all(&client).unwrap();
    assert!(daemon.stop().success());

    let size: u64 = kept_elsewhere.lines().nth(1).unwrap().parse().unwrap();
    let root = wait(async {
        let store = SqliteStore::open(&world.database(), StoreOptions::default()).await.unwrap();
        let root = store.root_at(size).await.unwrap();
        store.close().await;
        root
    });
    assert_ne!(kept_elsewhere.lines().nth(2).unwrap(), root.to_string(), "the log is another one");
}

/// Writes a snapshot of these entries, and the entry that names it.
pub fn forge_snapshot(world: &World, entries: &[Vec<u8>], state: &Value) {
    let (bytes, size) = (canonical(state), entries.len());
    let mut tree = Frontier::empty();
    for entry in entries {
        tree.append(leaf_hash(entry), |_, _| {});
    }
    let (root, digest) = (Digest::from_bytes(*tree.root().as_bytes()), Digest::of(&bytes));
    let taken = Event::SnapshotTaken { size: size as u64, root, digest };
    let row =
        [root.as_bytes().as_slice(), digest.as_bytes(), &bytes].map(|bytes| format!("x'{}'", hex(bytes)));
    world.sql(&insert(entries, 0, taken));
    world.sql(&format!(
        "{FORGET}INSERT INTO snapshot (size, root, digest, bytes) VALUES ({size}, {});",
        row.join(", ")
    ));
}

/// A snapshot is a cache that the log names by its digest. A thief can write both; the fold of the log, done again in
/// the background, says that they are not true, and nothing is decided any more.
#[test]
fn a_snapshot_that_somebody_wrote_latches_the_daemon() {
    let world = World::new();
    let daemon = world.start();
    let client = world.client("erin/file");
    let denied = world.wish(json!({}));
    denied.file(&client).unwrap();
    denied.deny(&client, "alice/1").unwrap();
    assert!(daemon.stop().success());
    let entries = world.entries();
    let honest = world.replay(&entries).unwrap().state().to_snapshot().unwrap();
    let mut state: Value = serde_json::from_slice(&honest).unwrap();
    assert_eq!(
        state["closed"].as_array_mut().map(std::mem::take).unwrap().len(),
        1,
        "the denial is forgotten"
    );
    forge_snapshot(&world, &entries, &state);

    let _daemon = world.start();
    let client = world.client("erin/file");
    let latched = wait_for("the daemon to latch", DEADLINE, || {
        Some(client.daemon().unwrap().latched).filter(|why| !why.is_empty())
    });
    assert!(latched.contains("differs from the fold of the log"), "{latched}");
    assert_eq!(denied.file(&client).unwrap_err().reason, "LATCHED", "it is not filed again");
}
