//! Following one daemon: connect, fetch newer charters, hear of kills; and again, whenever that ends.
//!
//! Invariant: whatever a daemon does or sends, the worst that comes of it is a view that grows old.

use std::{borrow::Cow, convert::Infallible, sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;

use crate::{
    client::{
        Channel, ClientError, Dial,
        kills::{Follower, News},
    },
    domain::{
        charter::{Charter, MAX_CHARTER_BYTES, Rules, Versions},
        refusal::Refusal,
        statement::MAX_STATEMENT_BYTES,
        time::Timestamp,
    },
    gate::{
        Gate,
        acks::Fresh,
        clock::Moment,
        keep::{Keep, KeepError},
    },
    grpc::{
        time::timestamp,
        tls::{Identity, IdentityError},
        v1::{self, watch_kills_response::Event},
    },
    jose::{Digest, GeneralJws, JoseError},
};

/// Pause before the second attempt; it doubles with each, and a part of it is left to chance, so that a thousand gates do not
/// come back at the same instant.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause: a daemon that comes back has its gates back before they grow stale.
const LAST_PAUSE: Duration = Duration::from_secs(4);
/// A stream on which nothing comes for so long is dead; heartbeats come every three seconds.
const SILENCE: Duration = Duration::from_secs(10);
/// How often newer charters are asked for, besides whenever something is not understood.
const CHARTERS_EVERY: Duration = Duration::from_secs(10);
/// Kills of single tokens that can matter no more are forgotten so often.
const FORGET_EVERY_MILLIS: i64 = 3_600_000;

/// Why following ended.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("the gate's certificate and key cannot be used")]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the daemon sent something that is no charter")]
    Charter(#[from] JoseError),
    #[error("the daemon's charters do not follow from those held here")]
    Keep(#[from] KeepError),
    #[error("the daemon tells of kills what does not follow or does not verify")]
    Refused(#[from] Refusal),
    #[error("the daemon said nothing for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the daemon ended the stream")]
    Ended,
}

/// Follows the daemon of this number for ever.
pub(in crate::gate) async fn follow(gate: Arc<Gate>, daemon: usize, address: String) {
    let (mut pause, mut quiet) = (FIRST_PAUSE, false);
    let mut line = Line {
        gate: &gate,
        daemon,
        address: &address,
        kills: Follower::default(),
        fresh: Fresh::default(),
        heard: false,
        forgot: 0,
    };
    loop {
        let Err(why) = line.listen().await;
        gate.metrics.connected(&address, false);
        gate.links.down(daemon);
        if std::mem::take(&mut line.heard) {
            (pause, quiet) = (FIRST_PAUSE, false);
        }
        say(&address, &why, quiet);
        quiet = true;
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Once aloud, then quietly until it works again.
fn say(daemon: &str, why: &FollowError, quiet: bool) {
    let error = why as &dyn std::error::Error;
    if quiet {
        tracing::debug!(daemon, error, "the daemon cannot be followed");
    } else {
        tracing::warn!(daemon, error, "the daemon cannot be followed; trying again");
    }
}

/// Between half and all of it.
fn jittered(pause: Duration) -> Duration {
    let chance = getrandom::u32().unwrap_or(u32::MAX);
    pause.mul_f64(0.5 + f64::from(chance) / f64::from(u32::MAX) / 2.0)
}

/// Every version of the gate's chain.
struct Chain<'a> {
    charter: Arc<Charter>,
    keep: &'a Keep,
}

impl Versions for Chain<'_> {
    fn newest(&self) -> &Rules {
        &self.charter
    }

    fn named(&self, digest: &Digest) -> Option<(usize, Cow<'_, Rules>)> {
        let place = self.keep.place(digest)?;
        if *digest == self.charter.digest() {
            return Some((place, Cow::Borrowed(&self.charter)));
        }
        Some((place, Cow::Owned(self.keep.rules(digest)?)))
    }
}

/// What is known of one daemon, from connection to connection.
struct Line<'a> {
    gate: &'a Arc<Gate>,
    daemon: usize,
    address: &'a str,
    kills: Follower,
    fresh: Fresh,
    /// Whether there was a heartbeat that counts, on this connection.
    heard: bool,
    /// Monotonic milliseconds.
    forgot: i64,
}

impl Line<'_> {
    async fn listen(&mut self) -> Result<Infallible, FollowError> {
        let config = &self.gate.config;
        let identity = Identity::from_files(&config.certificate, &config.key)?;
        let charter = self.gate.view.known().charter;
        let pins = charter.document().daemons.iter().map(|daemon| daemon.spki).collect();
        let channel = Channel::connect(Dial::new(self.address, pins, Some(identity))).await?;
        self.catch_up(&channel).await?;
        loop {
            let Err(why) = self.watch(&channel).await;
            // Perhaps somebody signed whom only a newer charter knows.
            if !matches!(why, FollowError::Refused(_)) || !self.catch_up(&channel).await? {
                return Err(why);
            }
        }
    }

    async fn watch(&mut self, channel: &Channel) -> Result<Infallible, FollowError> {
        let name = self.gate.config.name.to_string();
        let request = v1::WatchKillsRequest { gate: name, ..self.kills.request() };
        let mut stream = channel.kill().watch_kills(request).await.map_err(ClientError::from)?.into_inner();
        self.gate.metrics.connected(self.address, true);
        self.gate.links.up(self.daemon, channel.clone());
        self.fresh.greet();
        let mut charters = tokio::time::interval(CHARTERS_EVERY);
        charters.set_missed_tick_behavior(MissedTickBehavior::Delay);
        charters.reset();
        loop {
            let message = tokio::select! {
                message = tokio::time::timeout(SILENCE, stream.message()) => message,
                _ = charters.tick() => {
                    // No reason to stop hearing of kills; whatever is wrong, the stream tells sooner.
                    if let Err(why) = self.catch_up(channel).await {
                        say(self.address, &why, true);
                    }
                    continue;
                }
            };
            let message = message.map_err(|_| FollowError::Silent)?.map_err(ClientError::from)?;
            self.take(message.ok_or(FollowError::Ended)?, channel)?;
        }
    }

    fn take(&mut self, message: v1::WatchKillsResponse, channel: &Channel) -> Result<(), FollowError> {
        let (gate, now) = (self.gate, Moment::now());
        let charter = gate.view.known().charter;
        let chain = Chain { charter, keep: &gate.keep };
        let at = match &message.event {
            Some(Event::Heartbeat(beat)) => beat.at.as_ref().map(timestamp),
            Some(Event::Kill(kill)) if kill.recorded_at.is_none() => {
                self.unrecorded(kill, &chain, now)?;
                None
            }
            _ => None,
        };
        match self.kills.take(message, &chain, now.seconds()) {
            Ok(News::Nothing) => {}
            Ok(News::Lifted) => gate.view.show(self.daemon, self.kills.kills()),
            Ok(News::Killed(digest)) => {
                gate.view.show(self.daemon, self.kills.kills());
                self.fresh.add(digest);
            }
            Ok(News::Complete) => {
                if self.complete(at.unwrap_or_default(), now) {
                    self.acknowledge(channel)?;
                }
            }
            Err(refusal) => {
                gate.metrics.unverified();
                return Err(refusal.into());
            }
        }
        Ok(())
    }

    /// In force beside all views, so that it stays if this daemon goes.
    fn unrecorded(&self, kill: &v1::Kill, chain: &Chain<'_>, now: Moment) -> Result<(), FollowError> {
        let jws = GeneralJws::parse(&kill.jws, MAX_STATEMENT_BYTES)?;
        if let Err(refusal) = self.gate.view.kill(jws, chain.newest(), now) {
            tracing::debug!(
                daemon = self.address,
                error = &refusal as &dyn std::error::Error,
                "not taken beside the views"
            );
        }
        Ok(())
    }

    /// Says what is enforced since the last time.
    fn acknowledge(&mut self, channel: &Channel) -> Result<(), FollowError> {
        let kills = self.kills.kills();
        if let Some(named) = self.fresh.take(kills) {
            self.gate.send_ack(channel.clone(), &self.gate.acknowledge(named, kills)?);
        }
        Ok(())
    }

    /// All up to here was shown; whether it counts.
    fn complete(&mut self, at: Timestamp, now: Moment) -> bool {
        if now.monotonic.saturating_sub(self.forgot) > FORGET_EVERY_MILLIS {
            self.forgot = now.monotonic;
            self.kills.forget(now.seconds());
        }
        let (gate, kills) = (self.gate, self.kills.kills());
        let (epoch, highest) = (kills.epoch(), gate.keep.epoch());
        if epoch < highest {
            gate.metrics.behind();
            let what = "the daemon knows fewer kills than this gate has seen: its word does not count";
            tracing::warn!(daemon = self.address, epoch, highest, what);
            return false;
        }
        if let Err(error) = gate.keep.reached(epoch) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "the kill epoch could not be kept: after a restart an older one would be believed"
            );
        }
        gate.view.show(self.daemon, kills);
        gate.view.heard(self.daemon, at.millis(), now);
        // What a daemon has shown recorded or lifted meanwhile need not be kept here.
        if let Err(error) = gate.direct.keep(&gate.view.known().unrecorded) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "kills that no log has could not be kept: a restart would forget them");
        }
        self.heard = true;
        true
    }

    /// Fetches newer versions of the charter; whether there was one.
    async fn catch_up(&self, channel: &Channel) -> Result<bool, FollowError> {
        let mut next = u64::from(self.gate.keep.version()) + 1;
        let mut news = false;
        while next != 0 {
            let request = v1::ListChartersRequest { first_version: next };
            let page = match channel.charter().list_charters(request).await.map_err(ClientError::from) {
                Ok(page) => page.into_inner(),
                // There is no newer one.
                Err(error) if error.reason == "CHARTER_VERSION_UNKNOWN" => break,
                Err(error) => return Err(error.into()),
            };
            let statements: Result<Vec<_>, _> = page
                .charters
                .iter()
                .map(|charter| GeneralJws::parse(&charter.jws, MAX_CHARTER_BYTES))
                .collect();
            news |= self.gate.keep.extend(statements?, Moment::now().seconds())?;
            next = page.next_version;
        }
        if news {
            let charter = self.gate.keep.charter();
            tracing::info!(version = charter.document().version, "a newer charter is in force");
            self.gate.view.set_charter(charter);
        }
        Ok(news)
    }
}
