//! `WatchKills`: everything that is killed, and then whatever comes.
//!
//! Invariants: the subscription is taken before the first look, so that nothing is missed in between; a heartbeat is sent
//! only after every step up to its head. A watch has no task and no queue of its own: it is asked for its next message when the
//! client has room for it, so a slow reader costs what a fast one does.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_stream::Stream;
use tonic::{Request, Status};

use super::feed::{Feed, Messages, message};
use super::{KillSwitch, v1, view};
use crate::domain::charter::Holder;
use crate::domain::id::{GateId, IdError};
use crate::domain::kill::Head;
use crate::engine::GateGuard;
use crate::grpc::end::End;
use crate::grpc::front::{Entered, Front};
use crate::grpc::places::Place;
use crate::grpc::roster::Caller;
use crate::grpc::server::Rank;
use crate::grpc::status::{Kind, ServiceError};
use crate::grpc::time::instant;
use crate::jose::Digest;
use v1::watch_kills_response::Event;

/// Interval of heartbeats: three of them fit the ten seconds after which a gate refuses.
const HEARTBEAT: Duration = Duration::from_secs(3);

type Told = Result<v1::WatchKillsResponse, Status>;

/// The next message, and whoever waits for the one after it.
type Turn = Pin<Box<dyn Future<Output = (Told, Option<Watcher>)> + Send>>;

/// A stream of what is killed.
pub(in crate::grpc) struct Watch {
    /// The message that is being waited for, with all that the next one needs; nothing once the stream has ended.
    turn: Option<Turn>,
}

impl Stream for Watch {
    type Item = Told;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Told>> {
        let Some(turn) = self.turn.as_mut() else { return Poll::Ready(None) };
        let Poll::Ready((told, watcher)) = turn.as_mut().poll(context) else { return Poll::Pending };
        self.turn = watcher.map(|watcher| Box::pin(watcher.turn()) as _);
        Poll::Ready(Some(told))
    }
}

impl KillSwitch {
    pub(super) fn watch(&self, request: &Request<v1::WatchKillsRequest>) -> Result<Watch, Status> {
        let entered = self.front.enter(request)?;
        let place = self.front.watch_place(&entered.caller)?;
        let gate = self.gate(&entered, &request.get_ref().gate)?;
        let mut beats = tokio::time::interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watcher = Watcher {
            news: self.front.engine.killed(),
            front: Arc::clone(&self.front),
            feed: Arc::clone(&self.feed),
            caller: entered.caller,
            known: request.get_ref().after.as_ref().and_then(view::parse_head),
            unrecorded: Vec::new(),
            messages: Vec::new().into(),
            sent: 0,
            apart: VecDeque::new(),
            beats,
            _place: place,
            _gate: gate,
        };
        Ok(Watch { turn: Some(Box::pin(watcher.turn())) })
    }
}

impl KillSwitch {
    /// Enters a gate among those that are there. Only a verifier's name says anything.
    fn gate(&self, entered: &Entered, name: &str) -> Result<Option<GateGuard>, Status> {
        if name.is_empty() || entered.caller.rank != Rank::Verifier {
            return Ok(None);
        }
        let gate: GateId = name.parse().map_err(|error: IdError| {
            ServiceError::new(Kind::InvalidArgument, "GATE_NAME", error.to_string())
        })?;
        let spki = |holder: &&Holder| Digest::of(&holder.key.spki_der()) == entered.caller.key;
        let kid = entered.charter.holders().find(spki).map(|holder| holder.key.thumbprint());
        let watches = |kid| self.front.engine.gate_watches((kid, gate), &entered.caller.principal);
        Ok(kid.and_then(watches))
    }
}

struct Watcher {
    front: Arc<Front>,
    feed: Arc<Feed>,
    news: watch::Receiver<u64>,
    caller: Caller,
    /// The head after the last step that was sent or is in `messages`.
    known: Option<Head>,
    /// Kills that were sent without being recorded.
    unrecorded: Vec<Digest>,
    /// What is being sent, shared with other watches, and how much of it was.
    messages: Messages,
    sent: usize,
    /// What comes after it.
    apart: VecDeque<v1::WatchKillsResponse>,
    beats: tokio::time::Interval,
    _place: Place,
    _gate: Option<GateGuard>,
}

impl Watcher {
    /// Waits for the next message.
    async fn turn(mut self) -> (Told, Option<Self>) {
        match self.next().await {
            Ok(message) => (Ok(message), Some(self)),
            Err(End::Told(error)) => (Err(error.into()), None),
            Err(End::Gone) => (Err(Status::cancelled("the client is gone")), None),
        }
    }

    async fn next(&mut self) -> Result<v1::WatchKillsResponse, End> {
        loop {
            if let Some(message) = self.messages.get(self.sent) {
                self.sent += 1;
                return Ok(message.clone());
            }
            if let Some(message) = self.apart.pop_front() {
                return Ok(message);
            }
            tokio::select! {
                biased;
                () = self.front.stopped() => return Err(End::stopping()),
                news = self.news.changed() => news.map_err(|_| End::stopping())?,
                // The first beat comes at once and closes the initial state.
                _ = self.beats.tick() => {}
            }
            self.collect()?;
        }
    }

    /// Whatever was not sent yet, and a heartbeat after it.
    fn collect(&mut self) -> Result<(), End> {
        // Asked before the look, so that nothing recorded until then is missing.
        let at = self.front.still(&self.caller).map_err(End::Told)?.now;
        let tail = self.feed.tail(&self.front.engine);
        let steps = self.known.and_then(|known| tail.since(known));
        self.messages = steps.unwrap_or_else(|| tail.snapshot());
        self.sent = 0;
        self.known = Some(tail.head());
        let told = std::mem::take(&mut self.unrecorded);
        for (digest, message) in tail.unrecorded() {
            if !told.contains(digest) && !self.unrecorded.contains(digest) {
                self.apart.push_back(message.clone());
            }
            self.unrecorded.push(*digest);
        }
        let head = Some(view::head(tail.head()));
        let beat = v1::KillHeartbeat { at: Some(instant(at)), epoch: tail.epoch(), head };
        self.apart.push_back(message(Event::Heartbeat(beat)));
        Ok(())
    }
}
