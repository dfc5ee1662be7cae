//! `WatchKills`: everything that is killed, and then whatever comes.
//!
//! Invariants: the subscription is taken before the first look, so that nothing is missed in between; a heartbeat is sent
//! only after every kill up to its epoch.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{KillSwitch, v1, view};
use crate::domain::time::Timestamp;
use crate::grpc::end::End;
use crate::grpc::front::Front;
use crate::grpc::places::Place;
use crate::grpc::roster::Caller;
use crate::grpc::time::instant;
use crate::jose::Digest;
use v1::watch_kills_response::Event;

/// Interval of heartbeats: three of them fit the ten seconds after which a gate refuses.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Events that wait for a slow reader before the watch waits with it.
const BUFFER: usize = 16;

pub(super) type Watch = ReceiverStream<Result<v1::WatchKillsResponse, Status>>;

impl KillSwitch {
    pub(super) fn watch(&self, request: &Request<v1::WatchKillsRequest>) -> Result<Watch, Status> {
        let entered = self.front.enter(request)?;
        let place = self.front.stream_place(&entered.caller)?;
        let (events, receiver) = mpsc::channel(BUFFER);
        let watcher = Watcher {
            news: self.front.engine.killed(),
            front: Arc::clone(&self.front),
            caller: entered.caller,
            epoch: request.get_ref().after_epoch,
            lifts: Vec::new(),
            unrecorded: Vec::new(),
            events,
            _place: place,
        };
        tokio::spawn(watcher.run());
        Ok(ReceiverStream::new(receiver))
    }
}

struct Watcher {
    front: Arc<Front>,
    news: watch::Receiver<u64>,
    caller: Caller,
    /// The newest kill that was sent.
    epoch: u64,
    /// Lifts that were sent, of those that still matter.
    lifts: Vec<Digest>,
    /// Kills that were sent without being recorded.
    unrecorded: Vec<Digest>,
    events: mpsc::Sender<Result<v1::WatchKillsResponse, Status>>,
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
        let stopped = self.front.stopped();
        tokio::pin!(stopped);
        let mut beats = tokio::time::interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut stopped => return Err(End::stopping()),
                () = self.events.closed() => return Err(End::Gone),
                news = self.news.changed() => {
                    news.map_err(|_| End::stopping())?;
                    self.send().await?;
                    self.beat().await?;
                }
                // The first beat comes at once and closes the initial state.
                _ = beats.tick() => {
                    self.send().await?;
                    self.beat().await?;
                }
            }
        }
    }

    /// Whatever was not sent yet: kills in their order, then lifts.
    async fn send(&mut self) -> Result<(), End> {
        let kills = self.front.engine.kills();
        let unrecorded = self.front.engine.unrecorded();
        for recorded in kills.standing().filter(|recorded| recorded.epoch > self.epoch) {
            self.tell(Event::Kill(view::kill(recorded))).await?;
        }
        self.epoch = self.epoch.max(kills.epoch());
        let mut lifts = Vec::new();
        for lifted in kills.lifts() {
            let digest = Digest::of(&lifted.statement.payload);
            if !self.lifts.contains(&digest) {
                self.tell(Event::Lift(view::lift(lifted))).await?;
            }
            lifts.push(digest);
        }
        // Those that are not current any more need not be remembered.
        self.lifts = lifts;
        let mut waiting = Vec::new();
        for statement in &unrecorded {
            let digest = Digest::of(&statement.payload);
            if !self.unrecorded.contains(&digest) && !waiting.contains(&digest) {
                self.tell(Event::Kill(view::unrecorded(statement))).await?;
            }
            waiting.push(digest);
        }
        self.unrecorded = waiting;
        Ok(())
    }

    async fn beat(&self) -> Result<(), End> {
        let at = self.front.still(&self.caller).map_err(End::Told)?.now;
        self.tell(Event::Heartbeat(heartbeat(at, self.epoch))).await
    }

    async fn tell(&self, event: Event) -> Result<(), End> {
        let message = v1::WatchKillsResponse { event: Some(event) };
        self.events.send(Ok(message)).await.map_err(|_| End::Gone)
    }
}

fn heartbeat(at: Timestamp, epoch: u64) -> v1::KillHeartbeat {
    v1::KillHeartbeat { at: Some(instant(at)), epoch }
}
