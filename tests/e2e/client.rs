//! The product's own gRPC client with blocking calls, as any principal of the charter or as a stranger.

use std::sync::OnceLock;

use breakglass::{
    client::{Channel, ClientError, Dial},
    grpc::{tls::Identity, v1},
    jose::{Digest, GeneralJws},
};
use tokio::runtime::Runtime;

use crate::world::World;

/// Runs a future to its end.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    });
    runtime.block_on(future)
}

/// The secret half of the kit's key of this name.
pub fn secret(name: &str) -> p256::SecretKey {
    p256::SecretKey::from_slice(Digest::of(name.as_bytes()).as_bytes()).unwrap()
}

/// A connection.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
}

impl World {
    /// Connects with the kit's key of this name.
    pub fn client(&self, key: &str) -> Client {
        self.connect(Some(Identity::from_key(&secret(key), "a client", &[]).unwrap())).unwrap()
    }

    pub fn connect(&self, identity: Option<Identity>) -> Result<Client, ClientError> {
        self.connect_pinned(vec![self.spki], identity)
    }

    pub fn connect_pinned(
        &self,
        pins: Vec<Digest>,
        identity: Option<Identity>,
    ) -> Result<Client, ClientError> {
        let address = format!("127.0.0.1:{}", self.ports().grpc);
        Ok(Client { channel: wait(Channel::connect(Dial::new(address, pins, identity)))? })
    }
}

type Called<T> = Result<T, ClientError>;

impl Client {
    /// The connection, for calls that one test alone makes.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    pub fn file(&self, jws: &GeneralJws) -> Called<v1::Request> {
        self.file_bytes(jws.to_json())
    }

    pub fn file_bytes(&self, jws: Vec<u8>) -> Called<v1::Request> {
        let answer = wait(self.channel.access().file_request(v1::FileRequestRequest { jws }))?;
        Ok(answer.into_inner().request.unwrap())
    }

    /// Without this client's own limit on what it sends.
    pub fn file_bytes_unchecked(&self, jws: Vec<u8>) -> Called<v1::Request> {
        let mut access = self.channel.access().max_encoding_message_size(usize::MAX);
        let answer = wait(access.file_request(v1::FileRequestRequest { jws }))?;
        Ok(answer.into_inner().request.unwrap())
    }

    pub fn submit(&self, id: &str, jws: &GeneralJws) -> Called<v1::Request> {
        let message = v1::SubmitSignatureRequest { request_id: id.to_owned(), jws: jws.to_json() };
        Ok(wait(self.channel.access().submit_signature(message))?.into_inner().request.unwrap())
    }

    pub fn withdraw(&self, jws: &GeneralJws) -> Called<v1::Request> {
        let message = v1::WithdrawRequest { jws: jws.to_json() };
        Ok(wait(self.channel.access().withdraw(message))?.into_inner().request.unwrap())
    }

    /// The JWE and the request after it.
    pub fn redeem(&self, jws: &GeneralJws, wait_ms: u32) -> Called<(String, v1::Request)> {
        let message = v1::RedeemRequest { jws: jws.to_json(), wait_ms };
        let answer = wait(self.channel.access().redeem(message))?.into_inner();
        Ok((answer.jwe, answer.request.unwrap()))
    }

    pub fn get(&self, id: &str) -> Called<v1::Request> {
        let message = v1::GetRequestRequest { request_id: id.to_owned() };
        Ok(wait(self.channel.access().get_request(message))?.into_inner().request.unwrap())
    }

    pub fn list(&self) -> Called<Vec<v1::Request>> {
        let message = v1::ListRequestsRequest { page_size: 50, ..v1::ListRequestsRequest::default() };
        Ok(wait(self.channel.access().list_requests(message))?.into_inner().requests)
    }

    /// Every entry of the log at the time of the call.
    pub fn entries(&self) -> Called<Vec<Vec<u8>>> {
        wait(async {
            let message = v1::StreamEntriesRequest::default();
            let mut stream = self.channel.audit().stream_entries(message).await?.into_inner();
            let mut entries = Vec::new();
            while let Some(part) = stream.message().await? {
                assert_eq!(part.start, entries.len() as u64);
                entries.extend(part.entries);
            }
            Ok(entries)
        })
    }

    pub fn checkpoint(&self) -> Called<String> {
        let answer = wait(self.channel.audit().get_checkpoint(v1::GetCheckpointRequest {}))?;
        Ok(String::from_utf8(answer.into_inner().checkpoint).unwrap())
    }

    /// The proposal, or none if the charter is in force now.
    pub fn propose(&self, jws: &GeneralJws) -> Called<Option<v1::Proposal>> {
        let message = v1::ProposeCharterRequest { jws: jws.to_json(), evidence: Vec::new() };
        Ok(wait(self.channel.charter().propose_charter(message))?.into_inner().proposal)
    }

    /// The same.
    pub fn sign_charter(&self, jws: &GeneralJws) -> Called<Option<v1::Proposal>> {
        let message = v1::SignCharterRequest { jws: jws.to_json() };
        Ok(wait(self.channel.charter().sign_charter(message))?.into_inner().proposal)
    }

    pub fn retract_charter(&self, jws: &GeneralJws) -> Called<()> {
        let message = v1::RetractCharterRequest { jws: jws.to_json() };
        Ok(wait(self.channel.charter().retract_charter(message)).map(drop)?)
    }

    pub fn proposals(&self) -> Called<Vec<v1::Proposal>> {
        let answer = wait(self.channel.charter().list_proposals(v1::ListProposalsRequest {}))?;
        Ok(answer.into_inner().proposals)
    }

    /// Every version, as the daemon sends it.
    pub fn charters(&self) -> Called<Vec<GeneralJws>> {
        let message = v1::ListChartersRequest { first_version: 0 };
        let answer = wait(self.channel.charter().list_charters(message))?.into_inner();
        assert_eq!(answer.next_version, 0);
        Ok(answer.charters.iter().map(|charter| GeneralJws::parse(&charter.jws, 60_000).unwrap()).collect())
    }

    pub fn daemon(&self) -> Called<v1::GetDaemonResponse> {
        Ok(wait(self.channel.charter().get_daemon(v1::GetDaemonRequest {}))?.into_inner())
    }
}
