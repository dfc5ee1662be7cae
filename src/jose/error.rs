//! Everything that can be wrong with a JOSE object, each with a reason that clients may rely on.
//!
//! Invariants: a reason never changes once released; text that came from the sender is shown escaped and cut.

use thiserror::Error;

/// Why a key, a header, a signature or a JSON text was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of a variant says what its fields are")]
pub enum JoseError {
    /// Longer than the caller allows.
    #[error("the message is {actual} bytes long, and at most {limit} are read: send a shorter one")]
    TooLong { limit: usize, actual: usize },
    /// Not the one base64url text of any bytes: padding, a foreign character, or bits left over at the end.
    #[error("a value is not unpadded base64url with zero trailing bits: encode it by RFC 4648 section 5")]
    Base64,
    /// Decoded to the wrong number of bytes.
    #[error("a value has {actual} bytes where exactly {expected} belong")]
    Length { expected: usize, actual: usize },
    /// No JSON text at all.
    #[error("byte {at} breaks the JSON syntax (RFC 8259)")]
    JsonMalformed { at: usize },
    /// Valid JSON, but not the form that RFC 8785 gives it.
    #[error("the JSON is not canonical at byte {at}: serialise it by RFC 8785 (JCS)")]
    JsonNotCanonical { at: usize },
    /// One member twice in one object.
    #[error("a JSON member occurs twice at byte {at}: name each member once")]
    JsonDuplicate { at: usize },
    /// A number with a fraction or an exponent.
    #[error("the JSON number at byte {at} is not a plain integer")]
    JsonNumber { at: usize },
    /// An integer that not every language reads exactly.
    #[error("the JSON integer at byte {at} is outside ±(2^53 - 1)")]
    JsonIntegerTooBig { at: usize },
    /// Nested deeper than any statement of this project.
    #[error("the JSON nests deeper than {limit} levels")]
    JsonTooDeep { limit: usize },
    /// A character that can hide or reorder what a person reads.
    #[error("the text at byte {at} has a control, format, private or unassigned character: write it without")]
    TextForbidden { at: usize },
    /// Text with several encodings of the same letters, in another one than NFC.
    #[error("the text at byte {at} is not in Unicode normalization form C")]
    TextNotNfc { at: usize },
    /// Good JSON of another shape: a member missing, unknown, or of another type.
    #[error("the JSON has not the expected members: {detail}")]
    JsonShape { detail: String },
    /// A header member that this kind of object never has.
    #[error("the header has the member {name:?}, which is not allowed here")]
    HeaderMember { name: String },
    /// A header member that this kind of object always has.
    #[error("the header lacks the member {name:?}, or it has the wrong type")]
    HeaderMissing { name: &'static str },
    /// A header member with a value outside its range.
    #[error("the header member {name:?} has a value that is not allowed")]
    HeaderValue { name: &'static str },
    /// Another algorithm than the single one of this kind of object.
    #[error("the algorithm {found:?} is not accepted: only {expected} is")]
    Alg { expected: &'static str, found: String },
    /// A `typ` outside the closed list.
    #[error("the typ {found:?} is unknown")]
    TypUnknown { found: String },
    /// A known `typ`, but not the one that belongs here: an approval is no denial.
    #[error("the typ is {found}, where {expected} belongs")]
    TypUnexpected { expected: &'static str, found: String },
    /// The header names another key than the one it is verified with.
    #[error("the kid is not the thumbprint of the key that should have signed")]
    KidMismatch,
    /// No valid public key of the expected kind.
    #[error("not a valid {kind} public key: {detail}")]
    Key { kind: &'static str, detail: &'static str },
    /// The signature does not fit key and bytes.
    #[error("the signature does not verify")]
    SignatureInvalid,
    /// A JWS without a signature, or with more than anyone needs.
    #[error("a JWS with {actual} signatures: between 1 and {limit} are read")]
    SignatureCount { limit: usize, actual: usize },
    /// Not the dot-separated parts of the compact form.
    #[error("not a compact serialization: {expected} parts separated by dots belong there")]
    Compact { expected: usize },
    /// The ciphertext is for another key, or was changed.
    #[error("the JWE cannot be decrypted with this key: it was made for another, or was changed")]
    Decrypt,
    /// The random source of the system failed.
    #[error("no randomness from the system: retry")]
    Randomness,
    /// A value that cannot be written as JSON (a programming error, not the sender's).
    #[error("the value cannot be written as JSON: {detail}")]
    Serialize { detail: String },
}

impl JoseError {
    /// The stable, machine-readable name of this error, for `google.rpc.ErrorInfo` and `--json`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "TOO_LONG",
            Self::Base64 => "BASE64_INVALID",
            Self::Length { .. } => "LENGTH_WRONG",
            Self::JsonMalformed { .. } => "JSON_MALFORMED",
            Self::JsonNotCanonical { .. } => "JSON_NOT_CANONICAL",
            Self::JsonDuplicate { .. } => "JSON_DUPLICATE_MEMBER",
            Self::JsonNumber { .. } => "JSON_NUMBER_NOT_INTEGER",
            Self::JsonIntegerTooBig { .. } => "JSON_INTEGER_TOO_BIG",
            Self::JsonTooDeep { .. } => "JSON_TOO_DEEP",
            Self::TextForbidden { .. } => "TEXT_FORBIDDEN_CHARACTER",
            Self::TextNotNfc { .. } => "TEXT_NOT_NFC",
            Self::JsonShape { .. } => "JSON_SHAPE_UNEXPECTED",
            Self::HeaderMember { .. } => "HEADER_MEMBER_NOT_ALLOWED",
            Self::HeaderMissing { .. } => "HEADER_MEMBER_MISSING",
            Self::HeaderValue { .. } => "HEADER_VALUE_INVALID",
            Self::Alg { .. } => "ALG_NOT_ALLOWED",
            Self::TypUnknown { .. } => "TYP_UNKNOWN",
            Self::TypUnexpected { .. } => "TYP_UNEXPECTED",
            Self::KidMismatch => "KID_MISMATCH",
            Self::Key { .. } => "KEY_INVALID",
            Self::SignatureInvalid => "SIGNATURE_INVALID",
            Self::SignatureCount { .. } => "SIGNATURE_COUNT",
            Self::Compact { .. } => "COMPACT_MALFORMED",
            Self::Decrypt => "DECRYPT_FAILED",
            Self::Randomness => "RANDOMNESS_UNAVAILABLE",
            Self::Serialize { .. } => "SERIALIZE_FAILED",
        }
    }
}

/// The start of a sender's text, for an error message.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(160).collect()
}
