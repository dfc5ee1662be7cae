//! Who and what is refused: with which code and reason, without any effect, and what the log keeps of it.

use std::num::NonZeroU32;

use breakglass::client::ClientError;
use breakglass::engine::quota::Rate;
use breakglass::grpc::api;
use breakglass::grpc::front::Rates;
use breakglass::grpc::v1;
use breakglass::jose::{Typ, json};
use serde_json::json;
use tonic::{Code, Status};

use crate::support::key;
use crate::world::{World, jws, now, with_world, with_world_as};

fn reason<T>(answer: Result<T, Status>) -> (Code, String) {
    let error = ClientError::from(answer.err().expect("this should have been refused"));
    assert!(!error.message.is_empty());
    (error.code, error.reason)
}

async fn file(world: &World, who: &str, jws: Vec<u8>) -> (Code, String) {
    reason(world.connect(who).await.access().file_request(v1::FileRequestRequest { jws }).await)
}

#[test]
fn strangers_get_nothing_and_leave_one_entry() {
    with_world("refusals::strangers_get_nothing_and_leave_one_entry", |mut world| async move {
        let before = world.store.size();
        let channel = world.connect("stranger").await;
        let (mut access, mut audit, mut charter) = (channel.access(), channel.audit(), channel.charter());
        let answers = [
            reason(access.file_request(v1::FileRequestRequest::default()).await),
            reason(access.get_request(v1::GetRequestRequest::default()).await),
            reason(access.list_requests(v1::ListRequestsRequest::default()).await),
            reason(access.watch_requests(v1::WatchRequestsRequest::default()).await),
            reason(access.submit_signature(v1::SubmitSignatureRequest::default()).await),
            reason(access.withdraw(v1::WithdrawRequest::default()).await),
            reason(access.redeem(v1::RedeemRequest::default()).await),
            reason(audit.get_checkpoint(v1::GetCheckpointRequest::default()).await),
            reason(audit.stream_entries(v1::StreamEntriesRequest::default()).await),
            reason(audit.get_inclusion_proof(v1::GetInclusionProofRequest::default()).await),
            reason(audit.get_consistency_proof(v1::GetConsistencyProofRequest::default()).await),
            reason(charter.get_charter(v1::GetCharterRequest::default()).await),
            reason(charter.get_daemon(v1::GetDaemonRequest::default()).await),
        ];
        for answer in &answers {
            assert_eq!(*answer, (Code::Unauthenticated, "CLIENT_UNKNOWN".into()));
        }
        assert_eq!(world.store.size(), before, "nothing happened yet");
        world.stop_api().await;
        let entries = world.entries().await.split_off(usize::try_from(before).unwrap());
        // One entry, or two if the minute changed meanwhile.
        assert!((1..=2).contains(&entries.len()), "{entries:?}");
        let events = entries.iter().map(|entry| &entry["event"]);
        assert!(events.clone().all(|e| e["type"] == "attempts_refused" && e["reason"] == "CLIENT_UNKNOWN"));
        assert!(events.clone().all(|e| e.get("peer").is_none()), "inventing keys buys no entries");
        let counted: u64 = events.map(|event| event["count"].as_u64().unwrap()).sum();
        assert_eq!(counted, answers.len() as u64);
    });
}

