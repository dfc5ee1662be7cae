//! Commands: what can be asked of the core. Statements in them are verified already; authority is still to be decided.

use super::{
    charter::Charter,
    check_in::SignedCheckIn,
    event::Failure,
    evidence::Evidence,
    gate::{Enforced, SignedUses},
    genesis::{SignedAnnouncement, SignedCancellation},
    id::{InstanceId, KillId, PrincipalId, RequestId},
    kill::{SignedKill, SignedLift},
    probe::Answer,
    proposal::{SignedProposal, SignedRetraction},
    review::SignedReview,
    statement::{SignedAboutRequest, SignedGrant, SignedVerdict},
    time::Timestamp,
    transcript::SignedTranscript,
};
use crate::jose::{Digest, Signature};

/// One thing that is asked.
#[derive(Debug, Clone)]
pub enum Command {
    /// Put the first charter in force.
    Adopt {
        /// Pinned and signed.
        charter: Box<Charter>,
        /// Evidence for its devices.
        evidence: Vec<Evidence>,
    },
    /// Propose the next charter, or adopt it at once if enough people have signed it.
    Propose {
        /// The document under signatures.
        proposal: Box<SignedProposal>,
        /// Evidence for its new devices.
        evidence: Vec<Evidence>,
    },
    /// Sign a proposed charter.
    Sign {
        /// Digest of the document.
        proposal: Digest,
        /// Verified when it is decided, with all the others.
        signature: Box<Signature>,
    },
    /// Take a proposed charter back.
    Retract(Box<SignedRetraction>),
    /// Announce a new chain in place of this one.
    Announce(Box<SignedAnnouncement>),
    /// End such an announcement.
    Cancel(Box<SignedCancellation>),
    /// Record the transcript of a ceremony.
    Record(Box<SignedTranscript>),
    /// Record that a custodian's device can be reached.
    CheckIn(Box<SignedCheckIn>),
    /// Stop something.
    Kill(Box<SignedKill>),
    /// End kills.
    Lift(Box<SignedLift>),
    /// Record what a custodian found about a use.
    Review(Box<SignedReview>),
    /// Record what a gate let pass.
    Report(Box<SignedUses>),
    /// Record how a kill came to be enforced.
    Enforced(Box<Enforced>),
    /// A daemon process begins to serve.
    Start {
        /// Version of the program.
        version: String,
    },
    /// No signing device holds this issuing key any more.
    KeyDestroyed {
        /// Which key.
        kid: Digest,
        /// Whether it was there until now.
        found: bool,
    },
    /// File a request.
    File(Box<SignedGrant>),
    /// Approve or deny.
    Judge(Box<SignedVerdict>),
    /// Take a request back.
    Withdraw(Box<SignedAboutRequest>),
    /// Fetch the encrypted token.
    Redeem(Box<SignedAboutRequest>),
    /// End a token that somebody handed in; whether he had it is judged before.
    Revoke {
        /// Which request.
        request: RequestId,
        /// The verifier that showed its secret.
        by: Option<PrincipalId>,
    },
    /// The HSM signed.
    Issued {
        /// Which request.
        request: RequestId,
        /// Digest of the compact JWT.
        jwt: Digest,
        /// The encrypted JWT.
        jwe: String,
    },
    /// The issuance came to nothing.
    Fail {
        /// Which request.
        request: RequestId,
        /// Why.
        reason: Failure,
    },
    /// Have another issuing key sign for an authorized request.
    Move {
        /// Which request.
        request: RequestId,
        /// The other key.
        kid: Digest,
    },
    /// Work on a request that another process left.
    TakeOver {
        /// Which request.
        request: RequestId,
    },
    /// Have a canary signed that the charter in force wants.
    Canary {
        /// Who is to be shown it.
        verifier: PrincipalId,
        /// The issuing key.
        kid: Digest,
    },
    /// The HSM signed a canary.
    CanaryIssued {
        /// Who is to be shown it.
        verifier: PrincipalId,
        /// The issuing key.
        kid: Digest,
        /// Digest of the compact JWT.
        jwt: Digest,
        /// The encrypted JWT.
        jwe: String,
    },
    /// A verifier was shown a canary.
    Probed {
        /// Who.
        verifier: PrincipalId,
        /// The issuing key.
        kid: Digest,
        /// What it answered.
        answer: Answer,
        /// The kill of the key that was in force when it was asked.
        kill: Option<KillId>,
    },
    /// A verifier's revocation hook was told of a kill.
    HookTold {
        /// Whose hook.
        verifier: PrincipalId,
        /// The kill.
        kill: KillId,
        /// What it answered; acceptance means that it took it.
        answer: Answer,
    },
    /// End what has reached its deadline.
    Tick,
    /// Record refused attempts.
    Refused {
        /// Start of the minute.
        minute: Timestamp,
        /// Whose.
        peer: Option<Digest>,
        /// The stable reason.
        reason: String,
        /// How many.
        count: u64,
    },
    /// Record the digest of a snapshot.
    Snapshot {
        /// Entries folded into it.
        size: u64,
        /// Root of the tree of that size.
        root: Digest,
        /// Digest of the snapshot's bytes.
        digest: Digest,
    },
}

/// What a decision depends on besides state and command: all that is not a function of them.
#[derive(Debug, Clone)]
pub struct Context {
    /// The time of the decision, which is that of its entries.
    pub now: Timestamp,
    /// The index that the first entry of the decision will have.
    pub index: u64,
    /// The daemon process that decides.
    pub instance: InstanceId,
}
