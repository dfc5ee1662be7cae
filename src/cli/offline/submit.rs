//! `breakglass approval submit`: hands in a verdict that was signed apart.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde_json::json;

use crate::{
    cli::{
        Session,
        daemon::{insist, state_name},
        exit::Problem,
        files, judge,
        review::rules_of,
        setup::Setup,
    },
    domain::{
        grant::Grant,
        statement::{MAX_STATEMENT_BYTES, SignedVerdict, Verdict},
    },
    jose::GeneralJws,
};

/// Commands about approvals that were signed apart.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Submit(Args),
}

/// Hand in an approval or a denial that a custodian signed on a machine without a network
///
/// Whoever carries it: the signature speaks for itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass approval submit 3fz0Xq.approval.json")]
pub(crate) struct Args {
    /// What breakglass approve --offline wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(command: &Command, session: &mut Session) -> Result<()> {
    let Command::Submit(args) = command;
    let setup = Setup::load(session.config.as_deref())?;
    let bytes = files::read(&args.file)?;
    let place = || format!("{} holds no approval", args.file.display());
    let jws = GeneralJws::parse(&bytes, MAX_STATEMENT_BYTES).with_context(place)?;
    let rules = rules_of(&setup.charter, &bytes);
    let [signature] = jws.signatures.as_slice() else {
        let message = format!("{} carries more or fewer signatures than one", args.file.display());
        return Err(Problem::usage("NOT_ONE_SIGNATURE", message).into());
    };
    let verdict = SignedVerdict::verify(&jws.payload, signature.clone(), rules)?.verdict();
    let id = Grant::id_of(&jws.payload);
    let daemon = setup.connect()?;
    let (answer, _) = insist(|| daemon.submit(&id, bytes.clone()));
    let after = answer?;
    let result = json!({
        "request_id": id,
        "state": state_name(&after),
        "verdict": if verdict == Verdict::Approve { "approve" } else { "deny" },
    });
    session.out.result(&result, || judge::outcome(&after, verdict, rules))
}
