//! A new chain in place of this one: announced and cancelled, from bytes to answers.

use super::{Decided, Engine, EngineError, blocking};
use crate::{
    domain::{
        Command, Refusal,
        charter::MAX_CHARTER_BYTES,
        event::Actor,
        genesis::{Announcement, SignedAnnouncement, SignedCancellation},
        statement::MAX_STATEMENT_BYTES,
    },
    jose::GeneralJws,
};

impl Engine {
    /// Announces a new chain; returns what waits.
    pub async fn announce_genesis(
        &self,
        actor: Actor,
        jws: &[u8],
        charter: &[u8],
    ) -> Result<Announcement, EngineError> {
        let jws = GeneralJws::parse(jws, MAX_STATEMENT_BYTES).map_err(Refusal::from)?;
        let next = GeneralJws::parse(charter, MAX_CHARTER_BYTES).map_err(Refusal::from)?;
        let rules = self.charter()?;
        let signed = blocking(move || SignedAnnouncement::verify(jws, next, &rules)).await??;
        let digest = signed.digest();
        self.submit(actor, Command::Announce(Box::new(signed))).await?;
        let announced = self.read(|state| state.replacement().announcement(&digest).cloned());
        Ok(announced.ok_or(Refusal::GenesisUnknown(digest))?)
    }

    /// Cancels an announcement.
    pub async fn cancel_genesis(&self, actor: Actor, jws: &[u8]) -> Result<Decided, EngineError> {
        let jws = GeneralJws::parse(jws, MAX_STATEMENT_BYTES).map_err(Refusal::from)?;
        let signed = SignedCancellation::verify(jws, &*self.charter()?)?;
        self.submit(actor, Command::Cancel(Box::new(signed))).await
    }
}
