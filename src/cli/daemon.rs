//! The daemon as the commands see it: one blocking call for each operation.
//!
//! Nothing that comes back is believed here; statements are verified where they are used (`review`).

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;

use super::{exit::Problem, id::IdArg, text};
use crate::{
    client::{Channel, ClientError, Dial},
    domain::{charter::MAX_CHARTER_BYTES, id::RequestId},
    grpc::v1,
    jose::GeneralJws,
};

/// How long a daemon that went away is waited for: a restart takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// The time that is left for a daemon to come back.
#[derive(Debug, Default)]
struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// Waits before the next attempt; whether there is time for one.
    fn wait(&mut self) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        let goes_on = since.elapsed() < PATIENCE;
        if goes_on {
            std::thread::sleep(PAUSE);
        }
        goes_on
    }
}

/// Sends a statement again while its answers are lost: every statement is carried out once, however often it comes. Also
/// whether an answer was lost, so that a failure does not mean that nothing happened.
pub(crate) fn insist<T>(mut send: impl FnMut() -> Result<T, ClientError>) -> (Result<T, ClientError>, bool) {
    let (mut patience, mut lost) = (Patience::default(), false);
    loop {
        match send() {
            // A daemon that cannot be reached has not heard of it, unless an earlier answer was lost.
            Err(error) if error.is_uncertain() || (lost && error.is_unreachable()) => {
                lost = true;
                if !patience.wait() {
                    return (Err(error), lost);
                }
            }
            answer => return (answer, lost),
        }
    }
}

/// A connection and the runtime that keeps it alive between calls.
pub(crate) struct Daemon {
    runtime: Runtime,
    channel: Channel,
}

impl Daemon {
    pub(crate) fn connect(dial: Dial) -> Result<Self> {
        // A worker of its own answers keep-alives while a person thinks or types a PIN.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("no runtime for the network could be started")?;
        let channel = runtime.block_on(Channel::connect(dial))?;
        Ok(Self { runtime, channel })
    }

    /// The connection, for calls that one command alone makes.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Waits for an answer.
    pub(super) fn call<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, ClientError> {
        Ok(self.runtime.block_on(call)?.into_inner())
    }

    /// The next message of a stream; none at its end.
    pub(super) fn next<T>(&self, stream: &mut tonic::Streaming<T>) -> Result<Option<T>, ClientError> {
        Ok(self.runtime.block_on(stream.message())?)
    }

    pub(crate) fn file(&self, jws: Vec<u8>) -> Result<v1::Request, ClientError> {
        let answer = self.call(self.channel.access().file_request(v1::FileRequestRequest { jws }))?;
        answered(answer.request)
    }

    pub(crate) fn get(&self, id: &RequestId) -> Result<v1::Request, ClientError> {
        let request = v1::GetRequestRequest { request_id: id.to_string() };
        answered(self.call(self.channel.access().get_request(request))?.request)
    }

