//! What goes on all the time: tokens are counted as they are issued, devices and log are examined, checkpoints made.
//!
//! Invariants: canary signatures go to a device one after the other, so that one that hangs costs one thread; a
//! token is counted once.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{sync::broadcast::error::RecvError, sync::watch, task::JoinHandle};

use super::Settings;
use crate::{
    domain::{
        State,
        decide::signing_keys,
        id::{PersonId, RequestId},
        request::{Life, Outcome, Request},
    },
    engine::Engine,
    hsm::HsmError,
    jose::{Digest, TokenAlg},
    store::AppendError,
    telemetry::{Canary, Device, Metrics},
};

/// Seconds before its end at which a charter's successor is due.
const EXPIRY_NOTICE: i64 = 14 * 86_400;
/// How often that is said.
const EXPIRY_EVERY: Duration = Duration::from_hours(6);
/// How often custodians' keys are looked at that were not seen for long.
const REMIND_EVERY: Duration = Duration::from_hours(24);

/// Watches until it is dropped.
pub(super) async fn run(
    engine: Engine,
    metrics: Arc<Metrics>,
    settings: Settings,
    log_fault: watch::Sender<Option<&'static str>>,
    published: watch::Sender<bool>,
) {
    tokio::join!(
        issuances(&engine, &metrics),
        examine(&engine, &metrics, &settings, Device::Issuing),
        examine(&engine, &metrics, &settings, Device::Log),
        writable(&engine, &settings, &log_fault),
        publish(&engine, &settings, &published),
        expiry(&engine),
        readiness(&engine),
    );
}

/// Says it in good time, and again and again, when the charter is about to expire: after that only a new one helps.
async fn expiry(engine: &Engine) {
    loop {
        let now = engine.now().seconds();
        let left = engine.read(|state| state.charter().map(|charter| charter.document().expires_at - now));
        match left {
            Some(left) if left <= 0 => {
                tracing::error!("the charter has expired: nothing is decided but a new charter");
            }
            Some(left) if left < EXPIRY_NOTICE => {
                tracing::warn!(days = left / 86_400, "the charter is about to expire: its successor is due");
            }
            _ => {}
        }
        for (by, days) in engine.read(announced) {
            tracing::error!(%by, days, "ALARM: a new chain is announced in place of this one: see breakglass genesis status");
        }
        if engine.read(|state| state.replacement().ended().is_some()) {
            tracing::error!(
                "ALARM: this chain has ended, and another has taken its place: nothing is issued any more"
            );
        }
        tokio::time::sleep(EXPIRY_EVERY).await;
    }
}

/// Reminds of custodians' keys that were not seen for long: who needs them should not find out in the night.
async fn readiness(engine: &Engine) {
    loop {
        let now = engine.now().seconds();
        let watched = engine.read(|state| {
            let charter = state.charter();
            charter.map(|charter| state.sightings().watched(charter, now)).unwrap_or_default()
        });
        for key in watched.iter().filter(|key| key.is_due(now)) {
            let days = key.seen.map(|seen| (now - seen.at) / 86_400);
            tracing::warn!(
                serial = key.serial,
                person = %key.person,
                days,
                "a custodian's key was not seen for long: he should run breakglass check-in"
            );
        }
        let overdue = engine.read(|state| state.reviews().overdue(now));
        if overdue > 0 {
            tracing::warn!(
                overdue,
                "uses of emergency access were not reviewed in time: breakglass review lists them"
            );
        }
        tokio::time::sleep(REMIND_EVERY).await;
    }
}

/// Who has announced a new chain, and how many days ago.
fn announced(state: &State) -> Vec<(PersonId, u32)> {
    state.replacement().announced().iter().map(|one| (one.by.clone(), one.days)).collect()
}

