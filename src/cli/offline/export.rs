//! `breakglass request export`: a pending request as a file or a QR code.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::cli::{Session, files, id::IdArg, qr, review, review::Reviewed, setup::Setup, view};

/// Width of the code on a page, in millimetres: a request has well over a thousand bytes.
const QR_MILLIMETRES: u32 = 160;

/// Write a request with the signatures so far into a file, for a custodian without a network
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass request export 3fz0Xq --out request.json
  breakglass request export 3fz0Xq --out request.json --qr request.svg")]
pub(crate) struct Args {
    /// The request, or the beginning of its id
    #[arg(value_name = "ID")]
    id: IdArg,
    /// Where to write it [default: ID.request.json]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write it as a QR code as well (SVG), while it is short enough for one
    #[arg(long, value_name = "FILE")]
    qr: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let daemon = setup.connect()?;
    let id = daemon.resolve(&args.id)?;
    let request = daemon.get(&id)?;
    Reviewed::new(review::rules_of(&setup.charter, &request.jws), &request.jws, &id)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{id}.request.json")));
    if let Some(file) = &args.qr {
        let text = String::from_utf8_lossy(&request.jws);
        files::replace(file, qr::dense(&text, QR_MILLIMETRES)?.as_bytes(), files::Access::Public)?;
    }
    files::replace(&out, &request.jws, files::Access::Public)?;
    let words = view::grant::phrase(&id);
    session.out.result(&json!({"request_id": id, "file": out, "qr": args.qr, "words": words}), || {
        format!(
            "Wrote {}; its words are {words}.\nNext, on the machine without a network: breakglass approve --offline {}",
            out.display(),
            out.display()
        )
    })
}
