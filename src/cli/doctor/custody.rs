//! Who could do what with what he has stolen: the honest table.
//!
//! This version has policy custody alone (the HSM's PIN is in a file on the daemon's host); where sealed custody would
//! change a row, the row says what is true now.

use serde_json::{Value, json};

use crate::cli::text;

/// What a thief has; what strict verifiers accept from him; what lax ones do.
const TABLE: [[&str; 3]; 8] = [
    ["the host's disk (the HSM's PIN is in a file on it)", "nothing", "what he signs with the HSM at hand"],
    ["root on the daemon's host", "nothing", "what he signs until the key is retired"],
    [
        "the same, with the issuing key in a plugged-in YubiKey",
        "nothing",
        "what he signs while it is plugged in",
    ],
    ["all custodians' keys but one of a quorum", "nothing", "nothing"],
    ["root on a station, or on a quorum's own machines", "what they are made to sign", "the same"],
    ["the daemon that shows you a request", "nothing that this tool does not show", "the same"],
    ["an edited configuration of the daemon", "nothing", "nothing"],
    ["an old charter", "grants by keys it lists, until it expires", "-"],
];

const HEAD: [&str; 3] = ["A THIEF HAS", "STRICT VERIFIERS ACCEPT", "OTHER JWT CONSUMERS ACCEPT"];

pub(super) fn describe() -> String {
    let rows: Vec<Vec<String>> =
        TABLE.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect();
    format!(
        "Custody: policy (the PIN that opens the HSM lies on the daemon's host; sealed custody is not built yet)\n\n{}",
        text::table(&HEAD, &rows)
    )
}

pub(super) fn json() -> Value {
    let rows: Vec<Value> = TABLE
        .iter()
        .map(|[has, strict, lax]| json!({ "thief_has": has, "strict": strict, "lax": lax }))
        .collect();
    json!({ "mode": "policy", "table": rows })
}