#[test]
fn malformed_and_foreign_statements_change_nothing() {
    with_world("refusals::malformed_and_foreign_statements_change_nothing", |world| async move {
        let grant = world.grant("dave", "dave", &key());
        let (_, good) = world.request("dave", &grant);
        let changed = |member: &str, value: serde_json::Value| {
            let mut other = grant.clone();
            other[member] = value;
            world.request("dave", &other).1
        };
        let text = String::from_utf8(good.clone()).unwrap();
        let payload = json::canonical(&grant).unwrap();
        let by = |key: &p256::SecretKey, typ, iat| jws(payload.clone(), &[(key, typ, iat)]);
        let dave = &world.keys["dave.tls"];
        let iat = grant["requested_at"].as_i64().unwrap();
        let tampered = {
            let mut jws = breakglass::jose::GeneralJws::parse(&good, 32_000).unwrap();
            let mut other = grant.clone();
            other["ttl"] = json!(601);
            jws.payload = json::canonical(&other).unwrap();
            jws.to_json()
        };
        let (invalid, denied, state) =
            (Code::InvalidArgument, Code::PermissionDenied, Code::FailedPrecondition);
        let cases: Vec<(&str, Vec<u8>, Code, &str)> = vec![
            ("empty", vec![], invalid, "JSON_MALFORMED"),
            ("no JSON", b"\xff{}".to_vec(), invalid, "JSON_MALFORMED"),
            ("spaces", text.replace(':', ": ").into_bytes(), invalid, "JSON_NOT_CANONICAL"),
            ("too long", vec![b' '; 40_000], invalid, "TOO_LONG"),
            (
                "too deep",
                format!("{}{}", "[".repeat(16_000), "]".repeat(16_000)).into_bytes(),
                invalid,
                "JSON_TOO_DEEP",
            ),
            ("tampered", tampered, invalid, "SIGNATURE_INVALID"),
            ("wrong typ", by(dave, Typ::Redeem, iat), invalid, "TYP_UNEXPECTED"),
            (
                "another's key",
                by(&world.keys["eve.tls"], Typ::Request, iat),
                denied,
                "REQUESTER_KEY_MISMATCH",
            ),
            ("unknown member", changed("admin", json!(true)), invalid, "JSON_SHAPE_UNEXPECTED"),
            ("other charter", changed("charter", json!(world.server.spki())), denied, "CHARTER_MISMATCH"),
            ("too long a life", changed("ttl", json!(901)), denied, "TTL_TOO_LONG"),
            ("another's name", changed("sub", json!("eve")), denied, "SUBJECT_NOT_ALLOWED"),
            ("not his client", changed("client_id", json!("eve")), denied, "CLIENT_ID_MISMATCH"),
            ("from the future", changed("requested_at", json!(now() + 300)), state, "CLOCK_SKEW"),
        ];
        let before = world.store.size();
        for (what, jws, code, expected) in cases {
            let (seen, why) = file(&world, "dave", jws).await;
            assert_eq!((seen, why.as_str()), (code, expected), "{what}");
        }
        assert_eq!(world.store.size(), before);
        let channel = world.connect("dave").await;
        let filed =
            channel.access().file_request(v1::FileRequestRequest { jws: good.clone() }).await.unwrap();
        let id = filed.into_inner().request.unwrap().request_id;
        let again = channel.access().file_request(v1::FileRequestRequest { jws: good }).await.unwrap_err();
        let again = ClientError::from(again);
        assert_eq!((again.code, again.reason.as_str()), (Code::AlreadyExists, "DUPLICATE_REQUEST"));
        assert_eq!(again.metadata["request_id"], id);
    });
}

