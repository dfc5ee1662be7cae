//! `breakglass approve`.

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

/// Approve a request with your YubiKey, after reading it
///
/// The request is verified and shown from the very bytes that you will sign, with six words to compare with the
/// requester by voice. Then: yes or no, PIN, touch. A wrong PIN is never tried twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass approve 3fz0Xq
  breakglass approve 3fz0Xq --serial 12345678
  breakglass approve 3fz0Xq --serial 12345678 --pin-file pin --yes     (development charters only)
  breakglass approve --offline request.json                            (a machine without a network)")]
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
        (Some(file), _) => offline::judge(file, &args.offline, &args.device, Verdict::Approve, session),
        (None, Some(id)) => judge::run(id, &args.device, Verdict::Approve, session),
        (None, None) => {
            Err(Problem::usage("ID_NEEDED", "give the id of a request, or --offline FILE").into())
        }
    }
}