/// Counts what is issued, and how long it took.
async fn issuances(engine: &Engine, metrics: &Metrics) {
    let mut changes = engine.changes();
    // What was issued before this process watched is not its own.
    let mut counted: HashSet<RequestId> =
        engine.read(|state| state.requests().filter(|request| is_issued(request)).map(Request::id).collect());
    loop {
        match changes.recv().await {
            Ok(id) => count(engine, metrics, id, &mut counted),
            Err(RecvError::Lagged(_)) => {
                let issued: Vec<RequestId> = engine.read(|state| {
                    state.requests().filter(|request| is_issued(request)).map(Request::id).collect()
                });
                for id in issued {
                    count(engine, metrics, id, &mut counted);
                }
                counted.retain(|id| engine.read(|state| state.request(id).is_some()));
            }
            // The engine has stopped; nothing more will happen.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn is_issued(request: &Request) -> bool {
    matches!(request.life(), Life::Issued { .. })
}

fn count(engine: &Engine, metrics: &Metrics, id: RequestId, counted: &mut HashSet<RequestId>) {
    enum Found {
        Issued(i64),
        Failed,
        Over,
        Other,
    }
    let found = engine.read(|state| match (state.request(&id).map(Request::life), state.closed(&id)) {
        (Some(Life::Issued { authorization, .. }), _) => Found::Issued(authorization.since.millis()),
        (None, Some(closed)) if matches!(closed.outcome, Outcome::Failed(_)) => Found::Failed,
        (None, _) => Found::Over,
        _ => Found::Other,
    });
    match found {
        Found::Issued(since) if counted.insert(id) => {
            let took = u64::try_from(engine.now().millis() - since).unwrap_or(0);
            metrics.issued(Duration::from_millis(took));
        }
        Found::Failed => {
            counted.remove(&id);
            metrics.issuance_failed();
        }
        Found::Over => {
            counted.remove(&id);
        }
        Found::Issued(_) | Found::Other => {}
    }
}

/// Has a device make canary signatures, again and again.
async fn examine(engine: &Engine, metrics: &Metrics, settings: &Settings, device: Device) {
    loop {
        let mut attempt = canaries(engine, device);
        let canary = match tokio::time::timeout(settings.canary, &mut attempt).await {
            Ok(Ok(Ok(latency))) => Canary::Healthy { latency },
            Ok(Ok(Err(error))) => {
                let cause = &error as &dyn std::error::Error;
                tracing::warn!(device = device.as_str(), error = cause, "the canary failed");
                Canary::Failed { reason: error.reason() }
            }
            Ok(Err(_)) => Canary::Failed { reason: "HSM_FAULT" },
            Err(_) => {
                tracing::warn!(device = device.as_str(), "the device does not answer");
                Canary::Failed { reason: "HSM_SILENT" }
            }
        };
        metrics.canary(device, canary);
        if !attempt.is_finished() {
            // One that hangs is waited for: more of them would only hold more threads.
            let _ = attempt.await;
        }
        tokio::time::sleep(settings.canary_every).await;
    }
}

/// One canary signature with each key that would sign now; the answer is the slowest one's time.
fn canaries(engine: &Engine, device: Device) -> JoinHandle<Result<Duration, HsmError>> {
    let keys = engine.keys().clone();
    let kids: Vec<(Digest, TokenAlg)> = match device {
        Device::Issuing => engine.read(|state| {
            // Not one that was killed: it is about to be destroyed, and its absence is no fault.
            let keys = signing_keys(state, state.last().seconds()).into_iter();
            keys.map(|key| (key.key.thumbprint(), key.key.alg())).collect()
        }),
        Device::Log => Vec::new(),
    };
    tokio::task::spawn_blocking(move || match device {
        Device::Log => Ok(keys.log.health()?.latency),
        Device::Issuing => kids.iter().try_fold(Duration::ZERO, |slowest, (kid, alg)| {
            Ok(slowest.max(keys.issuing.health(kid, *alg)?.latency))
        }),
    })
}

/// Asks the log again and again whether it would take an entry; an append of nothing writes nothing.
async fn writable(engine: &Engine, settings: &Settings, fault: &watch::Sender<Option<&'static str>>) {
    loop {
        let found = engine.store().writable().await.err();
        fault.send_replace(found.as_ref().map(AppendError::reason));
        tokio::time::sleep(settings.canary_every).await;
    }
}

/// Keeps the newest checkpoint near the end of the log, so that what outsiders see does not wait for an issuance.
async fn publish(engine: &Engine, settings: &Settings, published: &watch::Sender<bool>) {
    loop {
        match engine.checkpoint(engine.store().size()).await {
            Ok(_) => {
                published.send_replace(true);
            }
            // The device's canary tells operators; this is tried again.
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no new checkpoint"),
        }
        tokio::time::sleep(settings.checkpoint_every).await;
    }
}
