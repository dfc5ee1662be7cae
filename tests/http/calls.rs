//! gRPC calls show in the metrics, as the daemon puts the two together.

use std::sync::Arc;

use breakglass::{
    client::{Channel, Dial},
    grpc::{
        api,
        tls::Identity,
        v1::{GetRequestRequest, ListRequestsRequest, WatchRequestsRequest},
    },
};
use tokio::{net::TcpListener, sync::watch};

use crate::{client::get, device::secret, world::World};

#[test]
fn calls_are_counted_by_method_and_reason() {
    let world = World::new();
    world.runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let identity = |name: &str| Identity::from_key(&secret(name), "test", &[]).unwrap();
        let own = identity("daemon/tls");
        let pins = vec![own.spki()];
        let options = api::Options { metrics: Arc::clone(&world.metrics), ..api::Options::default() };
        let (stop, stopped) = watch::channel(false);
        let engine = world.engine.clone();
        let serving = tokio::spawn(async move { api::serve(engine, listener, &own, options, stopped).await });
        let dial = |who| Channel::connect(Dial::new(address.clone(), pins.clone(), who));
        let erin = dial(Some(identity("erin/file"))).await.unwrap();
        for _ in 0..2 {
            erin.access().list_requests(ListRequestsRequest::default()).await.unwrap();
        }
        let nonsense = GetRequestRequest { request_id: "nonsense".into() };
        erin.access().get_request(nonsense).await.unwrap_err();
        drop(erin.access().watch_requests(WatchRequestsRequest::default()).await.unwrap());
        let stranger = dial(None).await.unwrap();
        stranger.access().list_requests(ListRequestsRequest::default()).await.unwrap_err();
        stop.send(true).unwrap();
        serving.await.unwrap().unwrap();
    });
    let answer = get(world.address, "/metrics");
    let mut calls: Vec<&str> =
        answer.text().lines().filter_map(|line| line.strip_prefix("breakglass_calls_total")).collect();
    calls.sort_unstable();
    assert_eq!(
        calls,
        [
            "{method=\"GetRequest\",reason=\"REQUEST_ID_INVALID\"} 1",
            "{method=\"ListRequests\",reason=\"CLIENT_UNKNOWN\"} 1",
            "{method=\"ListRequests\",reason=\"OK\"} 2",
            "{method=\"WatchRequests\",reason=\"OK\"} 1",
        ]
    );
}