#[test]
fn attempts_at_power_are_counted_under_the_clients_key() {
    with_world("refusals::attempts_at_power_are_counted_under_the_clients_key", |mut world| async move {
        let (id, grant, _) = world.file("dave").await;
        let before = world.store.size();
        // eve's tool key is no custodian's; alice signs twice; alice's signature over other bytes.
        let by_eve = jws(grant.clone(), &[(&world.keys["eve.tls"], Typ::Approval, now())]);
        assert_eq!(world.submit(&id, by_eve).await.unwrap_err().reason, "NOT_A_CUSTODIAN");
        let unknown = jws(grant.clone(), &[(&key(), Typ::Approval, now())]);
        assert_eq!(world.submit(&id, unknown).await.unwrap_err().reason, "KEY_UNKNOWN");
        let other = world.verdicts(br#"{"a":1}"#, Typ::Approval, &["alice"]);
        assert_eq!(world.submit(&id, other).await.unwrap_err().reason, "REQUEST_UNKNOWN");
        let eve = world.connect("eve").await;
        let denied = reason(eve.audit().get_checkpoint(v1::GetCheckpointRequest {}).await);
        assert_eq!(denied, (Code::PermissionDenied, "NOT_AN_AUDITOR".into()));
        world.stop_api().await;
        let entries = world.entries().await.split_off(usize::try_from(before).unwrap());
        let seen: Vec<_> =
            entries.iter().map(|e| (e["event"]["reason"].as_str().unwrap(), &e["event"]["peer"])).collect();
        let spki = |name: &str| {
            json!(breakglass::jose::Digest::of(&crate::world::public(&world.keys[name]).spki_der()))
        };
        let (carol, eve) = (spki("carol.tls"), spki("eve.tls"));
        for expected in [("NOT_A_CUSTODIAN", &carol), ("KEY_UNKNOWN", &carol), ("NOT_AN_AUDITOR", &eve)] {
            assert!(seen.contains(&expected), "{expected:?} is not in {seen:?}");
        }
    });
}

#[test]
fn requesters_see_only_their_own() {
    with_world("refusals::requesters_see_only_their_own", |world| async move {
        let (daves, ..) = world.file("dave").await;
        let (eves, ..) = world.file("eve").await;
        let list = async |who: &str, only_mine| {
            let message = v1::ListRequestsRequest { only_mine, ..v1::ListRequestsRequest::default() };
            let answer = world.connect(who).await.access().list_requests(message).await.unwrap().into_inner();
            let mut ids: Vec<_> = answer.requests.into_iter().map(|request| request.request_id).collect();
            ids.sort();
            ids
        };
        let mut both = vec![daves.clone(), eves.clone()];
        both.sort();
        assert_eq!(list("alice", false).await, both);
        assert_eq!(list("dave", false).await, both, "an auditor");
        assert_eq!(list("dave", true).await, std::slice::from_ref(&daves));
        assert_eq!(list("eve", false).await, std::slice::from_ref(&eves));
        assert_eq!(list("tool", false).await, [""; 0]);
        let get = async |who: &str, id: &str| {
            let message = v1::GetRequestRequest { request_id: id.to_owned() };
            world.connect(who).await.access().get_request(message).await.map(drop).map_err(ClientError::from)
        };
        get("eve", &eves).await.unwrap();
        let (hidden, missing) = (
            get("eve", &daves).await.unwrap_err(),
            get("eve", &world.server.spki().to_string()).await.unwrap_err(),
        );
        assert_eq!(
            (hidden.code, &hidden.reason, &hidden.message),
            (missing.code, &missing.reason, &missing.message)
        );
        assert_eq!(hidden.code, Code::NotFound);
        assert_eq!(get("eve", "x").await.unwrap_err().reason, "REQUEST_ID_INVALID");
    });
}

#[test]
fn pages_hold_each_request_once() {
    with_world("refusals::pages_hold_each_request_once", |world| async move {
        let mut filed = Vec::new();
        for _ in 0..5 {
            filed.push(world.file("dave").await.0);
        }
        let mut access = world.connect("alice").await.access();
        let mut token = String::new();
        let mut seen = Vec::new();
        for expected in [2, 2, 1] {
            let message = v1::ListRequestsRequest { page_size: 2, page_token: token, ..Default::default() };
            let page = access.list_requests(message).await.unwrap().into_inner();
            assert_eq!(page.requests.len(), expected);
            seen.extend(page.requests.into_iter().map(|request| request.request_id));
            token = page.next_page_token;
            // What is filed meanwhile is newer than any page to come.
            world.file("eve").await;
        }
        assert_eq!(token, "");
        let eves = seen.iter().filter(|id| !filed.contains(id)).count();
        assert_eq!(eves, 0, "newest first, and never twice");
        seen.sort();
        filed.sort();
        assert_eq!(seen, filed);
        let wrong = |page_size, page_token: &str| v1::ListRequestsRequest {
            page_size,
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        assert_eq!(reason(access.list_requests(wrong(51, "")).await).1, "PAGE_SIZE_INVALID");
        assert_eq!(reason(access.list_requests(wrong(1, "x")).await).1, "PAGE_TOKEN_INVALID");
        let pending =
            v1::ListRequestsRequest { states: vec![v1::RequestState::Issued.into()], ..Default::default() };
        assert!(access.list_requests(pending).await.unwrap().into_inner().requests.is_empty());
    });
}

#[test]
fn calls_beyond_the_rate_are_refused_with_the_time_to_wait() {
    let rate = Rate { per_minute: NonZeroU32::MIN, burst: NonZeroU32::new(3).unwrap() };
    let options = api::Options {
        rates: Rates { client: rate, strangers: rate, ..Rates::default() },
        ..api::Options::default()
    };
    let name = "refusals::calls_beyond_the_rate_are_refused_with_the_time_to_wait";
    with_world_as(name, options, |world| async move {
        for who in ["dave", "stranger"] {
            let mut charter = world.connect(who).await.charter();
            let mut refused = Vec::new();
            for _ in 0..5 {
                let answer = charter.get_daemon(v1::GetDaemonRequest {}).await;
                refused.extend(
                    answer.err().map(ClientError::from).filter(|error| error.reason == "RATE_LIMITED"),
                );
            }
            assert_eq!(refused.len(), 2, "{who}");
            assert_eq!(refused[0].code, Code::ResourceExhausted);
            assert!(refused[0].metadata["retry_after_ms"].parse::<u64>().unwrap() > 10_000);
        }
        // Others are not concerned.
        world.connect("alice").await.charter().get_daemon(v1::GetDaemonRequest {}).await.unwrap();
    });
}

#[test]
fn streams_of_one_client_are_bounded() {
    with_world("refusals::streams_of_one_client_are_bounded", |world| async move {
        let mut open = Vec::new();
        let refused = 'all: loop {
            // Each connection carries 64 streams.
            let channel = world.connect("eve").await;
            for _ in 0..60 {
                match channel.access().watch_requests(v1::WatchRequestsRequest::default()).await {
                    Ok(stream) => open.push((channel.clone(), stream)),
                    Err(status) => break 'all ClientError::from(status),
                }
            }
            assert!(open.len() < 1_000, "no end to it");
        };
        assert_eq!((refused.code, refused.reason.as_str()), (Code::ResourceExhausted, "TOO_MANY_STREAMS"));
        assert_eq!(open.len(), 128);
        world
            .connect("alice")
            .await
            .access()
            .watch_requests(v1::WatchRequestsRequest::default())
            .await
            .unwrap();
    });
}
