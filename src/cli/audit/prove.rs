//! `breakglass audit prove`: that an entry is in the log, checkable by anyone.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    cli::{
        Session,
        exit::Problem,
        setup::Setup,
        text::{self, Fields},
    },
    jose::b64,
    tlog::{Hash, leaf_hash, verify_inclusion},
};

/// Prove that an entry is in the log: entry, proof and signed checkpoint
///
/// The proof is verified here before it is printed. With --json it is complete: whoever has the log's vkey can check it
/// without the daemon (RFC 6962 inclusion proof, C2SP checkpoint).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass audit prove 12 --json > proof.json")]
pub(crate) struct Args {
    /// Index of the entry, from 0
    #[arg(value_name = "INDEX")]
    index: u64,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let daemon = setup.connect()?;
    let note = daemon.checkpoint()?;
    let head = super::verified(&super::parse_checkpoint(&note)?, &setup.charter)
        .context("the daemon's checkpoint is not signed by the charter's log key")?;
    let index = args.index;
    if index >= head.size {
        let message = format!(
            "the log has {} entries, the last of them is number {}",
            head.size,
            head.size.saturating_sub(1)
        );
        return Err(Problem::usage("INDEX_TOO_HIGH", message).into());
    }
    let mut entry = Vec::new();
    daemon.entries(index, index + 1, |_, bytes| {
        entry = bytes;
        Ok(())
    })?;
    let answer = daemon.inclusion(index, head.size)?;
    let proof: Vec<Hash> =
        answer.hashes.iter().map(|hash| Hash::try_from(hash.as_slice())).collect::<Result<_, _>>()?;
    let leaf = leaf_hash(&entry);
    verify_inclusion(&leaf, index, head.size, &proof, &head.root)
        .with_context(|| format!("the daemon's proof that entry {index} is in the log does not verify"))?;
    let entry_json: Value = serde_json::from_slice(&entry).unwrap_or_default();
    let result = json!({
        "index": index,
        "size": head.size,
        "leaf_hash": leaf,
        "hashes": proof,
        "checkpoint": String::from_utf8_lossy(&note),
        "entry": b64::encode(&entry),
        "entry_json": entry_json,
    });
    session.out.result(&result, || {
        let mut fields = Fields::default();
        fields.add("log", head.origin.to_string());
        fields.add("what", kind(&entry_json));
        fields.add("leaf hash", leaf.to_string());
        fields.list("proof", proof.iter().map(ToString::to_string));
        fields.add("root", head.root.to_string());
        format!(
            "Entry {index} is in the log of {} entries that the log key signed.\n{}\nThe whole proof, with the entry: --json",
            head.size,
            fields.render()
        )
    })
}

/// The event's name and time.
fn kind(entry: &Value) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map_or_else(String::new, text::safe);
    format!("{} at {}", text(entry.pointer("/event/type")), text(entry.get("at")))
}
