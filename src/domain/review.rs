//! What follows a use: reviews by custodians, where the profile demands them.
//!
//! Invariants: a person reviews a use once, and nobody behind the request reviews it; a use is open until the profile's
//! formula is satisfied by those who have, whatever they found. Reviews give and take no power: who sees a use that was not
//! as it should be kills, or changes the charter.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    charter::Charter,
    exact,
    id::{Issuer, Nonce, PersonId, PrincipalId, ProfileId, RequestId},
    request::Life,
    state::State,
    statement::SignedAbout,
};
use crate::jose::{Digest, GeneralJws, JoseError};

/// Seconds after which a use that nobody has reviewed is asked about no more; the log keeps it.
const FORGET_AFTER: i64 = 366 * 86_400;
/// Open reviews that are kept; the oldest goes first.
const MAX_OPEN: usize = 10_000;
/// The longest note, in bytes.
pub const MAX_NOTE_BYTES: usize = 280;

/// Whether the access was used as the grant said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// It was.
    Proper,
    /// It was not, or nobody can tell.
    Improper,
}

impl Finding {
    /// The word for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proper => "proper",
            Self::Improper => "improper",
        }
    }
}

/// What a custodian says of a use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewStatement {
    /// The issuer.
    pub iss: Issuer,
    /// Digest of the charter in force.
    pub charter: Digest,
    /// The request whose token was issued.
    pub request_id: RequestId,
    /// What he found.
    pub finding: Finding,
    /// Why, 1 to 280 bytes.
    pub note: Note,
    /// 128 random bits.
    pub nonce: Nonce,
}

/// A sentence of 1 to 280 bytes; the strict reader has kept control and format characters out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Note(String);

impl Note {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Note {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.trim().is_empty() || text.len() > MAX_NOTE_BYTES {
            Err(format!("a note has 1 to {MAX_NOTE_BYTES} bytes"))
        } else {
            Ok(Self(text))
        }
    }
}

impl From<Note> for String {
    fn from(note: Note) -> Self {
        note.0
    }
}

/// A review under the signature of a custodian's device.
pub type SignedReview = SignedAbout<ReviewStatement>;

/// The statement in a recorded review, whose signature was verified when it was recorded.
pub(super) fn recorded(payload: &[u8]) -> Result<ReviewStatement, JoseError> {
    exact::parse(payload, super::statement::MAX_STATEMENT_BYTES)
}

/// A use that waits for its review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenReview {
    /// The request.
    pub request_id: RequestId,
    /// Under which profile.
    pub profile: ProfileId,
    /// Who got access.
    pub sub: PrincipalId,
    /// The grant under the signatures of the requester and of those who approved.
    pub grant: GeneralJws,
    /// When it is due, Unix seconds.
    pub due: i64,
    /// Persons who stand behind the request, and do not count.
    pub excluded: BTreeSet<PersonId>,
    /// Who has said what so far.
    pub said: BTreeMap<PersonId, Finding>,
}

/// All uses that wait for their review, the most urgent first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<OpenReview>", into = "Vec<OpenReview>")]
pub struct OpenReviews(BTreeMap<(i64, RequestId), OpenReview>);

impl From<Vec<OpenReview>> for OpenReviews {
    fn from(open: Vec<OpenReview>) -> Self {
        Self(open.into_iter().map(|one| ((one.due, one.request_id), one)).collect())
    }
}

impl From<OpenReviews> for Vec<OpenReview> {
    fn from(open: OpenReviews) -> Self {
        open.0.into_values().collect()
    }
}

impl OpenReviews {
    /// The review that this request waits for.
    #[must_use]
    pub fn of(&self, id: &RequestId) -> Option<&OpenReview> {
        self.iter().find(|open| open.request_id == *id)
    }

    /// All, the most urgent first.
    pub fn iter(&self) -> impl Iterator<Item = &OpenReview> {
        self.0.values()
    }

