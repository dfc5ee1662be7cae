//! `breakglass deny`.

use anyhow::Result;

use super::{Session, device::DeviceArgs, id::IdArg, judge};
use crate::domain::statement::Verdict;

/// Deny a request with your YubiKey: it ends, and its id is dead
///
/// One denial ends a request, unless its profile asks for several. Signed with PIN and touch, as an approval is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass deny 3fz0Xq --serial 12345678")]
pub(crate) struct Args {
    /// The request, or the beginning of its id
    #[arg(value_name = "ID")]
    id: IdArg,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    judge::run(&args.id, &args.device, Verdict::Deny, session)
}
