//! Who asks about a token: a verifier of the charter that shows its secret, or nobody that is known.
//!
//! Invariants: a secret is compared as a digest, in the same time whatever it is; whoever shows the right one never counts as a
//! stranger, so that no flood of wrong ones keeps him out; wrong ones are counted for the audit log, one entry a minute.
//!
//! Spec: RFC 6749 section 2.3.1 (`client_secret_basic`, `client_secret_post`).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    Settings,
    form::{self, Form},
};
use crate::{
    domain::{Command, charter::Verifier, event::Actor, time::Timestamp},
    engine::{
        Engine,
        quota::{Client, Exhausted, Quotas, Refusals},
    },
};

/// A charter names 64 verifiers at most.
const MOST_VERIFIERS: usize = 128;
/// Minutes of refusals that wait for the log.
const MOST_REFUSALS: usize = 64;
/// How often refusals are recorded.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// What is known of those who ask.
#[derive(Debug)]
pub(super) struct Desk {
    verifiers: Mutex<Quotas>,
    strangers: Mutex<Quotas>,
    refusals: Mutex<Refusals>,
}

/// Who asks.
pub(super) enum Caller {
    /// A verifier.
    Verifier(Box<Verifier>),
    /// Somebody without any credentials.
    Nobody,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// What was sent is no such request.
    Invalid(StatusCode),
    /// The credentials are wrong, or missing where they are needed.
    Credentials,
    /// Asked too often.
    TooOften(Duration),
    /// The daemon cannot serve it now.
    Unable(&'static str),
}

impl Unanswered {
    /// The answer, as RFC 6749 section 5.2 has it.
    pub(super) fn response(self) -> Response {
        let error = |status: StatusCode, error| (status, Json(json!({"error": error}))).into_response();
        match self {
            Self::Invalid(status) => error(status, "invalid_request"),
            Self::Credentials => {
                let mut response = error(StatusCode::UNAUTHORIZED, "invalid_client");
                let challenge = HeaderValue::from_static("Basic realm=\"breakglass\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                response
            }
            Self::TooOften(after) => {
                let mut response = error(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable");
                let seconds = after.as_secs().saturating_add(1);
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                response
            }
            Self::Unable(reason) => {
                let body = json!({"error": "temporarily_unavailable", "error_description": reason});
                (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
            }
        }
    }
}

impl From<Exhausted> for Unanswered {
    fn from(exhausted: Exhausted) -> Self {
        Self::TooOften(exhausted.retry_after)
    }
}

impl Desk {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            verifiers: Mutex::new(Quotas::new(settings.verifiers, MOST_VERIFIERS)),
            strangers: Mutex::new(Quotas::new(settings.strangers, 1)),
            refusals: Mutex::new(Refusals::new(MOST_REFUSALS)),
        }
    }

    /// Who asks, by header or form, but not by both.
    pub(super) fn caller(
        &self,
        engine: &Engine,
        headers: &HeaderMap,
        form: &Form,
    ) -> Result<Caller, Unanswered> {
        let in_form = form.contains_key("client_secret");
        let shown = match (headers.get(header::AUTHORIZATION), in_form) {
            (Some(_), true) => return Err(Unanswered::Invalid(StatusCode::BAD_REQUEST)),
            (Some(value), false) => basic(value),
            (None, true) => form.get("client_id").cloned().zip(form.get("client_secret").cloned()),
            (None, false) => return Ok(Caller::Nobody),
        };
        let Some(verifier) = shown.and_then(|(id, secret)| find(engine, &id, secret.as_bytes())) else {
            lock(&self.refusals).note(None, "VERIFIER_CREDENTIALS", engine.now().seconds());
            self.stranger()?;
            return Err(Unanswered::Credentials);
        };
        let key: Client = verifier.secret;
        lock(&self.verifiers).take(key, Instant::now())?;
        Ok(Caller::Verifier(Box::new(verifier)))
    }

    /// Lets a stranger ask, if not too many have.
    pub(super) fn stranger(&self) -> Result<(), Unanswered> {
        Ok(lock(&self.strangers).take(None, Instant::now())?)
    }

    /// Records refusals as their minutes end; never returns.
    pub(super) async fn keep(&self, engine: &Engine) {
        loop {
            tokio::time::sleep(HOUSEKEEPING).await;
            self.record(engine, false).await;
        }
    }

    /// Writes counted refusals into the log: those of minutes that are over, or all of them at the end.
    pub(super) async fn record(&self, engine: &Engine, all: bool) {
        let drained = {
            let mut refusals = lock(&self.refusals);
            if all { refusals.drain_all() } else { refusals.drain(engine.now().seconds()) }
        };
        for refused in drained {
            for (reason, count) in refused.reasons {
                let minute = Timestamp::from_seconds(refused.minute.saturating_mul(60));
                let command =
                    Command::Refused { minute, peer: refused.client, reason: reason.to_owned(), count };
                let actor = Actor::Daemon { instance: engine.instance().clone() };
                if let Err(error) = engine.submit(actor, command).await {
                    tracing::warn!(%error, reason, count, "refused credentials could not be recorded");
                }
            }
        }
    }
}

/// The verifier of this id, if this is its secret.
fn find(engine: &Engine, id: &str, secret: &[u8]) -> Option<Verifier> {
    engine.read(|state| {
        let verifiers = &state.charter()?.document().verifiers;
        let found = verifiers.iter().find(|verifier| verifier.id.as_str() == id)?;
        found.secret.filter(|digest| digest.is_of_secret(secret))?;
        Some(found.clone())
    })
}

/// Id and secret of an `Authorization: Basic`; both may be percent-encoded.
fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((form::decode(id.as_bytes())?, form::decode(secret.as_bytes())?))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
