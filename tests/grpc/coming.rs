//! A custodian whom only a proposed charter names: he can read and sign that one over the network, and nothing else.

use breakglass::client::ClientError;
use breakglass::grpc::v1;
use breakglass::jose::{Digest, Typ, b64, json};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::key;
use crate::world::{World, jws, now, public, with_world};

fn reason<T>(answer: Result<T, Status>) -> (Code, String) {
    let error = ClientError::from(answer.err().expect("this should have been refused"));
    (error.code, error.reason)
}

/// The next version, with one more custodian or without.
fn next(world: &World, nonce: u8, more: Option<Value>) -> Vec<u8> {
    let mut document = serde_json::to_value(world.charter.document()).unwrap();
    document["version"] = json!(2);
    document["previous"] = json!(world.charter.digest());
    document["nonce"] = json!(b64::encode(&[nonce; 16]));
    document["issued_at"] = json!(now());
    document["persons"].as_array_mut().unwrap().extend(more);
    json::canonical(&document).unwrap()
}

fn signed(world: &World, payload: &[u8], by: &str) -> Vec<u8> {
    jws(payload.to_vec(), &[(&world.keys[by], Typ::Charter, now())])
}

async fn propose(world: &World, payload: &[u8], by: &str) {
    let message = v1::ProposeCharterRequest { jws: signed(world, payload, by), evidence: Vec::new() };
    let answer = world.connect(by).await.charter().propose_charter(message).await.unwrap().into_inner();
    assert!(!answer.adopted);
}

#[test]
fn whom_only_a_proposed_charter_names_can_sign_that_one() {
    with_world("coming::whom_only_a_proposed_charter_names_can_sign_that_one", |mut world| async move {
        world.keys.insert("nia".into(), key());
        world.keys.insert("nia.tls".into(), key());
        let nia = world.connect("nia").await;
        let (mut charter, mut access, mut audit) = (nia.charter(), nia.access(), nia.audit());
        let unknown = (Code::Unauthenticated, "CLIENT_UNKNOWN".to_owned());
        assert_eq!(reason(charter.get_daemon(v1::GetDaemonRequest {}).await), unknown);

        let device =
            json!({"kind": "piv", "key": public(&world.keys["nia"]), "serial": 9, "firmware": "5.7.4"});
        let record = json!({"id": "nia", "name": "Nia", "roles": ["custodian"], "devices": [device],
            "keys": [public(&world.keys["nia.tls"])]});
        let with_her = next(&world, 1, Some(record));
        propose(&world, &with_her, "alice").await;
        propose(&world, &next(&world, 2, None), "bob").await;

        // The connection is the same; what is proposed reaches it.
        assert_eq!(charter.get_daemon(v1::GetDaemonRequest {}).await.unwrap().into_inner().caller, "nia");
        charter.get_charter(v1::GetCharterRequest { version: 1 }).await.unwrap();
        charter.list_charters(v1::ListChartersRequest { first_version: 1 }).await.unwrap();
        let shown = charter.list_proposals(v1::ListProposalsRequest {}).await.unwrap().into_inner().proposals;
        let shown: Vec<&str> = shown.iter().map(|proposal| proposal.digest.as_str()).collect();
        assert_eq!(shown, [Digest::of(&with_her).to_string()], "hers, and not the other one");

        let refused = [
            reason(access.list_requests(v1::ListRequestsRequest::default()).await),
            reason(access.file_request(v1::FileRequestRequest::default()).await),
            reason(access.get_request(v1::GetRequestRequest::default()).await),
            reason(access.watch_requests(v1::WatchRequestsRequest::default()).await),
            reason(access.submit_signature(v1::SubmitSignatureRequest::default()).await),
            reason(audit.stream_entries(v1::StreamEntriesRequest::default()).await),
            reason(audit.get_checkpoint(v1::GetCheckpointRequest::default()).await),
            reason(charter.propose_charter(v1::ProposeCharterRequest::default()).await),
            reason(charter.retract_charter(v1::RetractCharterRequest::default()).await),
            reason(charter.record_transcript(v1::RecordTranscriptRequest::default()).await),
            reason(charter.check_in(v1::CheckInRequest::default()).await),
            reason(charter.list_devices(v1::ListDevicesRequest {}).await),
        ];
        for answer in refused {
            assert_eq!(answer, (Code::PermissionDenied, "CLIENT_NOT_YET".into()));
        }
        let eve = world.connect("eve").await.charter().list_proposals(v1::ListProposalsRequest {}).await;
        assert_eq!(reason(eve).1, "NOT_A_CUSTODIAN");

        let hers = v1::SignCharterRequest { jws: signed(&world, &with_her, "nia") };
        assert!(!charter.sign_charter(hers).await.unwrap().into_inner().adopted);
        let bobs = v1::SignCharterRequest { jws: signed(&world, &with_her, "bob") };
        assert!(charter.sign_charter(bobs).await.unwrap().into_inner().adopted, "whoever carries it");
        // Now she is a custodian as the others are.
        access.list_requests(v1::ListRequestsRequest::default()).await.unwrap();
        charter.list_devices(v1::ListDevicesRequest {}).await.unwrap();
    });
}
