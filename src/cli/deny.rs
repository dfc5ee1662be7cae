//! `breakglass deny`.

use anyhow::Result;

use super::{
    Session,
    device::DeviceArgs,
    exit::Problem,
    id::IdArg,
    judge,
    offline::{self, OfflineArgs},
};
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
    #[arg(value_name = "ID", required_unless_present = "offline", conflicts_with = "offline")]
    id: Option<IdArg>,
    #[command(flatten)]
    offline: OfflineArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    match (&args.offline.offline, &args.id) {
        (Some(file), _) => offline::judge(file, &args.offline, &args.device, Verdict::Deny, session),
        (None, Some(id)) => judge::run(id, &args.device, Verdict::Deny, session),
        (None, None) => {
            Err(Problem::usage("ID_NEEDED", "give the id of a request, or --offline FILE").into())
        }
    }
}
