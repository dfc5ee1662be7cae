//! A server with stub services on a free port, keys, and waiting for events.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use breakglass::client::{Channel, ClientError, Dial};
use breakglass::grpc::server::{Limits, MAX_MESSAGE, Rank, Server, ServerError, routes};
use breakglass::grpc::status::{Kind, ServiceError};
use breakglass::grpc::tls::{Identity, Peer, server_config};
use breakglass::grpc::v1;
use breakglass::grpc::v1::access_service_server::{AccessService, AccessServiceServer};
use breakglass::jose::Digest;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

/// How long anything in these tests may take before it counts as hanging.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A fresh key of the operating system's randomness.
pub fn key() -> p256::SecretKey {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    p256::SecretKey::from_slice(&bytes).unwrap()
}

pub fn identity(name: &str) -> Identity {
    Identity::from_key(&key(), name, &[]).unwrap()
}

pub struct TestServer {
    pub address: SocketAddr,
    pub pin: Digest,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ServerError>>,
}

impl TestServer {
    /// A server that knows nobody.
    pub async fn start(limits: Limits) -> Self {
        Self::start_as(&identity("breakglassd"), limits, |_| false).await
    }

    pub async fn start_as(
        own: &Identity,
        limits: Limits,
        known: impl Fn(&Digest) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut routes, health) = routes().unwrap();
        routes.add_service(AccessServiceServer::new(Stub).max_decoding_message_size(MAX_MESSAGE));
        health.set_serving::<AccessServiceServer<Stub>>().await;
        let tls = server_config(own).unwrap();
        let rank = move |key: &Digest| if known(key) { Rank::Client } else { Rank::Stranger };
        let server = Server { listener, tls, limits, metrics: Arc::default(), rank: Arc::new(rank) };
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.serve(routes.routes(), async {
            let _ = stopped.await;
        }));
        Self { address, pin: own.spki(), stop: Some(stop), task }
    }

    pub fn dial(&self, identity: Option<Identity>) -> Dial {
        Dial::new(self.address.to_string(), vec![self.pin], identity)
    }

    pub async fn connect(&self, identity: Option<Identity>) -> Result<Channel, ClientError> {
        Channel::connect(self.dial(identity)).await
    }

    /// Asks the server to stop and waits until it has.
    pub async fn stop(mut self) {
        self.stop.take();
        within(self.task).await.unwrap().unwrap();
    }
}

/// Fails the test instead of hanging.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("took too long")
}

/// Answers with who the caller is.
pub struct Stub;

impl Stub {
    fn peer<T>(request: &Request<T>) -> Result<Digest, Status> {
        let peer = request.extensions().get::<Peer>().expect("every request carries its peer");
        let stranger = || ServiceError::new(Kind::Unauthenticated, "CLIENT_UNKNOWN", "no certificate").into();
        peer.key.ok_or_else(stranger)
    }
}

type Watch = Pin<Box<dyn Stream<Item = Result<v1::WatchRequestsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AccessService for Stub {
    async fn file_request(
        &self,
        request: Request<v1::FileRequestRequest>,
    ) -> Result<Response<v1::FileRequestResponse>, Status> {
        let key = Self::peer(&request)?;
        let request = v1::Request { request_id: key.to_string(), ..v1::Request::default() };
        Ok(Response::new(v1::FileRequestResponse { request: Some(request) }))
    }

    async fn get_request(
        &self,
        _request: Request<v1::GetRequestRequest>,
    ) -> Result<Response<v1::GetRequestResponse>, Status> {
        std::future::pending().await
    }

    async fn list_requests(
        &self,
        _request: Request<v1::ListRequestsRequest>,
    ) -> Result<Response<v1::ListRequestsResponse>, Status> {
        Err(ServiceError::new(Kind::NotFound, "STUB", "ä: only a stub").with("answer", 42).into())
    }

    type WatchRequestsStream = Watch;

    async fn watch_requests(
        &self,
        _request: Request<v1::WatchRequestsRequest>,
    ) -> Result<Response<Watch>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::pending())))
    }

    async fn submit_signature(
        &self,
        _request: Request<v1::SubmitSignatureRequest>,
    ) -> Result<Response<v1::SubmitSignatureResponse>, Status> {
        Ok(Response::new(v1::SubmitSignatureResponse::default()))
    }

    async fn review(
        &self,
        _request: Request<v1::ReviewRequest>,
    ) -> Result<Response<v1::ReviewResponse>, Status> {
        Ok(Response::new(v1::ReviewResponse::default()))
    }

    async fn list_reviews(
        &self,
        _request: Request<v1::ListReviewsRequest>,
    ) -> Result<Response<v1::ListReviewsResponse>, Status> {
        Ok(Response::new(v1::ListReviewsResponse::default()))
    }

    async fn withdraw(
        &self,
        _request: Request<v1::WithdrawRequest>,
    ) -> Result<Response<v1::WithdrawResponse>, Status> {
        Ok(Response::new(v1::WithdrawResponse::default()))
    }

    async fn redeem(
        &self,
        _request: Request<v1::RedeemRequest>,
    ) -> Result<Response<v1::RedeemResponse>, Status> {
        Ok(Response::new(v1::RedeemResponse::default()))
    }
}
