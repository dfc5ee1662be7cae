//! `breakglass charter new`: from a draft to the exact bytes that custodians will sign.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::draft;
use crate::{
    cli::{Session, clock, exit::Problem, files, random, setup::Setup, view},
    domain::charter::{Replaced, Rules},
    jose::json,
};

/// Make a charter from a draft: every rule that it would break is said now
///
/// Writes the canonical bytes that the custodians sign, and the attestation evidence of their devices. Nothing is in
/// force yet: next, each custodian signs with `breakglass charter sign`, and together you read the twelve words aloud.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// The draft, TOML
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Begin anew in place of the chain of your configuration, of which no quorum is left: for breakglass genesis announce
    #[arg(long)]
    replaces: bool,
    /// Where to write the charter's payload
    #[arg(long, value_name = "FILE", default_value = "charter.payload.json")]
    out: PathBuf,
    /// Where to write the devices' attestation evidence
    #[arg(long, value_name = "FILE", default_value = "evidence.json")]
    evidence_out: PathBuf,
}

/// A draft to begin with; a test makes a charter of it.
pub(super) const EXAMPLE: &str = r#"A draft to begin with (paths are relative to it):

  issuer = "https://breakglass.example"
  valid_days = 90
  daemon = "daemon.json"                  # written by breakglassd setup
  attestation_roots = ["yubico-root.pem"]
  governance = { threshold = 2, of = "custodians" }

  [groups]
  custodians = ["bob", "carol", "dave"]

  [[person]]
  id = "alice"
  name = "Alice Example"
  roles = ["requester"]
  keys = ["alice.jwk.json"]               # written by breakglass key new

  [[person]]
  id = "bob"
  name = "Bob Example"
  roles = ["custodian"]
  devices = ["bob.json"]                  # written by breakglass custodian enrol
  keys = ["bob.jwk.json"]

  # ... carol and dave likewise

  [[profile]]
  id = "db-read"
  description = "Read the production database"
  quorum = { threshold = 2, of = "custodians" }
  audience = "https://db.example"
  max_ttl = "15m"
  approval_window = "1h"
  allow = [{ type = "database", actions = ["read"], locations = ["pg/prod/*"] }]

Optional: development, minimum_firmware; recovery = { threshold = 2, of = ["erin", "frank", "grace"] } over persons with
roles = ["recovery"], whose devices are sealed away after the ceremony; per person from, until, certificates;
per profile denials, cooldown, requester_key = "piv", stations = true; and tools:
  [[client]]
  id = "incident-bot"
  owners = ["alice"]
  roles = ["requester"]
  subjects = ["alice"]
  keys = ["bot.jwk.json"]

Example:
  breakglass charter new --from draft.toml --out charter.payload.json --evidence-out evidence.json"#;

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let now = clock::now();
    let mut drafted = draft::read(&args.from, random::nonce()?, now)?;
    if args.replaces {
        let setup = Setup::load(session.config.as_deref())?;
        let version = setup.charter.document().version;
        drafted.document.replaces = Some(Replaced { genesis: setup.config.genesis, version });
    }
    let payload = json::canonical(&drafted.document)?;
    let rules = Rules::parse(&payload).map_err(|error| {
        // A draft that breaks a rule is the writer's mistake, not a charter that fails to verify.
        let reason = error.reason();
        let chain = anyhow::Error::new(error);
        let why: Vec<String> = chain.chain().map(ToString::to_string).collect();
        Problem::refused(reason, format!("{} makes no charter: {}", args.from.display(), why.join(": ")))
    })?;
    files::replace(&args.out, &payload, files::Access::Public)?;
    files::write_json(&args.evidence_out, &drafted.evidence)?;
    let result = json!({
        "payload": args.out,
        "evidence": args.evidence_out,
        "digest": rules.digest(),
        "words": view::charter::phrase(&rules.digest()),
        "bytes": payload.len(),
    });
    session.out.result(&result, || {
        format!(
            "{}\nWrote {} ({} bytes) and {}.\nNext: each custodian runs breakglass charter sign {}",
            view::charter::describe(&rules, now),
            args.out.display(),
            payload.len(),
            args.evidence_out.display(),
            args.out.display()
        )
    })
}
