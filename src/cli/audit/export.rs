//! `breakglass audit export`: a copy of the log in the layout that other tools read.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    cli::{Session, daemon::Daemon, setup::Setup, text::Fields},
    store::{Export, ExportDirectory},
};

/// Entries between two looks at the progress.
const STEP: u64 = 10_000;

/// Copy the log into a folder, in the layout of C2SP tlog-tiles
///
/// Everything up to the daemon's newest checkpoint, whose signature is verified with the charter's log key. Run again
/// into the same folder, it adds what is new, and refuses a log that contradicts what is there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass audit export log-copy && breakglass audit verify log-copy")]
pub(crate) struct Args {
    /// The folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let daemon = setup.connect()?;
    let signed = super::parse_checkpoint(&daemon.checkpoint()?)?;
    let head = super::verified(&signed, &setup.charter)
        .context("the daemon's checkpoint is not signed by the charter's log key; nothing was written")?;
    let mut export = ExportDirectory::at(&args.dir).export(signed)?;
    copy(&daemon, &mut export, head.size, session)?;
    let report = export.finish()?;
    let result = json!({
        "directory": args.dir,
        "origin": head.origin,
        "entries": head.size,
        "root": head.root,
        "files_written": report.written,
        "files_kept": report.kept,
    });
    session.out.result(&result, || {
        let mut fields = Fields::default();
        fields.add("log", head.origin.to_string());
        fields.add("entries", head.size.to_string());
        fields.add("root", head.root.to_string());
        fields.add("files", format!("{} written, {} kept", report.written, report.kept));
        format!(
            "Exported the log to {}.\n{}\nNext: breakglass audit verify {}",
            args.dir.display(),
            fields.render(),
            args.dir.display()
        )
    })
}

fn copy(daemon: &Daemon, export: &mut Export, size: u64, session: &mut Session) -> Result<()> {
    let out = &mut session.out;
    daemon.entries(0, size, |index, entry| {
        if index % STEP == 0 && index > 0 {
            out.progress(&format!("  {index} of {size} entries"))?;
        }
        Ok(export.push(vec![entry])?)
    })?;
    if size > STEP {
        out.progress("\n")?;
    }
    Ok(())
}
