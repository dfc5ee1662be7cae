//! Events and the log entries that carry them: the whole truth of the system, in order.
//!
//! Invariants: the list of events is closed; an entry's bytes are JCS and are never written again; `at` never goes
//! back. The salt keeps a leaf hash from confirming a guess of the entry.

mod signatures;

use serde::{Deserialize, Serialize};

use super::{
    gate::Enforced,
    id::{InstanceId, KillId, Nonce, PrincipalId, RequestId},
    probe::Answer,
    time::Timestamp,
};
use crate::jose::{Digest, GeneralJws, JoseError, Signature, json};

/// An entry's bytes at most (C2SP tlog-tiles bundles have 16-bit lengths).
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Version of the entry's shape: 1.
    pub v: u8,
    /// When it was decided.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// 128 random bits.
    pub salt: Nonce,
    /// What happened.
    pub event: Event,
}

impl Entry {
    /// Parses the stored bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, JoseError> {
        let entry: Self = json::parse(bytes, MAX_ENTRY_BYTES)?;
        if entry.v == 1 {
            Ok(entry)
        } else {
            Err(JoseError::JsonShape { detail: format!("entry version {} is unknown", entry.v) })
        }
    }

    /// The bytes to store.
    pub fn to_bytes(&self) -> Result<Vec<u8>, JoseError> {
        let bytes = json::canonical(self)?;
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(JoseError::TooLong { limit: MAX_ENTRY_BYTES, actual: bytes.len() });
        }
        Ok(bytes)
    }
}

/// Who caused an event. Authority comes from signatures inside the event; this only tells which way it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Actor {
    /// The daemon itself.
    Daemon {
        /// Which process.
        instance: InstanceId,
    },
    /// A connection.
    Peer {
        /// SHA-256 of the client's TLS public key, where it showed one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Digest>,
    },
}

