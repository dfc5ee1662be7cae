//! What clients ask, from bytes to answers: parse and verify outside the queue, then decide.
//!
//! Invariant: signatures are verified here, on the caller's task, with keys of the charter in force; the queue decides
//! authority anew against the newest state.

use std::{sync::Arc, time::Duration};

use super::{Decided, Engine, EngineError};
use crate::{
    domain::{
        Command, Refusal, State,
        charter::Charter,
        event::Actor,
        id::RequestId,
        request::Life,
        review::SignedReview,
        statement::{MAX_STATEMENT_BYTES, SignedAboutRequest, SignedGrant, SignedVerdict},
    },
    jose::{GeneralJws, Typ},
};

/// The longest that a redemption waits; the transport allows a call a little more.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Engine {
    fn parse(bytes: &[u8]) -> Result<GeneralJws, EngineError> {
        Ok(GeneralJws::parse(bytes, MAX_STATEMENT_BYTES).map_err(Refusal::from)?)
    }

    /// The charter in force. Shared, so that signatures are verified without holding up the queue.
    pub fn charter(&self) -> Result<Arc<Charter>, EngineError> {
        Ok(self.read(State::shared_charter).ok_or(Refusal::NoCharter)?)
    }

    /// Files a request.
    pub async fn file(&self, actor: Actor, jws: &[u8]) -> Result<(RequestId, Decided), EngineError> {
        let signed = SignedGrant::verify(Self::parse(jws)?, &*self.charter()?)?;
        let id = signed.id();
        Ok((id, self.submit(actor, Command::File(Box::new(signed))).await?))
    }

    /// Records the custodians' signatures that a statement over a grant carries; the requester's own is passed over.
    pub async fn judge(&self, actor: Actor, id: RequestId, jws: &[u8]) -> Result<Vec<Decided>, EngineError> {
        let jws = Self::parse(jws)?;
        let charter = self.charter()?;
        if crate::domain::grant::Grant::id_of(&jws.payload) != id {
            return Err(Refusal::RequestUnknown(id).into());
        }
        let verdicts = jws.signatures.into_iter().filter(|signature| signature.header().typ != Typ::Request);
        let mut decided = Vec::new();
        for signature in verdicts {
            let signed = SignedVerdict::verify(&jws.payload, signature, &charter)?;
            decided.push(self.submit(actor.clone(), Command::Judge(Box::new(signed))).await?);
        }
        if decided.is_empty() {
            return Err(Refusal::NotAVerdict.into());
        }
        Ok(decided)
    }

    /// Takes a request back.
    pub async fn withdraw(&self, actor: Actor, jws: &[u8]) -> Result<RequestId, EngineError> {
        let signed = SignedAboutRequest::verify(Self::parse(jws)?, &*self.charter()?, Typ::Withdrawal)?;
        let id = signed.about().request_id;
        self.submit(actor, Command::Withdraw(Box::new(signed))).await?;
        Ok(id)
    }

    /// Records what a custodian found about a use.
    pub async fn review(&self, actor: Actor, jws: &[u8]) -> Result<Decided, EngineError> {
        let signed = SignedReview::verify(Self::parse(jws)?, &*self.charter()?, Typ::Review)?;
        self.submit(actor, Command::Review(Box::new(signed))).await
    }

    /// Hands out the encrypted token. Waits for one that is authorized; answers at once for one that is not.
    pub async fn redeem(
        &self,
        actor: Actor,
        jws: &[u8],
        wait: Duration,
    ) -> Result<(RequestId, String), EngineError> {
        let signed = SignedAboutRequest::verify(Self::parse(jws)?, &*self.charter()?, Typ::Redeem)?;
        let id = signed.about().request_id;
        let not_yet = |state| EngineError::NotYet { state, setback: self.setback(&id) };
        let waits = match self.state_of(&id) {
            "pending" => return Err(not_yet("pending")),
            "authorized" if wait.is_zero() => return Err(not_yet("authorized")),
            state => state == "authorized",
        };
        let queued = self.enqueue(actor, Command::Redeem(Box::new(signed)), waits)?;
        if waits {
            // A release that is decided in the moment in which the caller's time is over stays in the log: redeeming
            // again is what he does then.
            let answer = tokio::time::timeout(wait.min(LONGEST_WAIT), queued.answer());
            answer.await.unwrap_or(Err(not_yet("authorized")))?;
        } else {
            queued.answer().await?;
        }
        let jwe = self.read(|state| match state.request(&id).map(crate::domain::request::Request::life) {
            Some(Life::Issued { jwe, .. }) => Some(jwe.clone()),
            _ => None,
        });
        Ok((id, jwe.ok_or(Refusal::WrongState("expired"))?))
    }
}
