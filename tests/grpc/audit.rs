//! The log as an auditor reads it over gRPC: everything is checked with keys and hashes, nothing is believed.

use breakglass::client::{Channel, ClientError};
use breakglass::grpc::v1;
use breakglass::jose::Digest;
use breakglass::tlog::{self, Hash, SignedCheckpoint, VerifierKey};
use tonic::Code;

use crate::support::within;
use crate::world::{World, with_world};

async fn checkpoint(world: &World, channel: &Channel) -> (u64, Hash) {
    let answer = channel.audit().get_checkpoint(v1::GetCheckpointRequest {}).await.unwrap().into_inner();
    let note: SignedCheckpoint = std::str::from_utf8(&answer.checkpoint).unwrap().parse().unwrap();
    let listed = &world.charter.document().log_keys[0];
    let key = VerifierKey::new(listed.origin.clone(), *listed.key.as_bytes());
    let checkpoint = note.verify(&key).unwrap();
    (checkpoint.size, checkpoint.root)
}

async fn entries(channel: &Channel, start: u64, end: u64) -> Result<Vec<Vec<u8>>, ClientError> {
    let mut stream =
        channel.audit().stream_entries(v1::StreamEntriesRequest { start, end }).await?.into_inner();
    let mut entries = Vec::new();
    while let Some(message) = within(stream.message()).await? {
        assert_eq!(message.start, start + entries.len() as u64);
        assert!(!message.entries.is_empty());
        entries.extend(message.entries);
    }
    Ok(entries)
}

fn hashes(list: &[Vec<u8>]) -> Vec<Hash> {
    list.iter().map(|hash| Hash::from_bytes(hash.as_slice().try_into().unwrap())).collect()
}

#[test]
fn entries_and_proofs_lead_to_the_signed_root() {
    with_world("audit::entries_and_proofs_lead_to_the_signed_root", |world| async move {
        let channel = world.connect("dave").await;
        world.file("dave").await;
        let (old_size, old_root) = checkpoint(&world, &channel).await;
        for _ in 0..300 {
            world
                .running
                .engine
                .submit(
                    breakglass::domain::event::Actor::Peer { key: None },
                    breakglass::domain::Command::Refused {
                        minute: breakglass::domain::time::Timestamp::from_seconds(60),
                        peer: None,
                        reason: "x".repeat(8_000),
                        count: 1,
                    },
                )
                .await
                .unwrap();
        }
        let (size, root) = checkpoint(&world, &channel).await;
        assert_eq!(size, world.store.size(), "the checkpoint covers all that was answered before");
        let all = entries(&channel, 0, 0).await.unwrap();
        let mut tree = tlog::Frontier::default();
        for entry in &all {
            tree.append(tlog::leaf_hash(entry), |_, _| {});
        }
        assert_eq!((tree.size(), tree.root()), (size, root));
        assert_eq!(entries(&channel, 3, 5).await.unwrap(), all[3..5]);
        assert!(entries(&channel, 5, 5).await.unwrap().is_empty());

        for index in [0, 1, size - 1] {
            let message = v1::GetInclusionProofRequest { index, size };
            let proof = channel.audit().get_inclusion_proof(message).await.unwrap().into_inner();
            let leaf = tlog::leaf_hash(&all[usize::try_from(index).unwrap()]);
            tlog::verify_inclusion(&leaf, index, size, &hashes(&proof.hashes), &root).unwrap();
        }
        let message = v1::GetConsistencyProofRequest { from: old_size, to: 0 };
        let proof = channel.audit().get_consistency_proof(message).await.unwrap().into_inner();
        assert_eq!(proof.to, size);
        tlog::verify_consistency(old_size, &old_root, size, &root, &hashes(&proof.hashes)).unwrap();
    });
}

#[test]
fn what_the_log_does_not_have_is_said() {
    with_world("audit::what_the_log_does_not_have_is_said", |world| async move {
        let channel = world.connect("alice").await;
        let size = world.store.size();
        let mut audit = channel.audit();
        let inclusion = |index, size| v1::GetInclusionProofRequest { index, size };
        let consistency = |from, to| v1::GetConsistencyProofRequest { from, to };
        let answers = [
            entries(&channel, 0, size + 1).await.unwrap_err(),
            entries(&channel, 2, 1).await.unwrap_err(),
            entries(&channel, u64::MAX, 0).await.unwrap_err(),
            audit.get_inclusion_proof(inclusion(size, size)).await.unwrap_err().into(),
            audit.get_inclusion_proof(inclusion(0, u64::MAX)).await.unwrap_err().into(),
            audit.get_consistency_proof(consistency(0, size)).await.unwrap_err().into(),
            audit.get_consistency_proof(consistency(size, size - 1)).await.unwrap_err().into(),
        ];
        for error in answers {
            assert_eq!(
                (error.code, error.reason.as_str()),
                (Code::InvalidArgument, "LOG_INDEX_OUT_OF_RANGE")
            );
        }
    });
}

#[test]
fn the_charter_is_served_as_it_was_signed() {
    with_world("audit::the_charter_is_served_as_it_was_signed", |world| async move {
        let mut charter = world.connect("eve").await.charter();
        for version in [0, 1] {
            let answer = charter.get_charter(v1::GetCharterRequest { version }).await.unwrap().into_inner();
            assert_eq!((answer.version, answer.jws), (1, world.charter.statement().to_json()));
        }
        let unknown =
            ClientError::from(charter.get_charter(v1::GetCharterRequest { version: 2 }).await.unwrap_err());
        assert_eq!((unknown.code, unknown.reason.as_str()), (Code::NotFound, "CHARTER_VERSION_UNKNOWN"));
        let daemon = charter.get_daemon(v1::GetDaemonRequest {}).await.unwrap().into_inner();
        assert_eq!(daemon.caller, "eve");
        assert_eq!(daemon.charter_digest, Digest::of(&world.charter.statement().payload).to_string());
        assert_eq!((daemon.log_origin.as_str(), daemon.log_size), (crate::world::ORIGIN, world.store.size()));
        assert!(daemon.development && daemon.latched.is_empty());
    });
}