    /// How many are overdue. `now`: Unix seconds.
    #[must_use]
    pub fn overdue(&self, now: i64) -> usize {
        self.0.keys().take_while(|(due, _)| *due <= now).count()
    }

    pub(super) fn open(&mut self, review: OpenReview) {
        self.0.insert((review.due, review.request_id), review);
        if self.0.len() > MAX_OPEN {
            self.0.pop_first();
        }
    }

    /// Takes note of what a person found; the review ends with the one that completes the formula of the charter in force.
    pub(super) fn said(
        &mut self,
        id: &RequestId,
        person: PersonId,
        finding: Finding,
        charter: &Charter,
    ) -> bool {
        let Some(key) = self.of(id).map(|open| (open.due, open.request_id)) else { return false };
        if let Some(open) = self.0.get_mut(&key) {
            open.said.insert(person, finding);
            if open.is_complete(charter) {
                self.0.remove(&key);
            }
        }
        true
    }

    /// A new charter ends what it demands no more.
    pub(super) fn charter_changed(&mut self, charter: &Charter) {
        self.0.retain(|_, open| !open.is_complete(charter));
    }

    pub(super) fn forget(&mut self, now: i64) {
        while self.0.first_key_value().is_some_and(|((due, _), _)| due.saturating_add(FORGET_AFTER) < now) {
            self.0.pop_first();
        }
    }
}

impl OpenReview {
    /// Whether nothing is missing any more, or the charter demands no review of this profile.
    fn is_complete(&self, charter: &Charter) -> bool {
        let demanded = charter.quorums(&self.profile).and_then(|quorums| quorums.review.as_ref());
        let counted: BTreeSet<PersonId> =
            self.said.keys().filter(|person| !self.excluded.contains(*person)).cloned().collect();
        demanded.is_none_or(|formula| formula.satisfied_by(&counted))
    }

    /// Who is still needed, in words.
    #[must_use]
    pub fn missing(&self, charter: &Charter) -> String {
        let demanded = charter.quorums(&self.profile).and_then(|quorums| quorums.review.as_ref());
        let counted: BTreeSet<PersonId> = self.said.keys().cloned().collect();
        demanded.map_or_else(String::new, |formula| formula.missing_without(&counted, &self.excluded))
    }
}

impl State {
    /// From an issuance on, if the profile demands it.
    pub(super) fn open_review(&mut self, id: &RequestId) {
        let Some(request) = self.requests.get(id) else { return };
        let (grant, Life::Issued { authorization, .. }) = (request.grant(), request.life()) else { return };
        let Some(permit) = self.charter_named(&grant.charter).and_then(|charter| charter.permits(grant).ok())
        else {
            return;
        };
        let Some(review) = &permit.profile.review else { return };
        let open = OpenReview {
            request_id: *id,
            profile: grant.profile.clone(),
            sub: grant.sub.clone(),
            grant: request.with_signatures(&authorization.approvals),
            due: authorization.iat.saturating_add(i64::from(review.within)),
            excluded: permit.excluded.clone(),
            said: BTreeMap::new(),
        };
        // The charter in force may have ceased to demand it.
        if self.charter.as_ref().is_some_and(|charter| !open.is_complete(charter)) {
            self.reviews.open(open);
        }
    }

    /// Takes note of a recorded review.
    pub(super) fn reviewed(&mut self, review: &GeneralJws) -> Result<(), &'static str> {
        let statement = recorded(&review.payload).map_err(|_| "the review in it is not valid")?;
        let charter = self.charter.clone().ok_or("no charter is in force")?;
        let signer = review.signatures.first().and_then(|signature| charter.holder(&signature.header().kid));
        let person = signer.ok_or("its signer is not in the charter")?.principal.as_person();
        if self.reviews.said(&statement.request_id, person, statement.finding, &charter) {
            Ok(())
        } else {
            Err("no review is open for this request")
        }
    }
}
