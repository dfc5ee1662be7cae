//! A proposed charter: the next version while it collects signatures, and the statements that move it.
//!
//! Invariants: a proposal follows the charter in force, or it is no more; whoever signs it signs the whole document, so a
//! signature given here counts wherever the document is submitted. Nobody can end another's proposal: it is withdrawn by
//! its author, lapses, or a version is adopted. (A single objection that ended it would let anybody block his own
//! removal.)

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    charter::{Charter, CharterError, Rules, SIGNING_WINDOW, Tally},
    grant::MAX_GRANT_BYTES,
    id::{Issuer, Nonce, PersonId},
    refusal::Refusal,
    statement::SignedAbout,
    time::Timestamp,
};
use crate::jose::{Digest, GeneralJws, JoseError, Signature, json};

/// A document that may follow the charter in force, with the signatures so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Proposal {
    rules: Arc<Rules>,
    statement: GeneralJws,
    author: PersonId,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    statement: GeneralJws,
    author: PersonId,
    at: Timestamp,
}

impl From<Proposal> for Stored {
    fn from(proposal: Proposal) -> Self {
        Self { statement: proposal.statement, author: proposal.author, at: proposal.at }
    }
}

impl TryFrom<Stored> for Proposal {
    type Error = CharterError;
    fn try_from(stored: Stored) -> Result<Self, CharterError> {
        let rules = Arc::new(Rules::parse(&stored.statement.payload)?);
        Ok(Self { rules, statement: stored.statement, author: stored.author, at: stored.at })
    }
}

impl PartialEq for Proposal {
    fn eq(&self, other: &Self) -> bool {
        (&self.statement, &self.author, self.at) == (&other.statement, &other.author, other.at)
    }
}

impl Eq for Proposal {}

impl Proposal {
    /// As recorded; the author is whose signature stands first.
    pub(super) fn recorded(charter: &Charter, statement: GeneralJws, at: Timestamp) -> Option<Self> {
        let rules = Arc::new(charter.draft(&statement.payload, at.seconds()).ok()?);
        let author = author(charter, &statement)?;
        Some(Self { rules, statement, author, at })
    }

    /// One more signature.
    pub(super) fn signed(&mut self, signature: Signature) {
        self.statement.signatures.push(signature);
    }

    /// The proposed rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The proposed rules, to be kept beyond the state's next change.
    #[must_use]
    pub fn shared_rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules)
    }

    /// The document under the signatures so far.
    #[must_use]
    pub fn statement(&self) -> &GeneralJws {
        &self.statement
    }

    /// Who proposed it, and may take it back.
    #[must_use]
    pub fn author(&self) -> &PersonId {
        &self.author
    }

    /// When it was proposed.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Unix seconds at which it can be signed no more.
    #[must_use]
    pub fn deadline(&self) -> i64 {
        deadline(&self.rules)
    }
}

/// Unix seconds from which on nobody can sign this document any more.
#[must_use]
pub fn deadline(rules: &Rules) -> i64 {
    let document = rules.document();
    document.issued_at.saturating_add(SIGNING_WINDOW).min(document.expires_at)
}

/// The custodian or recovery custodian of the charter in force whose signature stands first.
fn author(charter: &Charter, statement: &GeneralJws) -> Option<PersonId> {
    let first = statement.signatures.first()?;
    charter.holder(&first.header().kid)?.keeper(first.header().iat)
}

/// A successor with one signature or more, all of them verified.
#[derive(Debug, Clone)]
pub struct SignedProposal {
    statement: GeneralJws,
    rules: Arc<Rules>,
    tally: Tally,
    author: Option<PersonId>,
    /// The version it was verified against.
    base: Digest,
}

impl SignedProposal {
    /// Checks the document, and verifies every signature under it. `at`: now, Unix seconds.
    pub fn verify(statement: GeneralJws, charter: &Charter, at: i64) -> Result<Self, Refusal> {
        let actual = statement.to_json().len();
        let limit = super::charter::MAX_CHARTER_BYTES;
        if actual > limit {
            return Err(Refusal::Statement(JoseError::TooLong { limit, actual }));
        }
        let rules = charter.draft(&statement.payload, at)?;
        let tally = charter.tally(&rules, &statement, at)?;
        let author = author(charter, &statement);
        Ok(Self { statement, rules: Arc::new(rules), tally, author, base: charter.digest() })
    }

    /// The document under its signatures.
    #[must_use]
    pub fn statement(&self) -> &GeneralJws {
        &self.statement
    }

    /// The proposed rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Who has signed, and what is missing.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The custodian of the version in force whose signature stands first, if it is one's.
    #[must_use]
    pub fn author(&self) -> Option<&PersonId> {
        self.author.as_ref()
    }

    /// Digest of the version against which it was verified.
    #[must_use]
    pub fn base(&self) -> Digest {
        self.base
    }
}

/// What an author says to take a proposal back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AboutProposal {
    /// The issuer.
    pub iss: Issuer,
    /// Digest of the charter in force.
    pub charter: Digest,
    /// Digest of the document proposed.
    pub proposal: Digest,
    /// 128 random bits.
    pub nonce: Nonce,
}

/// A proposal taken back, under its author's signature.
pub type SignedRetraction = SignedAbout<AboutProposal>;

/// Which proposal a recorded retraction is about.
pub(super) fn proposal_of(statement: &GeneralJws) -> Result<Digest, JoseError> {
    let about: AboutProposal = json::parse(&statement.payload, MAX_GRANT_BYTES)?;
    Ok(about.proposal)
}
