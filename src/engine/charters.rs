//! The chain of charters: what is proposed and signed, from bytes to answers, and the versions as the log holds them.
//!
//! Invariant: a document is parsed and its signatures are verified before the queue sees them; the queue counts anew.

use super::{Decided, Engine, EngineError, blocking};
use crate::{
    domain::{
        Command, Refusal, State,
        charter::{Charter, MAX_CHARTER_BYTES, verify_chain},
        check_in::SignedCheckIn,
        event::{Actor, Entry, Event},
        evidence::Evidence,
        proposal::{Proposal, SignedProposal, SignedRetraction},
        state::Adopted,
        statement::MAX_STATEMENT_BYTES,
        transcript::{MAX_SIGNED_BYTES, SignedTranscript},
    },
    jose::{Digest, GeneralJws, Typ},
    store::SqliteStore,
};

/// What became of a document that was submitted.
#[derive(Debug, Clone)]
pub enum Standing {
    /// It is the charter in force.
    InForce,
    /// It collects signatures.
    Proposed(Box<Proposal>),
}

impl Engine {
    /// Proposes a charter, or signs one that is proposed already; adopted as soon as its signatures suffice.
    pub async fn propose(
        &self,
        actor: Actor,
        jws: &[u8],
        evidence: Vec<Evidence>,
    ) -> Result<Standing, EngineError> {
        let statement = GeneralJws::parse(jws, MAX_CHARTER_BYTES).map_err(Refusal::from)?;
        let digest = Digest::of(&statement.payload);
        if let Ok(Standing::Proposed(_)) = self.standing(&digest) {
            return self.sign(actor, statement).await;
        }
        let charter = self.charter()?;
        if charter.digest() == digest {
            return Ok(Standing::InForce);
        }
        let at = self.now().seconds();
        let verified = blocking(move || SignedProposal::verify(statement, &charter, at)).await??;
        let command = Command::Propose { proposal: Box::new(verified), evidence };
        self.submit(actor, command).await?;
        self.standing(&digest)
    }

    /// Adds signatures to a proposed charter; those it has already are passed over.
    pub async fn sign_charter(&self, actor: Actor, jws: &[u8]) -> Result<Standing, EngineError> {
        let statement = GeneralJws::parse(jws, MAX_CHARTER_BYTES).map_err(Refusal::from)?;
        self.sign(actor, statement).await
    }

    async fn sign(&self, actor: Actor, statement: GeneralJws) -> Result<Standing, EngineError> {
        let digest = Digest::of(&statement.payload);
        for signature in statement.signatures {
            let Standing::Proposed(proposal) = self.standing(&digest)? else { break };
            let kid = signature.header().kid;
            if proposal.statement().signatures.iter().any(|held| held.header().kid == kid) {
                continue;
            }
            let alone = GeneralJws {
                payload: proposal.statement().payload.clone(),
                signatures: vec![signature.clone()],
            };
            self.charter()?.tally(proposal.rules(), &alone, self.now().seconds()).map_err(Refusal::from)?;
            let command = Command::Sign { proposal: digest, signature: Box::new(signature) };
            self.submit(actor.clone(), command).await?;
        }
        self.standing(&digest)
    }

    /// Takes a proposed charter back.
    pub async fn retract(&self, actor: Actor, jws: &[u8]) -> Result<Decided, EngineError> {
        let jws = GeneralJws::parse(jws, MAX_STATEMENT_BYTES).map_err(Refusal::from)?;
        let signed = SignedRetraction::verify(jws, &*self.charter()?, Typ::Retraction)?;
        self.submit(actor, Command::Retract(Box::new(signed))).await
    }

    /// Records the transcript of a ceremony.
    pub async fn record(&self, actor: Actor, jws: &[u8]) -> Result<(Digest, Decided), EngineError> {
        let jws = GeneralJws::parse(jws, MAX_SIGNED_BYTES).map_err(Refusal::from)?;
        let digest = Digest::of(&jws.payload);
        let signed = SignedTranscript::verify(jws, &*self.charter()?)?;
        Ok((digest, self.submit(actor, Command::Record(Box::new(signed))).await?))
    }

    /// Records that a custodian's device can be reached.
    pub async fn check_in(&self, actor: Actor, jws: &[u8]) -> Result<Decided, EngineError> {
        let jws = GeneralJws::parse(jws, MAX_STATEMENT_BYTES).map_err(Refusal::from)?;
        let signed = SignedCheckIn::verify(jws, &*self.charter()?, Typ::CheckIn)?;
        self.submit(actor, Command::CheckIn(Box::new(signed))).await
    }

    fn standing(&self, digest: &Digest) -> Result<Standing, EngineError> {
        let standing = self.read(|state| match (state.charter(), state.proposal(digest)) {
            (Some(charter), _) if charter.digest() == *digest => Some(Standing::InForce),
            (_, Some(proposal)) => Some(Standing::Proposed(Box::new(proposal.clone()))),
            _ => None,
        });
        Ok(standing.ok_or(Refusal::ProposalUnknown(*digest))?)
    }

    /// A version of the charter with its signatures, from the log; versions begin with 1.
    pub async fn charter_version(&self, version: u64) -> Result<Option<GeneralJws>, EngineError> {
        let place = version.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        let adopted = place.and_then(|at| self.read(|state| state.versions().get(at).copied()));
        match adopted {
            Some(adopted) => adopted_at(self.store(), adopted).await.map(Some),
            None => Ok(None),
        }
    }
}

async fn adopted_at(store: &SqliteStore, adopted: Adopted) -> Result<GeneralJws, EngineError> {
    let entry = store.read(adopted.index..adopted.index + 1).next().await?.into_iter().flatten().next();
    let entry = entry.and_then(|bytes| Entry::parse(&bytes).ok()).map(|entry| entry.event);
    match entry {
        Some(Event::CharterAdopted { charter }) if Digest::of(&charter.payload) == adopted.digest => {
            Ok(charter)
        }
        _ => Err(EngineError::Start(format!(
            "entry {} of the log is not the charter that the state names: run breakglass audit verify",
            adopted.index
        ))),
    }
}

/// Follows the chain of charters in the log and holds it against a state that came out of a snapshot.
pub(super) async fn verify(store: &SqliteStore, state: &State) -> Result<(), EngineError> {
    let (Some(charter), Some(first)) = (state.charter(), state.versions().first()) else { return Ok(()) };
    let mut chain = Vec::new();
    for adopted in state.versions() {
        chain.push(adopted_at(store, *adopted).await?);
    }
    let (genesis, at) = (first.digest, state.last().seconds());
    let followed = blocking(move || verify_chain(genesis, chain, at)).await?;
    if followed.is_ok_and(|followed| same(&followed, charter)) {
        return Ok(());
    }
    Err(EngineError::Start(
        "the snapshot holds another charter than the log: remove the snapshots, or run breakglass audit verify"
            .into(),
    ))
}

fn same(one: &Charter, other: &Charter) -> bool {
    let parts = |charter: &Charter| (charter.digest(), charter.effective_from(), charter.lineage().clone());
    parts(one) == parts(other)
}
