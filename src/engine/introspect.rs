//! What verifiers ask about tokens, and the end of tokens that somebody hands in.
//!
//! Invariant: signatures are verified on the caller's task, outside the state; what the state says is read in one moment, so an
//! answer is true of one point of the log. A kill that the log has not taken counts like any other.

use super::{Engine, EngineError};
use crate::domain::{
    Command, Refusal,
    charter::Verifier,
    event::Actor,
    introspection::{Presented, Told, examine, examine_own},
};

impl Engine {
    /// What this verifier of the charter in force is told of a token; or the stable reason why it does not count for it,
    /// which is for the operator and not for whoever asks.
    pub fn introspect(&self, verifier: &Verifier, jwt: &str) -> Result<Told, &'static str> {
        let (charter, now) = (self.charter().map_err(|_| "NO_CHARTER")?, self.now().seconds());
        let presented = examine(&charter, verifier, jwt, now)?;
        self.stands(&presented, now)?;
        Ok(presented.told())
    }

    fn stands(&self, presented: &Presented, now: i64) -> Result<(), &'static str> {
        let unrecorded = self.unrecorded();
        self.read(|state| presented.stands(state, &unrecorded, now))
    }

    /// Ends a token that somebody hands in: a verifier one of its own audience, anybody else any that he has. What does not
    /// count has ended already; the answer is the stable reason for that, or that it ended now.
    pub async fn revoke(
        &self,
        by: Option<&Verifier>,
        jwt: &str,
    ) -> Result<Result<(), &'static str>, EngineError> {
        let (charter, now) = (self.charter()?, self.now().seconds());
        let presented = match by {
            Some(verifier) => examine(&charter, verifier, jwt, now),
            None => examine_own(&charter, jwt, now),
        };
        let presented = match presented.and_then(|presented| self.stands(&presented, now).map(|()| presented))
        {
            Ok(presented) => presented,
            Err(reason) => return Ok(Err(reason)),
        };
        // A canary ends with its key: it opens nothing, and the daemon needs it.
        let Some(request) = presented.request() else { return Ok(Err("CANARY")) };
        let command = Command::Revoke { request, by: by.map(|verifier| verifier.id.clone()) };
        match self.submit(Actor::Peer { key: None }, command).await {
            Ok(_) => Ok(Ok(())),
            // It ended between the two looks at it.
            Err(EngineError::Refused(Refusal::WrongState(_) | Refusal::RequestUnknown(_))) => {
                Ok(Err("ENDED"))
            }
            Err(error) => Err(error),
        }
    }
}
