//! The transcript of a ceremony is recorded.

use crate::{
    domain::{
        command::Context, event::Event, refusal::Refusal, state::State, time::SKEW,
        transcript::SignedTranscript,
    },
    jose::Digest,
};

/// How long after a ceremony its transcript is taken, in seconds; for that long its digest is remembered.
pub const RECORD_WITHIN: i64 = 30 * 86_400;

/// An expired charter does not stand in the way: what replaces it is a ceremony as well.
pub(super) fn decide(
    state: &State,
    signed: &SignedTranscript,
    context: &Context,
) -> Result<Vec<Event>, Refusal> {
    let charter = state.charter().ok_or(Refusal::NoCharter)?;
    let transcript = signed.transcript();
    if transcript.charter != charter.digest() || transcript.iss != charter.document().iss {
        return Err(Refusal::CharterMismatch);
    }
    let now = context.now.seconds();
    let newest = signed.signed_at().max(transcript.ended);
    if newest > now + SKEW {
        return Err(Refusal::ClockSkew { signed_at: newest, now });
    }
    if transcript.ended + RECORD_WITHIN <= now {
        return Err(Refusal::DeadlinePassed);
    }
    let digest = Digest::of(&signed.jws().payload);
    if state.transcripts.contains_key(&digest) {
        return Err(Refusal::TranscriptKnown(digest));
    }
    Ok(vec![Event::TranscriptRecorded { transcript: signed.jws().clone() }])
}
