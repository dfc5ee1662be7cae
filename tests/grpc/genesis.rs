//! A new chain in place of this one, over the wire and to its end: the daemon counts the days by itself.

use std::time::Instant;

use breakglass::client::ClientError;
use breakglass::domain::genesis::DAY;
use breakglass::domain::replay::Replay;
use breakglass::grpc::v1;
use breakglass::jose::{Digest, Typ, b64, json};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::DEADLINE;
use crate::world::{CUSTODIANS, World, jws, now, with_world};

/// Version 1 of a chain in place of the world's, by the same custodians: its digest, and what they signed.
fn anew(world: &World) -> (Digest, Vec<u8>) {
    let mut document: Value = serde_json::to_value(world.charter.document()).unwrap();
    document["nonce"] = json!(b64::encode(&[9; 16]));
    document["replaces"] = json!({"genesis": world.charter.digest(), "version": 1});
    document["expires_at"] = json!(now() + 30 * DAY);
    let payload = json::canonical(&document).unwrap();
    let signers: Vec<_> = CUSTODIANS.iter().map(|name| (&world.keys[*name], Typ::Charter, now())).collect();
    (Digest::of(&payload), jws(payload, &signers))
}

fn announcement(world: &World, who: &str) -> v1::AnnounceGenesisRequest {
    let (genesis, charter) = anew(world);
    let about = json!({"iss": "https://issuer.example", "charter": world.charter.digest(),
        "genesis": genesis, "nonce": b64::encode(&[1; 16])});
    let payload = json::canonical(&about).unwrap();
    v1::AnnounceGenesisRequest { jws: jws(payload, &[(&world.keys[who], Typ::Announcement, now())]), charter }
}

fn cancellation(world: &World, announcement: &str, who: &[&str]) -> v1::CancelGenesisRequest {
    let about = json!({"iss": "https://issuer.example", "charter": world.charter.digest(),
        "announcement": announcement, "nonce": b64::encode(&[2; 16])});
    let payload = json::canonical(&about).unwrap();
    let signers: Vec<_> = who.iter().map(|name| (&world.keys[*name], Typ::Cancellation, now())).collect();
    v1::CancelGenesisRequest { jws: jws(payload, &signers) }
}

async fn state(world: &World) -> v1::GetGenesisResponse {
    let mut dave = world.connect("dave").await.genesis();
    dave.get_genesis(v1::GetGenesisRequest {}).await.unwrap().into_inner()
}

/// Waits until the daemon says so by itself.
async fn until(world: &World, what: impl Fn(&v1::GetGenesisResponse) -> bool) -> v1::GetGenesisResponse {
    let since = Instant::now();
    loop {
        let found = state(world).await;
        if what(&found) {
            return found;
        }
        assert!(since.elapsed() < DEADLINE, "{found:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn refused(status: tonic::Status) -> (Code, String) {
    let error = ClientError::from(status);
    (error.code, error.reason)
}

#[test]
fn a_chain_ends_after_seven_days_that_the_daemon_counts_by_itself() {
    with_world(
        "genesis::a_chain_ends_after_seven_days_that_the_daemon_counts_by_itself",
        |world| async move {
            let mut dave = world.connect("dave").await.genesis();
            let forged = dave.announce_genesis(announcement(&world, "eve.tls")).await.unwrap_err();
            assert_eq!(refused(forged), (Code::PermissionDenied, "NOT_A_CUSTODIAN".into()));
            let announced = dave.announce_genesis(announcement(&world, "bob")).await.unwrap().into_inner();
            let announced = announced.announcement.unwrap();
            assert_eq!((announced.by.as_str(), announced.days), ("bob", 0));
            for day in 1..7 {
                world.clock.pass(DAY);
                let found =
                    until(&world, |found| found.announcements.iter().any(|one| one.days == day)).await;
                assert_eq!(found.replaced_by, "");
            }
            world.clock.pass(DAY);
            let ended = until(&world, |found| !found.replaced_by.is_empty()).await;
            assert_eq!(ended.replaced_by, announced.genesis);
            assert!(ended.announcements.is_empty());

            let (_, bytes) = world.request("eve", &world.grant("eve", "eve", &crate::support::key()));
            let mut eve = world.connect("eve").await.access();
            let late = eve.file_request(v1::FileRequestRequest { jws: bytes }).await.unwrap_err();
            assert_eq!(refused(late), (Code::FailedPrecondition, "CHAIN_ENDED".into()));
            // What is there can still be read, and an auditor follows it to its end.
            let mut replay = Replay::new(world.charter.digest());
            let entries = world.entries().await;
            for entry in &entries {
                replay.next(&json::canonical(entry).unwrap()).unwrap();
            }
            assert_eq!(replay.state().replacement().ended().unwrap().genesis.to_string(), announced.genesis);
            let alarms = entries.iter().filter(|entry| entry["event"]["type"] == "genesis_alarmed").count();
            assert_eq!(alarms, 6);
        },
    );
}

#[test]
fn a_quorum_cancels_an_announcement_over_the_wire() {
    with_world("genesis::a_quorum_cancels_an_announcement_over_the_wire", |world| async move {
        let mut dave = world.connect("dave").await.genesis();
        let announced = dave.announce_genesis(announcement(&world, "bob")).await.unwrap().into_inner();
        let id = announced.announcement.unwrap().digest;
        let alone = dave.cancel_genesis(cancellation(&world, &id, &["alice"])).await.unwrap_err();
        assert_eq!(refused(alone), (Code::FailedPrecondition, "NO_QUORUM".into()));
        let other = Digest::of(b"another").to_string();
        let other = dave.cancel_genesis(cancellation(&world, &other, &["alice", "carol"])).await.unwrap_err();
        assert_eq!(refused(other), (Code::NotFound, "GENESIS_UNKNOWN".into()));
        dave.cancel_genesis(cancellation(&world, &id, &["alice", "carol"])).await.unwrap();
        assert!(state(&world).await.announcements.is_empty());
        world.file("eve").await;
    });
}
