//! `breakglass kill`: stops one token, one request, a requester, a profile, a key or everything.

mod act;
mod at;
mod follow;
mod gates;
mod keys;
pub(super) mod known;
mod send;
mod status;

use anyhow::Result;
use clap::Subcommand;
pub(super) use status::{warn, warning};

use super::{
    Session,
    device::DeviceArgs,
    id::{IdArg, parse_digest},
};
use crate::{
    domain::{
        charter::KillLevel,
        grant::Reason,
        id::{PrincipalId, ProfileId},
    },
    jose::Digest,
};

/// Commands that stop something, and the one that says what is stopped.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Jti(Jti),
    Request(Request),
    Requester(Requester),
    Profile(Profile),
    Key(Key),
    All(All),
    Status(status::Args),
    Send(send::Args),
}

/// Options of every kill.
#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// Why, in a sentence; it is signed, recorded, and shown to everybody who is stopped by it
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Reason,
    /// Ask no daemon: write the signed kill into a file, for breakglass kill send
    #[arg(long, value_name = "FILE")]
    out: Option<std::path::PathBuf>,
    /// Ask no daemon: bring the kill to this gate, at the address of its control listener; may be repeated
    ///
    /// For the day on which the daemon is gone, or is the enemy. The gate checks your signature, enforces the kill at once and
    /// answers under its own signature, which is checked here. With --out the kill is kept as well, to be sent to a daemon later.
    #[arg(long, value_name = "URL", value_parser = at::place)]
    at: Vec<at::Place>,
    /// Do not wait for what verifiers answer
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

fn reason(text: &str) -> Result<Reason, String> {
    Reason::new(text.to_owned())
}

/// Kill one token, by its jti
///
/// Ends the request that it was issued for: the token is handed out no more, and verifiers that hear of kills refuse it.
/// It cannot be lifted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass kill jti 3fz0Xq --reason \"seen on a foreign host\" --serial 12345678")]
pub(crate) struct Jti {
    /// The jti, which is the request's id, or its beginning
    #[arg(value_name = "JTI")]
    target: IdArg,
    #[command(flatten)]
    how: How,
}

/// Kill one request, whatever has become of it
///
/// Ends it while it waits for approvals, before its token is signed, and after; equal bytes are refused from then on. It
/// cannot be lifted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass kill request 3fz0Xq --reason \"nobody of us knows of this incident\"")]
pub(crate) struct Request {
    /// The request, or the beginning of its id
    #[arg(value_name = "ID")]
    target: IdArg,
    #[command(flatten)]
    how: How,
}

/// Kill all that somebody asks for, or that is asked for him
///
/// Ends every request with this subject or client, and refuses new ones, until a quorum lifts it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass kill requester erin --reason \"laptop stolen\"")]
pub(crate) struct Requester {
    /// The person or tool, as the charter names it
    #[arg(value_name = "NAME")]
    target: PrincipalId,
    #[command(flatten)]
    how: How,
}

/// Kill a kind of access
///
/// Ends every request under this profile, and refuses new ones, until a quorum lifts it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass kill profile db-admin --reason \"the gateway leaks tokens\"")]
pub(crate) struct Profile {
    /// The profile, as the charter names it
    #[arg(value_name = "PROFILE")]
    target: ProfileId,
    #[command(flatten)]
    how: How,
}

/// Kill a key: one that issues tokens, one that asks, or one that approves
///
/// The panic button for an issuing key is --current: nothing is signed with it any more, every verifier that hears of kills
/// refuses all it ever signed, it is published no more, and the HSM destroys it. A lift before that keeps the key; nothing
/// brings a destroyed one back. The next charter should mark it compromised and name another (scripts/ceremony-panic).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass kill key --current --reason \"the HSM was opened\" --serial 12345678
  breakglass kill key Zc56bEJr-pLIhhHC2H7w2CJ-cvKPQspmdS0z3DPRP4g --reason \"YubiKey lost\"")]
pub(crate) struct Key {
    /// The key's id: its RFC 7638 thumbprint
    #[arg(value_name = "KID", value_parser = parse_digest, required_unless_present = "current", conflicts_with = "current")]
    target: Option<Digest>,
    /// The key that issues tokens now
    #[arg(long)]
    current: bool,
    /// With --current: of this profile, where profiles have keys of their own
    #[arg(long, value_name = "PROFILE", requires = "current")]
    profile: Option<ProfileId>,
    #[command(flatten)]
    how: How,
}

/// Lockdown: stop everything
///
/// Ends every request and token, and refuses requests, approvals, issuance and redemption, until a quorum lifts it. Kills,
/// lifts and changes of the charter go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass kill all --reason \"we do not know what they have\" --serial 12345678
  breakglass kill all --reason \"the daemon is not ours any more\" --at http://10.0.0.7:9401 --at http://10.0.0.8:9401")]
pub(crate) struct All {
    #[command(flatten)]
    how: How,
}

pub(crate) fn run(command: Command, session: &mut Session) -> Result<()> {
    let (wanted, how) = match command {
        Command::Jti(args) => (act::Wanted::Single(KillLevel::Jti, args.target), args.how),
        Command::Request(args) => (act::Wanted::Single(KillLevel::Request, args.target), args.how),
        Command::Requester(args) => (act::Wanted::Requester(args.target), args.how),
        Command::Profile(args) => (act::Wanted::Profile(args.target), args.how),
        Command::Key(args) => (act::Wanted::Key(args.target, args.profile), args.how),
        Command::All(args) => (act::Wanted::All, args.how),
        Command::Status(args) => return status::run(&args, session),
        Command::Send(args) => return send::run(&args, session),
    };
    act::run(&wanted, &how, session)
}