    /// All requests in these states (empty: all), newest first.
    pub(crate) fn list(
        &self,
        states: &[v1::RequestState],
        only_mine: bool,
    ) -> Result<Vec<v1::Request>, ClientError> {
        let (mut requests, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = v1::ListRequestsRequest {
                states: states.iter().map(|state| i32::from(*state)).collect(),
                only_mine,
                page_size: 0,
                page_token,
            };
            let page = self.call(self.channel.access().list_requests(page))?;
            requests.extend(page.requests);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(requests);
            }
        }
    }

    /// Shows every request as it changes, until `each` breaks. A connection that breaks is taken up again, and a daemon that
    /// restarts is waited for.
    pub(crate) fn watch(
        &self,
        ids: &[RequestId],
        only_mine: bool,
        mut each: impl FnMut(v1::Request) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut patience = Patience::default();
        loop {
            match self.watch_once(ids, only_mine, &mut each, &mut patience)? {
                Ok(()) => return Ok(()),
                Err(error) if error.is_uncertain() || error.is_unreachable() => {
                    if !patience.wait() {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// One stream: the outer error is the caller's, the inner one the connection's.
    fn watch_once(
        &self,
        ids: &[RequestId],
        only_mine: bool,
        each: &mut impl FnMut(v1::Request) -> Result<ControlFlow<()>>,
        patience: &mut Patience,
    ) -> Result<Result<(), ClientError>> {
        let request_ids = ids.iter().map(ToString::to_string).collect();
        let request = v1::WatchRequestsRequest { request_ids, only_mine };
        let mut stream = match self.call(self.channel.access().watch_requests(request)) {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            match self.runtime.block_on(stream.message()) {
                Ok(Some(message)) => {
                    *patience = Patience::default();
                    if let Some(v1::watch_requests_response::Event::Request(request)) = message.event
                        && each(request)?.is_break()
                    {
                        return Ok(Ok(()));
                    }
                }
                Ok(None) => return Ok(Err(tonic::Status::unavailable("the daemon ended the watch").into())),
                Err(status) => return Ok(Err(status.into())),
            }
        }
    }

    pub(crate) fn submit(&self, id: &RequestId, jws: Vec<u8>) -> Result<v1::Request, ClientError> {
        let request = v1::SubmitSignatureRequest { request_id: id.to_string(), jws };
        answered(self.call(self.channel.access().submit_signature(request))?.request)
    }

    pub(crate) fn withdraw(&self, jws: Vec<u8>) -> Result<v1::Request, ClientError> {
        answered(self.call(self.channel.access().withdraw(v1::WithdrawRequest { jws }))?.request)
    }

    /// The JWE of an issued token; waits for an authorized one, at most 30 seconds.
    pub(crate) fn redeem(&self, jws: Vec<u8>, wait: Duration) -> Result<String, ClientError> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).min(30_000);
        Ok(self.call(self.channel.access().redeem(v1::RedeemRequest { jws, wait_ms }))?.jwe)
    }

    /// The index of the transcript's entry.
    pub(crate) fn record(&self, jws: Vec<u8>) -> Result<u64, ClientError> {
        let request = v1::RecordTranscriptRequest { jws };
        Ok(self.call(self.channel.charter().record_transcript(request))?.index)
    }

    /// The index of the review's entry.
    pub(crate) fn review(&self, jws: Vec<u8>) -> Result<u64, ClientError> {
        Ok(self.call(self.channel.access().review(v1::ReviewRequest { jws }))?.index)
    }

    /// The uses that wait for their review.
    pub(crate) fn reviews(&self) -> Result<Vec<v1::OpenReview>, ClientError> {
        Ok(self.call(self.channel.access().list_reviews(v1::ListReviewsRequest {}))?.reviews)
    }

    /// The index of the check-in's entry.
    pub(crate) fn check_in(&self, jws: Vec<u8>) -> Result<u64, ClientError> {
        Ok(self.call(self.channel.charter().check_in(v1::CheckInRequest { jws }))?.index)
    }

    pub(crate) fn devices(&self) -> Result<Vec<v1::Device>, ClientError> {
        Ok(self.call(self.channel.charter().list_devices(v1::ListDevicesRequest {}))?.devices)
    }

    /// The versions from this one on, in order; nothing of them is verified.
    pub(crate) fn charters(&self, first: u64) -> Result<Vec<GeneralJws>> {
        let newest = self.describe()?.charter_version;
        let (mut statements, mut next) = (Vec::new(), first);
        while next != 0 && next <= newest {
            let request = v1::ListChartersRequest { first_version: next };
            let page = self.call(self.channel.charter().list_charters(request))?;
            for charter in page.charters {
                let statement = GeneralJws::parse(&charter.jws, MAX_CHARTER_BYTES);
                statements.push(statement.context("the daemon sent something that is no charter")?);
            }
            next = page.next_version;
        }
        Ok(statements)
    }

    /// Proposes a charter; the proposal, or none if it is in force now.
    pub(crate) fn propose(
        &self,
        jws: Vec<u8>,
        evidence: Vec<v1::Evidence>,
    ) -> Result<Option<v1::Proposal>, ClientError> {
        let request = v1::ProposeCharterRequest { jws, evidence };
        Ok(self.call(self.channel.charter().propose_charter(request))?.proposal)
    }

    /// Adds signatures to a proposed charter; the proposal, or none if it is in force now.
    pub(crate) fn sign_charter(&self, jws: Vec<u8>) -> Result<Option<v1::Proposal>, ClientError> {
        Ok(self.call(self.channel.charter().sign_charter(v1::SignCharterRequest { jws }))?.proposal)
    }

    pub(crate) fn retract(&self, jws: Vec<u8>) -> Result<(), ClientError> {
        self.call(self.channel.charter().retract_charter(v1::RetractCharterRequest { jws })).map(drop)
    }

    pub(crate) fn proposals(&self) -> Result<Vec<v1::Proposal>, ClientError> {
        Ok(self.call(self.channel.charter().list_proposals(v1::ListProposalsRequest {}))?.proposals)
    }

    /// What is announced in place of this chain.
    pub(crate) fn genesis(&self) -> Result<v1::GetGenesisResponse, ClientError> {
        self.call(self.channel.genesis().get_genesis(v1::GetGenesisRequest {}))
    }

    pub(crate) fn announce_genesis(
        &self,
        jws: Vec<u8>,
        charter: Vec<u8>,
    ) -> Result<Option<v1::Announcement>, ClientError> {
        let request = v1::AnnounceGenesisRequest { jws, charter };
        Ok(self.call(self.channel.genesis().announce_genesis(request))?.announcement)
    }

    pub(crate) fn cancel_genesis(&self, jws: Vec<u8>) -> Result<(), ClientError> {
        self.call(self.channel.genesis().cancel_genesis(v1::CancelGenesisRequest { jws })).map(drop)
    }

    pub(crate) fn describe(&self) -> Result<v1::GetDaemonResponse, ClientError> {
        self.call(self.channel.charter().get_daemon(v1::GetDaemonRequest {}))
    }

    pub(crate) fn checkpoint(&self) -> Result<Vec<u8>, ClientError> {
        Ok(self.call(self.channel.audit().get_checkpoint(v1::GetCheckpointRequest {}))?.checkpoint)
    }

    pub(crate) fn inclusion(
        &self,
        index: u64,
        size: u64,
    ) -> Result<v1::GetInclusionProofResponse, ClientError> {
        self.call(self.channel.audit().get_inclusion_proof(v1::GetInclusionProofRequest { index, size }))
    }

    /// The entries `[start, end)` in order, each exactly once.
    pub(crate) fn entries(
        &self,
        start: u64,
        end: u64,
        mut each: impl FnMut(u64, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let mut next = start;
        if start >= end {
            return Ok(());
        }
        let request = v1::StreamEntriesRequest { start, end };
        let mut stream = self.call(self.channel.audit().stream_entries(request))?;
        while let Some(message) = self.runtime.block_on(stream.message()).map_err(ClientError::from)? {
            if message.start != next {
                return Err(Problem::unverified(
                    "ENTRIES_OUT_OF_ORDER",
                    format!("the daemon sent entry {} where {next} belongs", message.start),
                )
                .into());
            }
            for entry in message.entries {
                each(next, entry)?;
                next += 1;
            }
        }
        if next == end {
            return Ok(());
        }
        let message = format!("the daemon sent entries up to {next}, where {end} were asked for; try again");
        Err(Problem::unavailable("ENTRIES_INCOMPLETE", message).into())
    }

    /// The request that an id or its beginning means.
    pub(crate) fn resolve(&self, arg: &IdArg) -> Result<RequestId> {
        if let Some(id) = arg.whole() {
            return Ok(id);
        }
        let requests = self.list(&[], false)?;
        arg.choose(requests.iter().filter_map(|request| request.request_id.parse().ok()))
    }
}

/// The request that every answer of this service carries.
fn answered(request: Option<v1::Request>) -> Result<v1::Request, ClientError> {
    request.ok_or_else(|| tonic::Status::internal("the daemon answered without a request").into())
}

/// The state as a word.
pub(crate) fn state_name(request: &v1::Request) -> String {
    use v1::RequestState as S;
    match request.state() {
        S::Unspecified => format!("unknown state {}: this program is too old for the daemon", request.state),
        state => {
            let name = state.as_str_name();
            text::safe(name.strip_prefix("REQUEST_STATE_").unwrap_or(name)).to_lowercase()
        }
    }
}
