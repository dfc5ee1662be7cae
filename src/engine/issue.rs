//! From an authorization to a token: checkpoint, signature, self-check, encryption, record.
//!
//! Invariants: nothing is signed that is not in the log and under a signed checkpoint; what the device signed is
//! verified with the charter's key before it goes anywhere; the JWT exists in the clear only in this module's memory,
//! and is zeroized. A device that fails is asked again until the token would have expired.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::{Engine, EngineError, Setback, blocking};
use crate::{
    domain::{
        Command,
        claims::{Claims, LogPosition},
        event::{Event, Failure},
        id::RequestId,
        request::{Authorization, Life},
    },
    jose::{CompactJwt, Digest, P256PublicKey, jwe},
};

/// Waits between attempts of a failing device.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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
    let mut running = tokio::task::JoinSet::new();
    while let Some(first) = todo.recv().await {
        let mut batch = vec![first];
        while let Ok(more) = todo.try_recv() {
            batch.push(more);
        }
        // One checkpoint covers the whole batch: all of it is durable by now.
        let size = engine.shared.store.size();
        let covered = engine.checkpoint(size).await;
        if let Err(error) = &covered {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "no checkpoint yet; each request tries again"
            );
        }
        for id in batch {
            let engine = engine.clone();
            let mut covered = covered.is_ok();
            running.spawn(async move {
                let mut pause = FIRST_PAUSE;
                while let Err(error) = attempt(&engine, id, &mut covered).await {
                    let lasting = held_up(&engine, id, &error);
                    if engine.state_of(&id) != "authorized" || engine.latch().reason().is_some() {
                        break;
                    }
                    // What only a person can heal is not asked for in haste.
                    pause = if lasting { LONGEST_PAUSE } else { pause };
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                engine.shared.setbacks.forget(&id);
            });
        }
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
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
    key: P256PublicKey,
    redeem_key: P256PublicKey,
}

/// One attempt; `Ok` when there is nothing more to do.
#[tracing::instrument(name = "engine.issue", skip_all, fields(request = %id))]
async fn attempt(engine: &Engine, id: RequestId, covered: &mut bool) -> Result<(), EngineError> {
    let Some(authorization) = authorization(engine, &id) else { return Ok(()) };
    if authorization.exp <= engine.now().seconds() {
        return Ok(()); // The tick ends it.
    }
    let Some(work) = work(engine, &id, &authorization)? else {
        return fail(engine, id, Failure::NoKey).await;
    };
    if !*covered {
        engine.checkpoint(authorization.index + 1).await?;
        *covered = true;
    }
    let input = Zeroizing::new(CompactJwt::signing_input(&authorization.kid, &work.claims));
    let device = Arc::clone(&engine.shared.keys.issuing);
    let (kid, digest) = (authorization.kid, Digest::of(input.as_bytes()));
    let signature = blocking(move || device.sign_es256(&kid, digest.as_bytes())).await??;
    if work.key.verify(input.as_bytes(), &signature).is_err() {
        engine
            .shared
            .latch
            .close("the issuing device made a signature that does not verify with the charter's key");
        return fail(engine, id, Failure::SignatureInvalid).await;
    }
    let jwt = Zeroizing::new(CompactJwt::assemble(&input, &signature));
    let jwe = jwe::encrypt(jwt.as_bytes(), &work.redeem_key, &ring::rand::SystemRandom::new())
        .map_err(crate::domain::Refusal::from)?;
    let command = Command::Issued { request: id, jwt: Digest::of(jwt.as_bytes()), jwe };
    engine.submit(engine.daemon(), command).await?;
    Ok(())
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
        let (Some(charter), Some(request)) = (state.charter(), state.request(id)) else { return Ok(None) };
        let grant = request.grant();
        let (Some(key), Some(log)) =
            (charter.accepted_key(&authorization.kid, &grant.profile), charter.document().log_keys.first())
        else {
            return Ok(None);
        };
        let permit = charter.permits(grant).map_err(crate::domain::Refusal::from)?;
        let position = LogPosition { origin: log.origin.clone(), index: authorization.index };
        let approvals = request.with_signatures(&authorization.approvals);
        let claims = Claims::new(grant, &permit, approvals, authorization.iat, position);
        let claims = claims.to_bytes().map_err(crate::domain::Refusal::from)?;
        if Digest::of(&claims) != authorization.claims {
            engine.shared.latch.close("the claims of an authorized request differ from those in the log");
            return Err(EngineError::Latched("claims differ".into()));
        }
        Ok(Some(Work { claims, key: key.key, redeem_key: grant.redeem_key }))
    })
}

async fn fail(engine: &Engine, id: RequestId, reason: Failure) -> Result<(), EngineError> {
    engine.submit(engine.daemon(), Command::Fail { request: id, reason }).await?;
    Ok(())
}
