//! The life of a request over gRPC, from filing to a token that a strict verifier accepts.

use breakglass::client::{Channel, ClientError};
use breakglass::domain::strict::{Killed, Seen, View, verify};
use breakglass::grpc::v1::{self, RequestState, watch_requests_response::Event};
use breakglass::jose::{GeneralJws, Typ, jwe};
use tonic::{Code, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::within;
use crate::world::{TEMP_SECONDS, World, now, with_world};

/// The next request that the watch shows, heartbeats aside.
async fn next(stream: &mut Streaming<v1::WatchRequestsResponse>) -> v1::Request {
    loop {
        if let Some(Event::Request(request)) = within(stream.message()).await.unwrap().unwrap().event {
            return request;
        }
    }
}

async fn watch(channel: &Channel, ids: &[&str]) -> Streaming<v1::WatchRequestsResponse> {
    let request_ids = ids.iter().map(ToString::to_string).collect();
    let message = v1::WatchRequestsRequest { request_ids, only_mine: false };
    channel.access().watch_requests(message).await.unwrap().into_inner()
}

async fn redeem(world: &World, who: &str, id: &str, wait_ms: u32) -> Result<v1::RedeemResponse, ClientError> {
    let jws = world.about(who, id, Typ::Redeem);
    let channel = world.connect(who).await;
    Ok(channel.access().redeem(v1::RedeemRequest { jws, wait_ms }).await?.into_inner())
}

async fn get(world: &World, who: &str, id: &str) -> Result<v1::Request, ClientError> {
    let message = v1::GetRequestRequest { request_id: id.to_owned() };
    Ok(world.connect(who).await.access().get_request(message).await?.into_inner().request.unwrap())
}

#[test]
fn from_request_to_token() {
    with_world("flow::from_request_to_token", |world| async move {
        let (id, grant, secret) = world.file("dave").await;
        let mut events = watch(&world.connect("dave").await, &[&id]).await;
        let filed = next(&mut events).await;
        assert_eq!(
            (filed.state(), filed.subject.as_str(), filed.profile.as_str()),
            (RequestState::Pending, "dave", "db")
        );
        let missing = filed.missing.unwrap();
        assert_eq!(missing.may_approve, ["alice", "bob", "carol"]);
        assert!(missing.approved_by.is_empty() && !missing.in_words.is_empty());
        let early = redeem(&world, "dave", &id, 30_000).await.unwrap_err();
        assert_eq!((early.code, early.reason.as_str()), (Code::FailedPrecondition, "NOT_ISSUED_YET"));

        let one = world.submit(&id, world.verdicts(&grant, Typ::Approval, &["alice"])).await.unwrap();
        let missing = one.missing.clone().unwrap();
        assert_eq!(
            (missing.approved_by, missing.may_approve),
            (vec!["alice".into()], vec!["bob".into(), "carol".into()])
        );
        assert_eq!(missing.in_words, "one more of bob, carol");
        assert_eq!(next(&mut events).await.missing, one.missing);

        let two = world.submit(&id, world.verdicts(&grant, Typ::Approval, &["bob"])).await.unwrap();
        assert!(matches!(two.state(), RequestState::Authorized | RequestState::Issued));
        let released = redeem(&world, "dave", &id, 30_000).await.unwrap();
        let issued = loop {
            let request = next(&mut events).await;
            if request.state() == RequestState::Issued {
                break request;
            }
        };
        let issuance = issued.issuance.unwrap();
        assert_eq!(issuance.jti, id);
        assert_eq!(issuance.expires_at.unwrap().seconds - issuance.issued_at.unwrap().seconds, 600);

        let jwt = jwe::decrypt(&released.jwe, &secret).unwrap();
        let jwt = std::str::from_utf8(&jwt).unwrap();
        let audience = "https://db.example".parse().unwrap();
        let killed = Killed { as_of: now(), max_stale: 10, kills: std::sync::Arc::default() };
        let view = View {
            charter: &world.charter,
            audience: &audience,
            now: now(),
            killed: Some(&killed),
            allow_development: true,
        };
        let accepted = verify(jwt, &view, &mut Seen::default()).unwrap();
        assert_eq!(accepted.claims.jti.to_string(), id);
        assert_eq!(accepted.approvers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["alice", "bob"]);

        // Again, for whoever lost the answer; and it is counted.
        let again = redeem(&world, "dave", &id, 0).await.unwrap();
        assert_eq!(again.jwe, released.jwe);
        assert_eq!(again.request.unwrap().issuance.unwrap().releases, 2);
        // The signed bytes as they are shown are those that were signed.
        let shown = get(&world, "alice", &id).await.unwrap();
        let jws = GeneralJws::parse(&shown.jws, 32_000).unwrap();
        assert_eq!(jws.payload, grant);
        assert_eq!(jws.signatures.len(), 3);
    });
}

#[test]
fn signatures_travel_together_and_twice() {
    with_world("flow::signatures_travel_together_and_twice", |world| async move {
        let (id, grant, _) = world.file("dave").await;
        let alice = world.verdicts(&grant, Typ::Approval, &["alice"]);
        world.submit(&id, alice.clone()).await.unwrap();
        let size = world.store.size();
        // The same file again changes nothing and is no error.
        let again = world.submit(&id, alice.clone()).await.unwrap();
        assert_eq!(again.missing.unwrap().approved_by, ["alice"]);
        assert_eq!(world.store.size(), size);
        // All together, as they come from an air-gapped round: the request's own signature and a held one included.
        let shown = get(&world, "alice", &id).await.unwrap();
        let mut all = GeneralJws::parse(&shown.jws, 32_000).unwrap();
        let bob = GeneralJws::parse(&world.verdicts(&grant, Typ::Approval, &["bob"]), 32_000).unwrap();
        all.signatures.extend(bob.signatures);
        let done = world.submit(&id, all.to_json()).await.unwrap();
        assert!(matches!(done.state(), RequestState::Authorized | RequestState::Issued));
    });
}

#[test]
fn denied_and_withdrawn_requests_end() {
    with_world("flow::denied_and_withdrawn_requests_end", |world| async move {
        let (id, grant, _) = world.file("dave").await;
        let denied = world.submit(&id, world.verdicts(&grant, Typ::Denial, &["carol"])).await.unwrap();
        assert_eq!(denied.state(), RequestState::Denied);
        assert!(denied.ended_at.is_some() && denied.jws.is_empty() && denied.subject == "dave");
        let late =
            world.submit(&id, world.verdicts(&grant, Typ::Approval, &["alice", "bob"])).await.unwrap_err();
        assert_eq!((late.code, late.reason.as_str()), (Code::FailedPrecondition, "WRONG_STATE"));
        assert_eq!(late.metadata["state"], "denied");

        let (id, ..) = world.file("dave").await;
        let jws = world.about("dave", &id, Typ::Withdrawal);
        // Whoever carries it: the statement is dave's.
        let carried =
            world.connect("eve").await.access().withdraw(v1::WithdrawRequest { jws }).await.unwrap();
        assert_eq!(carried.into_inner().request.unwrap().state(), RequestState::Withdrawn);
        assert_eq!(get(&world, "dave", &id).await.unwrap().state(), RequestState::Withdrawn);
        assert_eq!(redeem(&world, "dave", &id, 0).await.unwrap_err().reason, "WRONG_STATE");
    });
}

#[test]
fn a_watch_begins_with_what_is_and_ends_with_the_server() {
    with_world("flow::a_watch_begins_with_what_is_and_ends_with_the_server", |mut world| async move {
        let (first, ..) = world.file("dave").await;
        let mut all = watch(&world.connect("alice").await, &[]).await;
        assert_eq!(next(&mut all).await.request_id, first);
        let synced = within(all.message()).await.unwrap().unwrap().event.unwrap();
        assert!(matches!(synced, Event::Heartbeat(beat) if beat.at.unwrap().seconds >= now() - 1));
        let (second, ..) = world.file("eve").await;
        assert_eq!(next(&mut all).await.request_id, second);
        world.stop_api().await;
        let ended = ClientError::from(within(all.message()).await.unwrap_err());
        assert_eq!((ended.code, ended.reason.as_str()), (Code::Unavailable, "STOPPING"));
    });
}

#[test]
fn a_term_that_ends_reaches_open_connections() {
    with_world("flow::a_term_that_ends_reaches_open_connections", |world| async move {
        let (id, ..) = world.file("dave").await;
        let channel = world.connect("temp").await;
        let mut events = watch(&channel, &[]).await;
        assert_eq!(next(&mut events).await.request_id, id);
        let get =
            async || channel.charter().get_daemon(v1::GetDaemonRequest {}).await.map_err(ClientError::from);
        assert_eq!(get().await.unwrap().into_inner().caller, "temp");
        world.clock.advance(TEMP_SECONDS);
        let ended = get().await.unwrap_err();
        assert_eq!((ended.code, ended.reason.as_str()), (Code::PermissionDenied, "CLIENT_NOT_IN_TERM"));
        // The watch that was begun in term shows nothing of what comes after it: not even that dave takes back what he
        // filed before.
        let withdrawal =
            v1::WithdrawRequest { jws: world.about_at("dave", &id, Typ::Withdrawal, now() + TEMP_SECONDS) };
        world.connect("dave").await.access().withdraw(withdrawal).await.unwrap();
        let error = loop {
            match within(events.message()).await {
                Ok(Some(event)) => assert!(matches!(event.event, Some(Event::Heartbeat(_))), "{event:?}"),
                other => break ClientError::from(other.unwrap_err()),
            }
        };
        assert_eq!(error.reason, "CLIENT_NOT_IN_TERM");
    });
}

#[test]
fn a_latched_daemon_says_so_and_still_answers_questions() {
    with_world("flow::a_latched_daemon_says_so_and_still_answers_questions", |world| async move {
        let (id, grant, _) = world.file("dave").await;
        let mut health = HealthClient::new(world.connect("stranger").await.raw());
        let check = HealthCheckRequest { service: "breakglass.v1.AccessService".into() };
        let mut states = health.watch(check).await.unwrap().into_inner();
        let mut wait = async |wanted: ServingStatus| {
            while within(states.message()).await.unwrap().unwrap().status() != wanted {}
        };
        wait(ServingStatus::Serving).await;
        world.running.engine.latch().close("a test did it");
        wait(ServingStatus::NotServing).await;
        let refused = world.submit(&id, world.verdicts(&grant, Typ::Approval, &["alice"])).await.unwrap_err();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "LATCHED"));
        assert_eq!(get(&world, "alice", &id).await.unwrap().state(), RequestState::Pending);
        let mut charter = world.connect("alice").await.charter();
        let daemon = charter.get_daemon(v1::GetDaemonRequest {}).await.unwrap().into_inner();
        assert_eq!(daemon.latched, "a test did it");
    });
}
