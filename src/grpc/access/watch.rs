//! `WatchRequests`: requests as they stand, and again whenever they change.
//!
//! Invariant: the newest state of a matching request is never missed. The subscription is taken before the first look,
//! and a watcher that lags looks at everything again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{Access, parse_id, v1};
use crate::domain::id::RequestId;
use crate::domain::time::Timestamp;
use crate::grpc::end::End;
use crate::grpc::front::{Entered, Front};
use crate::grpc::places::Place;
use crate::grpc::roster::Caller;
use crate::grpc::status::{Kind, ServiceError};
use crate::grpc::time::instant;
use v1::watch_requests_response::Event;

/// Interval of heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Requests that can be named.
const MAX_IDS: usize = 64;
/// Events that wait for a slow reader before the watch waits with it.
const BUFFER: usize = 16;

pub(super) type Watch = ReceiverStream<Result<v1::WatchRequestsResponse, Status>>;

impl Access {
    pub(super) fn watch(&self, request: &Request<v1::WatchRequestsRequest>) -> Result<Watch, Status> {
        let entered = self.front.enter(request)?;
        let message = request.get_ref();
        if message.request_ids.len() > MAX_IDS {
            let text = "at most 64 requests can be named: watch all of them instead";
            return Err(ServiceError::new(Kind::InvalidArgument, "TOO_MANY_IDS", text).into());
        }
        let ids = message.request_ids.iter().map(|id| parse_id(id)).collect::<Result<BTreeSet<_>, _>>()?;
        let place = self.front.stream_place(&entered.caller)?;
        let (events, receiver) = mpsc::channel(BUFFER);
        let watcher = Watcher {
            access: Self::new(Arc::clone(&self.front)),
            changes: self.front.engine.changes(),
            caller: entered.caller,
            ids,
            only_mine: message.only_mine,
            events,
            _place: place,
        };
        tokio::spawn(watcher.run());
        Ok(ReceiverStream::new(receiver))
    }
}

struct Watcher {
    access: Access,
    changes: broadcast::Receiver<RequestId>,
    caller: Caller,
    ids: BTreeSet<RequestId>,
    only_mine: bool,
    events: mpsc::Sender<Result<v1::WatchRequestsResponse, Status>>,
    _place: Place,
}

impl Watcher {
    async fn run(mut self) {
        if let Err(End::Told(error)) = self.follow().await {
            // An error means that the client is gone.
            drop(self.events.send(Err(error.into())).await);
        }
    }

    async fn follow(&mut self) -> Result<(), End> {
        let stopped = self.front().stopped();
        tokio::pin!(stopped);
        let mut beats = tokio::time::interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.send_all().await?;
        loop {
            tokio::select! {
                changed = self.changes.recv() => match changed {
                    Ok(id) => self.send(id).await?,
                    Err(broadcast::error::RecvError::Lagged(_)) => self.send_all().await?,
                    Err(broadcast::error::RecvError::Closed) => return Err(End::stopping()),
                },
                // The first beat comes at once and closes the initial state.
                _ = beats.tick() => {
                    let at = self.entered()?.now;
                    self.tell(Event::Heartbeat(heartbeat(at))).await?;
                }
                () = &mut stopped => return Err(End::stopping()),
                () = self.events.closed() => return Err(End::Gone),
            }
        }
    }

    async fn send_all(&mut self) -> Result<(), End> {
        let ids: Vec<RequestId> = if self.ids.is_empty() {
            self.front().engine.read(|state| {
                let live = state.requests().map(crate::domain::request::Request::id);
                live.chain(state.all_closed().map(|(id, _)| *id)).collect()
            })
        } else {
            self.ids.iter().copied().collect()
        };
        for id in ids {
            self.send(id).await?;
        }
        Ok(())
    }

    async fn send(&mut self, id: RequestId) -> Result<(), End> {
        if !self.ids.is_empty() && !self.ids.contains(&id) {
            return Ok(());
        }
        let entered = self.entered()?;
        let Some(request) = self.access.view(&entered, id) else { return Ok(()) };
        let own = [&request.subject, &request.client_id].contains(&&entered.caller.principal.to_string());
        if self.only_mine && !own {
            return Ok(());
        }
        self.tell(Event::Request(request)).await
    }

    async fn tell(&self, event: Event) -> Result<(), End> {
        let message = v1::WatchRequestsResponse { event: Some(event) };
        self.events.send(Ok(message)).await.map_err(|_| End::Gone)
    }

    /// The caller under the charter and at the time of now.
    fn entered(&self) -> Result<Entered, End> {
        self.front().still(&self.caller).map_err(End::Told)
    }

    fn front(&self) -> &Front {
        &self.access.front
    }
}

fn heartbeat(at: Timestamp) -> v1::Heartbeat {
    v1::Heartbeat { at: Some(instant(at)) }
}
