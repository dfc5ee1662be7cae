//! How long it takes to follow a thousand versions of a charter from its genesis, each signed by two.

use std::time::{Duration, Instant};

use breakglass::{
    domain::charter::verify_chain,
    jose::{Digest, GeneralJws, Typ},
};
use serde_json::json;

use crate::kit;

/// Versions of the chain.
pub const VERSIONS: u32 = 1_000;

/// Makes the chain, and follows it once.
pub fn measure() -> Duration {
    let first = kit::charter();
    let mut chain = vec![first.statement().clone()];
    let mut document = kit::document();
    for version in 2..=VERSIONS {
        let previous = Digest::of(&chain.last().unwrap().payload);
        let issued_at = kit::NOW + i64::from(version);
        document = kit::patch(
            document,
            json!({"version": version, "previous": previous, "nonce": kit::nonce(&version.to_string()),
                "issued_at": issued_at, "expires_at": issued_at + 80 * 86_400}),
        );
        let payload = kit::payload(&document);
        let sign = |device| kit::key(device).state(Typ::Charter, &payload, issued_at);
        let signatures = ["alice/1", "bob/1"].map(sign).to_vec();
        chain.push(GeneralJws { payload, signatures });
    }
    let at = kit::NOW + i64::from(VERSIONS);
    let begun = Instant::now();
    let newest = verify_chain(first.digest(), chain, at).unwrap();
    let took = begun.elapsed();
    assert_eq!(newest.document().version, VERSIONS);
    took
}
