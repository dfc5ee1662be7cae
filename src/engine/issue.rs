//! From an authorization to a token: checkpoint, signature, self-check, encryption, record.
//!
//! Invariants: nothing is signed that is not in the log and under a signed checkpoint; what the device signed is
//! verified with the charter's key before it goes anywhere; the JWT exists in the clear only in this module's memory,
//! and is zeroized. A device that fails is asked again until the token would have expired, unless a standby key can sign (`failover`).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use zeroize::Zeroizing;

use super::{Engine, EngineError, Setback};
use crate::{
    domain::{
        Command,
        claims::{Claims, LogPosition},
        event::{Event, Failure},
        id::RequestId,
        request::{Authorization, Life},
    },
    jose::{CompactJwt, Digest, IssuingPublicKey, P256PublicKey, jwe},
};

/// Waits between attempts of a failing device.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Threads that wait for the devices at a time: as many as a token usually has sessions.
const LANES: usize = 4;
/// Requests that one of them takes: fewer hops between threads under load, and no long wait behind a slow device.
const SHARE: usize = 8;

/// Where the queue leaves what is to be signed.
pub(super) struct Issuer {
    work: mpsc::UnboundedSender<RequestId>,
    instance: crate::domain::id::InstanceId,
}

impl Issuer {
    pub(super) fn new(engine: &Engine) -> (Self, mpsc::UnboundedReceiver<RequestId>) {
        // Unbounded, but no longer than the number of open requests, which the core limits.
        let (work, todo) = mpsc::unbounded_channel();
        (Self { work, instance: engine.shared.instance.clone() }, todo)
    }

    /// Takes up what this process was named for.
    pub(super) fn notice(&self, event: &Event) {
        if let Event::IssuanceAuthorized { request_id, instance, .. }
        | Event::IssuanceTakenOver { request_id, instance } = event
            && *instance == self.instance
        {
            let _stopping = self.work.send(*request_id);
        }
    }
}

/// Serves the issuer's work until the queue is gone, several requests at a time.
pub(super) async fn run(engine: Engine, mut todo: mpsc::UnboundedReceiver<RequestId>) {
    let lanes = Arc::new(Semaphore::new(LANES));
    let mut running = tokio::task::JoinSet::new();
    // While all lanes are taken, work gathers, and the next share is larger.
    while let Ok(lane) = Arc::clone(&lanes).acquire_owned().await {
        let Some(first) = todo.recv().await else { break };
        let mut share = vec![first];
        while share.len() < SHARE
            && let Ok(more) = todo.try_recv()
        {
            share.push(more);
        }
        running.spawn(serve(engine.clone(), share, Arc::clone(&lanes), lane));
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
}

/// Has these requests signed, again and again those that fail.
async fn serve(
    engine: Engine,
    mut ids: Vec<RequestId>,
    lanes: Arc<Semaphore>,
    mut lane: OwnedSemaphorePermit,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        for id in &ids {
            engine.pass_on(id).await;
        }
        let failed = attempt(&engine, &ids).await;
        let all_lasting = failed.values().all(|failed| failed.lasting);
        ids.retain(|id| {
            let again = failed.contains_key(id) && engine.state_of(id) == "authorized";
            if !again {
                engine.shared.setbacks.forget(id);
            }
            again
        });
        if ids.is_empty() || engine.latch().reason().is_some() {
            return;
        }
        let mut moved = true;
        for id in &ids {
            let issuing = failed.get(id).is_some_and(|failed| failed.issuing);
            moved &= issuing && engine.fail_over(id).await;
        }
        if moved {
            continue;
        }
        // Others may have a device that answers.
        drop(lane);
        // What only a person can heal is not asked for in haste.
        pause = if all_lasting { LONGEST_PAUSE } else { pause };
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        let Ok(again) = Arc::clone(&lanes).acquire_owned().await else { return };
        lane = again;
    }
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy)]
struct Failed {
    /// Time alone will not heal it.
    lasting: bool,
    /// It was the device of the issuing key.
    issuing: bool,
}

/// One attempt at each. Returns those that failed.
async fn attempt(engine: &Engine, ids: &[RequestId]) -> HashMap<RequestId, Failed> {
    let (worker, share) = (engine.clone(), ids.to_vec());
    let is_covered = Arc::new(AtomicBool::new(false));
    let reached = Arc::clone(&is_covered);
    let signed = engine.with_devices(move |turn| {
        // What is authorized is durable: one checkpoint over the log as it is now covers the whole share.
        let covered = worker.cover(worker.shared.store.size());
        drop(turn);
        covered?;
        reached.store(true, Ordering::Relaxed);
        Ok(share.into_iter().map(|id| (id, sign(&worker, &id))).collect::<Vec<_>>())
    });
    let signed = match signed.await {
        Ok(signed) => signed,
        Err(error) => {
            // Beyond the checkpoint only the issuing device is asked.
            let issuing = is_covered.load(Ordering::Relaxed);
            let failed = |id: &RequestId| Failed { lasting: held_up(engine, *id, &error), issuing };
            return ids.iter().map(|id| (*id, failed(id))).collect();
        }
    };
    let record = |command: Option<Command>| {
        command.map(|command| engine.enqueue(engine.daemon(), command, false)).transpose()
    };
    // All are queued before the first is waited for, so that one transaction takes them.
    let queued: Vec<_> = signed.into_iter().map(|(id, command)| (id, command.and_then(record))).collect();
    let mut failed = HashMap::new();
    for (id, queued) in queued {
        let recorded = match queued {
            Ok(Some(queued)) => queued.answer().await.map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            let issuing = matches!(error, EngineError::Hsm(_));
            failed.insert(id, Failed { lasting: held_up(engine, id, &error), issuing });
        }
    }
    failed
}

