//! Why a command is refused: one closed list, each with a stable reason and what to do next.
//!
//! Invariant: a refused command has changed nothing.

mod reason;

use super::{charter::NotPermitted, grant::GrantError, id::RequestId};
use crate::jose::JoseError;

/// Whose move it is after a refusal: what transports turn into their own codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The message cannot be right at any time.
    Invalid,
    /// The sender may not do this.
    Denied,
    /// There is no such thing.
    Missing,
    /// It is there already.
    Duplicate,
    /// Not in this state, or not any more.
    State,
    /// A limit is reached; later it may do.
    Limit,
}

/// Why a command is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no charter yet.
    #[error("no charter is in force; adopt one with breakglassd init --charter FILE --digest D")]
    NoCharter,
    /// There is one already.
    #[error("a charter is in force already; a new one needs a quorum of the one before it")]
    CharterInForce,
    /// It has expired.
    #[error("the charter has expired; only a new charter can be adopted")]
    CharterExpired,
    /// Nobody wants this canary, or it is there.
    #[error("the charter in force wants no canary of {kid} for {verifier}, or there is one already")]
    CanaryNotDue {
        /// Who would be shown it.
        verifier: super::id::PrincipalId,
        /// The issuing key.
        kid: crate::jose::Digest,
    },
    /// Another charter than the one in force.
    #[error("the statement names another charter than the one in force")]
    CharterMismatch,
    /// The log key is another one.
    #[error(
        "the new charter changes the log key or its place: no successor of a log key exists yet; leave the first of log_keys as it is"
    )]
    LogKeyChanged,
    /// It is open already.
    #[error("this charter is proposed already: sign it with breakglass charter sign {0}")]
    ProposalExists(crate::jose::Digest),
    /// One each.
    #[error("{who} has proposed {open} already: each has one proposal at a time; withdraw that one first")]
    ProposalOpen {
        /// Who.
        who: String,
        /// Digest of the one that is open.
        open: crate::jose::Digest,
    },
    /// There is none.
    #[error(
        "no charter {0} is proposed, or it was adopted, withdrawn or overtaken; see breakglass charter proposals"
    )]
    ProposalUnknown(crate::jose::Digest),
    /// Somebody else's.
    #[error("only its author can take a proposed charter back")]
    NotTheAuthor,
    /// Bytes that are no transcript.
    #[error(transparent)]
    Transcript(#[from] super::transcript::TranscriptError),
    /// Somebody signed a transcript that does not name him as present.
    #[error("{0} signed the transcript, but it does not name him among those present")]
    NotPresent(String),
    /// Signatures of people who were present.
    #[error("everybody who was present signs the transcript; missing: {0}")]
    SignaturesMissing(String),
    /// Another chain has taken this one's place.
    #[error(
        "this chain has ended: after seven days of alarms the chain that begins with {0} took its place; run breakglassd init with that charter in a new state directory, and have everybody pin its twelve words"
    )]
    ChainEnded(crate::jose::Digest),
    /// A first charter that does not say what it replaces, or not this.
    #[error("the new first charter is refused: {0}")]
    GenesisRefused(String),
    /// Announced before.
    #[error("this announcement {0} is in the log already")]
    GenesisKnown(crate::jose::Digest),
    /// There is none.
    #[error("no new genesis {0} is announced, or it was cancelled; see breakglass genesis status")]
    GenesisUnknown(crate::jose::Digest),
    /// Too few.
    #[error("no quorum of the charter in force has signed; for the one of governance: {0}")]
    NoQuorum(String),
    /// It was recorded before.
    #[error("the transcript {0} is in the log already")]
    TranscriptKnown(crate::jose::Digest),
    /// An equal check-in, or a newer one, is recorded.
    #[error("this device has checked in since (Unix second {newest}): sign afresh with breakglass check-in")]
    CheckInKnown {
        /// Unix seconds.
        newest: i64,
    },
    /// A bad charter.
    #[error(transparent)]
    Charter(#[from] super::charter::CharterError),
    /// A device's attestation.
    #[error("device {serial}: {why}")]
    Attestation {
        /// The device's serial number.
        serial: u32,
        /// What is wrong with its evidence.
        why: String,
    },
    /// A kill or a lift, or something that was killed.
    #[error(transparent)]
    Kill(#[from] super::kill::KillRefusal),
    /// What a gate says.
    #[error(transparent)]
    Gate(#[from] super::gate::GateRefusal),
    /// A malformed statement, or a signature that does not verify.
    #[error("the statement is refused")]
    Statement(#[from] JoseError),
    /// A malformed grant.
    #[error("the grant is refused")]
    Grant(#[from] GrantError),
    /// More or fewer signatures than one.
    #[error("this statement carries exactly one signature")]
    NotOneSignature,
    /// Not an approval or denial.
    #[error("only approvals and denials can be submitted to a request")]
    NotAVerdict,
    /// A key the charter does not have.
    #[error("the signing key is not in the charter")]
    KeyUnknown,
    /// The signature is not by the key that the grant names.
    #[error("the request is not signed by the key it names")]
    RequesterKeyMismatch,
    /// The charter does not permit the grant.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// The time of signing is off.
    #[error(
        "the time of signing ({signed_at}) is too far from now ({now}); check the clock of the machine that signed"
    )]
    ClockSkew {
        /// Unix seconds.
        signed_at: i64,
        /// Unix seconds.
        now: i64,
    },
    /// The header's iat is not the grant's `requested_at`.
    #[error("the request's iat is not its requested_at")]
    TimesDiffer,
    /// Equal bytes were filed before.
    #[error("a request with these bytes was filed before: {0}")]
    Duplicate(RequestId),
    /// A key that another live request uses.
    #[error("the cnf or redeem key is in use by another request; make a fresh one for each")]
    KeyReused,
    /// Too many at once.
    #[error("{who} has {open} open requests, and {limit} is the most; withdraw one or wait")]
    TooManyOpen {
        /// Whose they are.
        who: String,
        /// How many.
        open: usize,
        /// How many at most.
        limit: usize,
    },
    /// Asked again too soon.
    #[error("the profile has a cooldown: this subject can ask again at {until} (Unix seconds)")]
    Cooldown {
        /// Unix seconds.
        until: i64,
    },
    /// Too large for proxies.
    #[error(
        "the token would have {size} bytes, and {limit} is the most that proxies take; ask for less, or say it shorter"
    )]
    TokenTooLarge {
        /// Bytes it would have.
        size: usize,
        /// Bytes at most.
        limit: usize,
    },
    /// No room for the token in the status list.
    #[error(
        "the status list has no room for another token; tokens that expire make some, so try again later"
    )]
    StatusListFull,
    /// The quorum cannot be reached.
    #[error("with the requester excluded, the custodians in term cannot satisfy the quorum")]
    QuorumImpossible,
    /// No such request.
    #[error("there is no request {0}; list the open ones with breakglass list")]
    RequestUnknown(RequestId),
    /// The request is not in the state that the command needs.
    #[error("the request is {0}")]
    WrongState(&'static str),
    /// Its deadline has passed.
    #[error("the deadline for approvals has passed; file a new request")]
    DeadlinePassed,
    /// The signer is not a custodian of this charter, or not in term.
    #[error("the key belongs to no custodian in term")]
    NotACustodian,
    /// The signer is one of those whose access is asked for.
    #[error("{0} stands behind this request and cannot approve it; another custodian must")]
    SelfApproval(String),
    /// The reviewer is one of those who had the access.
    #[error("{0} stands behind this request and cannot review its use; another custodian must")]
    SelfReview(String),
    /// There is nothing to review.
    #[error(
        "no review is open for {0}: its token was never issued, its profile demands none, or it is complete; see breakglass review"
    )]
    NoReviewOpen(RequestId),
    /// Said before.
    #[error("{0} has signed this request already; each person counts once")]
    AlreadySigned(String),
    /// A custodian who has no seat in the profile's formula.
    #[error("{0} has no seat in the quorum of this profile")]
    NoSeat(String),
    /// Signed at a station, where that does not count.
    #[error("the profile does not accept approvals given at a station")]
    StationForbidden,
    /// Not the requester.
    #[error("only the requester of this request can do that")]
    NotTheRequester,
    /// Fetched too often.
    #[error("the token was redeemed {0} times, and that is the most; file a new request")]
    RedeemedTooOften(u32),
    /// This very redemption was used before.
    #[error("this redemption was used before; sign another one with a fresh nonce")]
    RedemptionUsed,
    /// Too many requests that came to nothing.
    #[error(
        "{who} has {ended} requests that ended without a token and are still remembered, and {limit} is the most; wait"
    )]
    TooManyEnded {
        /// Whose they are.
        who: String,
        /// How many.
        ended: usize,
        /// How many at most.
        limit: usize,
    },
    /// The reason that a daemon gives for a failure is not true.
    #[error("the issuance has not failed for that reason")]
    FailureUnfounded,
    /// The charter has no such other key for the request.
    #[error("the issuing key {0} is no other active key of the request's profile")]
    NoStandby(crate::jose::Digest),
    /// Neither a charter nor a kill has ended this key, or its destruction is recorded already.
    #[error("neither a charter nor a kill has the issuing key {0} destroyed, or that is done")]
    KeyNotToDestroy(crate::jose::Digest),
    /// No canary of the two was signed, or it is forgotten.
    #[error("there is no canary of the issuing key {kid} for {verifier} that could have been shown")]
    CanaryUnknown {
        /// Whom it would be for.
        verifier: super::id::PrincipalId,
        /// Which key.
        kid: crate::jose::Digest,
    },
    /// The hook was told, or nothing of that kill can be left there.
    #[error("{verifier} has no sessions that outlive kill {kill}, or its hook has been told")]
    HookNotDue {
        /// Whose hook.
        verifier: super::id::PrincipalId,
        /// Which kill.
        kill: super::id::KillId,
    },
    /// A snapshot of entries that do not exist.
    #[error("the snapshot claims {size} entries, but the log has {log}")]
    SnapshotAhead {
        /// Entries of the snapshot.
        size: u64,
        /// Entries of the log.
        log: u64,
    },
    /// Another daemon instance works on it.
    #[error("another daemon instance works on this request")]
    AnotherInstance,
    /// The log's clock would go backwards or jump.
    #[error("the clock says {now}, the log's last entry {last}; set the clock right")]
    Clock {
        /// What the clock says.
        now: super::time::Timestamp,
        /// What the log says.
        last: super::time::Timestamp,
    },
}
