//! Request ids on the command line: whole, or the beginning of one.
//!
//! An id is base64url, so one in 64 begins with `-` and would be taken for an option. [`shield`] keeps whole ids from
//! that; the beginning of such an id can be written as `id:-abcdef`.

use std::{collections::BTreeSet, ffi::OsString, str::FromStr};

use anyhow::Result;

use super::exit::Problem;
use crate::{
    domain::id::{KillId, RequestId},
    jose::Digest,
};

/// Fewest characters of an id that are taken for it.
const MIN_PREFIX: usize = 6;
const MARK: &str = "id:";

/// An id or its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdArg(String);

impl FromStr for IdArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix(MARK).unwrap_or(text);
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if plain && (MIN_PREFIX..=43).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "an id has 43 characters of A-Z a-z 0-9 - _; give it all, or its first {MIN_PREFIX} or more"
            ))
        }
    }
}

impl IdArg {
    /// The id, if it was given whole.
    pub(crate) fn whole(&self) -> Option<RequestId> {
        self.0.parse().ok()
    }

    /// The one id among these that begins so.
    pub(crate) fn choose(&self, ids: impl Iterator<Item = RequestId>) -> Result<RequestId> {
        let fitting: BTreeSet<RequestId> = ids.filter(|id| id.to_string().starts_with(&self.0)).collect();
        let mut fitting = fitting.into_iter();
        match (fitting.next(), fitting.next()) {
            (Some(id), None) => Ok(id),
            (None, _) => Err(Problem::refused(
                "REQUEST_UNKNOWN",
                format!("no request begins with {}: breakglass list shows the open ones", self.0),
            )
            .into()),
            (Some(one), Some(other)) => Err(Problem::usage(
                "REQUEST_AMBIGUOUS",
                format!("{} begins more than one id ({one}, {other}, …): give more characters", self.0),
            )
            .into()),
        }
    }
}

/// Marks whole digests and ids of kills that begin with `-`, so that they are not read as options.
pub(crate) fn shield(argument: OsString) -> OsString {
    let is_id = |text: &str| {
        // An id of a kill is short enough for an option to look like one.
        text.parse::<Digest>().is_ok() || (!text.starts_with("--") && text.parse::<KillId>().is_ok())
    };
    match argument.to_str() {
        Some(text) if text.starts_with('-') && is_id(text) => format!("{MARK}{text}").into(),
        _ => argument,
    }
}

/// An id of a kill on the command line, shielded or not.
pub(crate) fn parse_kill(text: &str) -> Result<KillId, String> {
    let text = text.strip_prefix(MARK).unwrap_or(text);
    text.parse().map_err(|_| "an id of a kill has 22 characters of base64url".to_owned())
}

/// A digest on the command line, shielded or not.
pub(crate) fn parse_digest(text: &str) -> Result<Digest, String> {
    let text = text.strip_prefix(MARK).unwrap_or(text);
    text.parse().map_err(|_| "a digest has 43 characters of base64url".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: u8) -> RequestId {
        RequestId(Digest::from_bytes([first; 32]))
    }

    #[test]
    fn a_beginning_means_one_id_or_none() {
        let (one, two) = (id(0), id(1));
        let arg: IdArg = one.to_string()[..8].parse().unwrap();
        assert_eq!(arg.whole(), None);
        assert_eq!(arg.choose([one, two, one].into_iter()).unwrap(), one);
        assert!(arg.choose([two].into_iter()).is_err());
        let twin = RequestId(Digest::from_bytes({
            let mut bytes = [0; 32];
            bytes[31] = 1;
            bytes
        }));
        assert!(arg.choose([one, twin].into_iter()).is_err());
        assert!("abcde".parse::<IdArg>().is_err());
        assert!("abc/def".parse::<IdArg>().is_err());
    }

    #[test]
    fn a_leading_hyphen_is_no_option() {
        let id = id(0xfb);
        assert!(id.to_string().starts_with('-'));
        let shielded = shield(id.to_string().into());
        assert_eq!(shielded.to_str().unwrap().parse::<IdArg>().unwrap().whole(), Some(id));
        assert_eq!(shield("--json".into()), "--json");
        assert_eq!(shield("-AAAAAAAAAAAAAAAAAAAAA".into()), "id:-AAAAAAAAAAAAAAAAAAAAA");
        assert!(parse_kill("id:-AAAAAAAAAAAAAAAAAAAAA").is_ok());
        assert_eq!(shield("--AAAAAAAAAAAAAAAAAAAA".into()), "--AAAAAAAAAAAAAAAAAAAA");
        assert_eq!(parse_digest(shielded.to_str().unwrap()), Ok(id.0));
    }
}