/// Says what failed, and whether time alone will not heal it.
fn held_up(engine: &Engine, id: RequestId, error: &EngineError) -> bool {
    let setback = Setback::of(error);
    let is_news = engine.shared.setbacks.note(id, setback);
    let (error, reason) = (error as &dyn std::error::Error, setback.reason);
    if setback.lasting && is_news {
        tracing::error!(request = %id, reason, error, "issuance failed, and this does not heal by itself: look at the signing device");
    } else {
        tracing::warn!(request = %id, reason, error, "issuance failed; trying again");
    }
    setback.lasting
}

/// What is needed to sign, taken from the durable state.
struct Work {
    claims: Vec<u8>,
    key: IssuingPublicKey,
    redeem_key: P256PublicKey,
}

/// Signs, checks, encrypts; blocks. The command that records it, or `None` when there is nothing more to do.
#[tracing::instrument(name = "engine.issue", skip_all, fields(request = %id))]
fn sign(engine: &Engine, id: &RequestId) -> Result<Option<Command>, EngineError> {
    let Some(authorization) = authorization(engine, id) else { return Ok(None) };
    if authorization.exp <= engine.now().seconds() {
        return Ok(None); // The tick ends it.
    }
    let Some(work) = work(engine, id, &authorization)? else {
        return Ok(Some(Command::Fail { request: *id, reason: Failure::NoKey }));
    };
    let Some(jwt) = signed(engine, &work.key, &work.claims)? else {
        return Ok(Some(Command::Fail { request: *id, reason: Failure::SignatureInvalid }));
    };
    let jwe = jwe::encrypt(jwt.as_bytes(), &work.redeem_key, &ring::rand::SystemRandom::new())
        .map_err(crate::domain::Refusal::from)?;
    Ok(Some(Command::Issued { request: *id, jwt: Digest::of(jwt.as_bytes()), jwe }))
}

/// The claims as a JWT under this key, verified; blocks. `None`, and the latch is closed, if the device signed something else.
pub(super) fn signed(
    engine: &Engine,
    key: &IssuingPublicKey,
    claims: &[u8],
) -> Result<Option<Zeroizing<String>>, EngineError> {
    if engine.has_unrecorded() {
        return Err(EngineError::Unrecorded);
    }
    let (alg, kid) = (key.alg(), key.thumbprint());
    let input = Zeroizing::new(CompactJwt::signing_input(alg, &kid, claims));
    let signature = engine.shared.keys.issuing.sign(&kid, alg, input.as_bytes())?;
    engine.shared.resting.forget(&kid);
    if key.verify(input.as_bytes(), &signature).is_err() {
        engine
            .shared
            .latch
            .close("the issuing device made a signature that does not verify with the charter's key");
        return Ok(None);
    }
    Ok(Some(Zeroizing::new(CompactJwt::assemble(&input, &signature))))
}

fn authorization(engine: &Engine, id: &RequestId) -> Option<Authorization> {
    engine.read(|state| match state.request(id)?.life() {
        Life::Authorized(authorization) if authorization.instance == engine.shared.instance => {
            Some(authorization.clone())
        }
        _ => None,
    })
}

/// Computes the claims again and holds them against the log; `None` if the charter has no such key any more.
fn work(engine: &Engine, id: &RequestId, authorization: &Authorization) -> Result<Option<Work>, EngineError> {
    engine.read(|state| {
        let Some(request) = state.request(id) else { return Ok(None) };
        let grant = request.grant();
        // That of the grant: a newer one has ended what it does not honour.
        let Some(charter) = state.charter_named(&grant.charter) else { return Ok(None) };
        let (Some(key), Some(log)) =
            (charter.accepted_key(&authorization.kid, &grant.profile), charter.document().log_keys.first())
        else {
            return Ok(None);
        };
        let permit = charter.permits(grant).map_err(crate::domain::Refusal::from)?;
        let position = LogPosition { origin: log.origin.clone(), index: authorization.index };
        let approvals = request.with_signatures(&authorization.approvals);
        let (iat, status) = (authorization.iat, authorization.status);
        let claims = Claims::new(grant, &permit, approvals, iat, position, status);
        let claims = claims.to_bytes().map_err(crate::domain::Refusal::from)?;
        if Digest::of(&claims) != authorization.claims {
            engine.shared.latch.close("the claims of an authorized request differ from those in the log");
            return Err(EngineError::Latched("claims differ".into()));
        }
        Ok(Some(Work { claims, key: key.key.clone(), redeem_key: grant.redeem_key }))
    })
}
