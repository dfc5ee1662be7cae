//! Points in time of the log: UTC milliseconds, written as RFC 3339 with three digits and `Z`.
//!
//! Statements carry whole Unix seconds (`iat` and its kin); entries carry milliseconds. Nothing here reads a clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Tolerated difference, in seconds, between a client's clock and ours, in both directions.
pub const SKEW: i64 = 60;

/// A UTC instant in milliseconds since the Unix epoch, between the years 1970 and 9999.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

/// A text that is not `YYYY-MM-DDTHH:MM:SS.mmmZ`, or an instant out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a UTC time of the form 2026-01-31T12:00:00.000Z")]
pub struct TimeError(String);

/// The last instant that `jiff` writes in every time zone: 9999-12-30T22:00:00Z.
const LAST_MILLIS: i64 = 253_402_207_200_000;

impl Timestamp {
    /// From milliseconds since the epoch; clamped to the years 1970 to 9999, since a clock may say anything.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, LAST_MILLIS))
    }

    /// From whole seconds since the epoch; clamped likewise.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{time:.3}")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimeError;
    fn try_from(text: String) -> Result<Self, TimeError> {
        let parsed = text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond()));
        match parsed {
            // One instant has one text: offsets, leap seconds and other precisions are not canonical.
            Ok(time) if (0..=LAST_MILLIS).contains(&time.0) && time.to_string() == text => Ok(time),
            _ => Err(TimeError(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instant_has_a_text() {
        for millis in [i64::MIN, -1, 0, LAST_MILLIS, i64::MAX] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(Timestamp::try_from(time.to_string()), Ok(time));
        }
    }

    #[test]
    fn one_text_per_instant() {
        let time = Timestamp::from_millis(1_795_219_380_007);
        assert_eq!(time.to_string(), "2026-11-21T00:03:00.007Z");
        assert_eq!(Timestamp::try_from(time.to_string()), Ok(time));
        for other in [
            "2026-11-21T00:03:00Z",
            "2026-11-21T01:03:00.007+01:00",
            "2026-11-21 00:03:00.007Z",
            "",
            "1969-12-31T23:59:59.999Z",
        ] {
            assert!(Timestamp::try_from(other.to_owned()).is_err(), "{other}");
        }
    }
}
