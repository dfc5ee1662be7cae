//! Times on the wire: `google.protobuf.Timestamp`.

use crate::domain::time::Timestamp;

/// Whole Unix seconds.
pub(super) fn seconds(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

/// The log's milliseconds.
pub(super) fn instant(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.millis();
    let nanos = i32::try_from(millis.rem_euclid(1000)).unwrap_or_default() * 1_000_000;
    prost_types::Timestamp { seconds: millis.div_euclid(1000), nanos }
}

/// The log's milliseconds, as they came over the wire.
pub(crate) fn timestamp(at: &prost_types::Timestamp) -> Timestamp {
    let millis = i64::from(at.nanos).div_euclid(1_000_000);
    Timestamp::from_millis(at.seconds.saturating_mul(1000).saturating_add(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_survive() {
        let at = instant(Timestamp::from_millis(1_795_219_380_007));
        assert_eq!((at.seconds, at.nanos), (1_795_219_380, 7_000_000));
        assert_eq!(timestamp(&at), Timestamp::from_millis(1_795_219_380_007));
        assert_eq!(at.to_string(), "2026-11-21T00:03:00.007Z");
        assert_eq!(seconds(0).to_string(), "1970-01-01T00:00:00Z");
    }
}