/// Why an authorized request came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The HSM did not sign before the token would have expired.
    Expired,
    /// What the HSM signed did not verify with the charter's key.
    SignatureInvalid,
    /// The charter has no active key for the profile any more.
    NoKey,
    /// A new charter took away what the authorization rests on.
    Superseded,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// Attestation evidence of a device, recorded before the charter that names its digest.
    AttestationRecorded {
        /// The statement certificate, base64url of DER.
        statement: String,
        /// The device's f9 certificate, base64url of DER.
        intermediate: String,
    },
    /// A custodian proposed the next charter; its attestation evidence stands before it.
    CharterProposed {
        /// The document under its author's signature, and perhaps others'.
        charter: GeneralJws,
    },
    /// One more signature under a proposed charter.
    CharterSigned {
        /// Digest of the document.
        charter: Digest,
        /// The signature over the document.
        signature: Signature,
    },
    /// A proposed charter was taken back.
    CharterRetracted {
        /// Under its author's signature.
        retraction: GeneralJws,
    },
    /// A proposed charter was not signed in time.
    CharterLapsed {
        /// Digest of the document.
        charter: Digest,
    },
    /// A charter came into force. Whatever else was proposed has ended with it.
    CharterAdopted {
        /// With its signatures.
        charter: GeneralJws,
    },
    /// Somebody who is left announced that a new chain is to begin, since no quorum of this one is left.
    GenesisAnnounced {
        /// Under his signature.
        announcement: GeneralJws,
        /// Version 1 of the new chain, under the signatures of its own custodians.
        charter: GeneralJws,
    },
    /// The alarm of one more day on which nobody has cancelled.
    GenesisAlarmed {
        /// Digest of the announcement.
        announcement: Digest,
        /// Days that have passed since it: 1 to 6.
        day: u32,
    },
    /// A quorum cancelled an announcement: this chain goes on.
    GenesisCancelled {
        /// Under the signatures of the quorum.
        cancellation: GeneralJws,
    },
    /// Seven days of alarms have passed: this chain has ended, and nothing more is issued under it.
    GenesisReplaced {
        /// Digest of the announcement.
        announcement: Digest,
        /// Digest of version 1 of the new chain.
        genesis: Digest,
    },
    /// The transcript of a ceremony.
    TranscriptRecorded {
        /// Under the signatures of all who were present.
        transcript: GeneralJws,
    },
    /// A custodian's device can be reached.
    CheckedIn {
        /// Under its signature.
        check_in: GeneralJws,
    },
    /// Something was killed. Whatever it hits ends with this entry, however much it is.
    KillRecorded {
        /// Under the signature of whoever killed.
        kill: GeneralJws,
        /// The kill epoch that it begins.
        epoch: u64,
    },
    /// Kills were lifted.
    LiftRecorded {
        /// Under the signatures of a quorum.
        lift: GeneralJws,
    },
    /// A gate let tokens pass.
    UsesReported {
        /// Under the key of its verifier.
        report: GeneralJws,
        /// Tokens in it that this log does not know: forged, or forgotten long ago.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unknown: Vec<RequestId>,
        /// Tokens in it that were used after their end.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ended: Vec<RequestId>,
    },
    /// The gates that were there enforce a kill, or had the time to.
    KillEnforced {
        /// How many, how soon, and under which signatures.
        enforced: Enforced,
    },
    /// A daemon process began to serve.
    DaemonStarted {
        /// Which process.
        instance: InstanceId,
        /// Version of the program.
        version: String,
    },
    /// An issuing key that was killed, or that the charter calls destroyed or compromised, is in no signing device any more.
    IssuingKeyDestroyed {
        /// Which key.
        kid: Digest,
        /// Whether it was there until now; if not, it had gone before, or never was there.
        found: bool,
    },
    /// A request was filed.
    RequestFiled {
        /// The grant under its requester's signature.
        request: GeneralJws,
    },
    /// A custodian approved.
    ApprovalRecorded {
        /// Which request.
        request_id: RequestId,
        /// The signature over the grant.
        signature: Signature,
    },
    /// A custodian denied.
    DenialRecorded {
        /// Which request.
        request_id: RequestId,
        /// The signature over the grant.
        signature: Signature,
    },
    /// Enough denials ended a request.
    RequestDenied {
        /// Which request.
        request_id: RequestId,
    },
    /// The requester took a request back.
    RequestWithdrawn {
        /// Under his signature.
        withdrawal: GeneralJws,
    },
    /// The deadline for approvals passed.
    RequestLapsed {
        /// Which request.
        request_id: RequestId,
    },
    /// A new charter came into force while the request waited for approvals.
    RequestSuperseded {
        /// Which request.
        request_id: RequestId,
    },
    /// The quorum is complete: from here on the claims are fixed, and only their signature is missing.
    IssuanceAuthorized {
        /// Which request.
        request_id: RequestId,
        /// The approvals that go into the token, by key.
        approvals: Vec<Digest>,
        /// `iat` of the token, Unix seconds.
        iat: i64,
        /// `exp` of the token, Unix seconds.
        exp: i64,
        /// The issuing key.
        kid: Digest,
        /// Digest of the claims' bytes; they follow from charter, grant, approvals, `iat`, `status` and this entry's index.
        claims: Digest,
        /// The process that works on it.
        instance: InstanceId,
        /// Its place in the status list, under profiles that ask for one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u32>,
    },
    /// Another issuing key signs for an authorized request, because the device of the first one fails. Nothing else of the
    /// authorization changes.
    IssuanceMoved {
        /// Which request.
        request_id: RequestId,
        /// The key that signs from now on.
        kid: Digest,
    },
    /// Another process works on an authorized request.
    IssuanceTakenOver {
        /// Which request.
        request_id: RequestId,
        /// The process that works on it from now on.
        instance: InstanceId,
    },
    /// The HSM signed.
    TokenIssued {
        /// Which request.
        request_id: RequestId,
        /// Digest of the compact JWT.
        jwt: Digest,
        /// The JWT, encrypted to the grant's redeem key.
        jwe: String,
    },
    /// The requester fetched the encrypted token.
    TokenReleased {
        /// His signed redemption.
        redemption: GeneralJws,
    },
    /// Somebody who had the token handed it in, and it ended. No signature says so: the daemon saw the token. It can only
    /// take one token away.
    TokenRevoked {
        /// Which request.
        request_id: RequestId,
        /// The verifier that showed its secret, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<PrincipalId>,
    },
    /// The token's `exp` passed.
    TokenExpired {
        /// Which request.
        request_id: RequestId,
    },
    /// An authorized request came to nothing.
    IssuanceFailed {
        /// Which request.
        request_id: RequestId,
        /// Why.
        reason: Failure,
    },
    /// A custodian said what he found about a use.
    ReviewRecorded {
        /// Under his signature.
        review: GeneralJws,
    },
    /// A canary for a verifier is to be signed: the charter in force names both.
    CanaryAuthorized {
        /// Who is to be shown it.
        verifier: PrincipalId,
        /// The issuing key.
        kid: Digest,
        /// `iat` of the canary, Unix seconds.
        iat: i64,
        /// `exp` of the canary, Unix seconds.
        exp: i64,
        /// Digest of the claims' bytes; they follow from charter, verifier, key, `iat` and this entry's index.
        claims: Digest,
    },
    /// The HSM signed a canary.
    CanaryIssued {
        /// Who is to be shown it.
        verifier: PrincipalId,
        /// The issuing key.
        kid: Digest,
        /// Digest of the compact JWT.
        jwt: Digest,
        /// The JWT, encrypted to the daemon's canary key.
        jwe: String,
    },
    /// A verifier was shown a canary.
    VerifierProbed {
        /// Who was shown it.
        verifier: PrincipalId,
        /// The issuing key.
        kid: Digest,
        /// What it answered.
        answer: Answer,
        /// The kill that ended the key; absent while the key is good.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kill: Option<KillId>,
        /// Milliseconds from that kill's entry to this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
    },
    /// A verifier's revocation hook was told of a kill.
    HookAnswered {
        /// Whose hook.
        verifier: PrincipalId,
        /// The kill.
        kill: KillId,
        /// What it answered; acceptance means that it took it.
        answer: Answer,
    },
    /// Attempts at power that were refused, aggregated.
    AttemptsRefused {
        /// Start of the minute.
        minute: Timestamp,
        /// SHA-256 of the client's TLS public key, where it showed one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<Digest>,
        /// The stable reason.
        reason: String,
        /// How many.
        count: u64,
    },
    /// A snapshot of the state was taken; it is a cache, and this is how it is checked.
    SnapshotTaken {
        /// Entries folded into it.
        size: u64,
        /// Root of the tree of that size, base64url.
        root: Digest,
        /// Digest of the snapshot's bytes.
        digest: Digest,
    },
}
