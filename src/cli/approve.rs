//! `breakglass approve`.

use anyhow::Result;

use super::{Session, device::DeviceArgs, id::IdArg, judge};
use crate::domain::statement::Verdict;

/// Approve a request with your YubiKey, after reading it
///
/// The request is verified and shown from the very bytes that you will sign, with six words to compare with the
/// requester by voice. Then: yes or no, PIN, touch. A wrong PIN is never tried twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass approve 3fz0Xq
  breakglass approve 3fz0Xq --serial 12345678
  breakglass approve 3fz0Xq --serial 12345678 --pin-file pin --yes     (development charters only)")]
pub(crate) struct Args {
    /// The request, or the beginning of its id
    #[arg(value_name = "ID")]
    id: IdArg,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    judge::run(&args.id, &args.device, Verdict::Approve, session)
}
