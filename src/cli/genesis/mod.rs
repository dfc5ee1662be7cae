//! `breakglass genesis`: a new chain in place of one of which no quorum is left, and the alarm about it.

mod announce;
mod cancel;
mod status;

use anyhow::Result;
use clap::Subcommand;

use super::{Session, daemon::Daemon, setup::Setup, text, view};
use crate::{grpc::v1, jose::Digest};

/// Commands about a new chain.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Status(status::Args),
    Announce(announce::Args),
    Cancel(cancel::Args),
}

pub(crate) fn run(command: Command, session: &mut Session) -> Result<()> {
    match command {
        Command::Status(args) => status::run(&args, session),
        Command::Announce(args) => announce::run(&args, session),
        Command::Cancel(args) => cancel::run(&args, session),
    }
}

/// Says, before anything else, that the chain is about to end, or has ended. A daemon that does not answer is for the
/// command itself to tell.
pub(crate) fn alarm(daemon: &Daemon, session: &mut Session) -> Result<()> {
    match daemon.genesis() {
        Ok(found) if is_quiet(&found) => Ok(()),
        Ok(found) => session.out.say(describe(&found)),
        Err(_) => Ok(()),
    }
}

/// The same, for commands that need no daemon.
pub(crate) fn alarm_if_reachable(setup: &Setup, session: &mut Session) -> Result<()> {
    match setup.connect() {
        Ok(daemon) => alarm(&daemon, session),
        Err(_) => Ok(()),
    }
}

pub(crate) fn is_quiet(found: &v1::GetGenesisResponse) -> bool {
    found.announcements.is_empty() && found.replaced_by.is_empty()
}

/// What is announced, for people.
pub(crate) fn describe(found: &v1::GetGenesisResponse) -> String {
    if !found.replaced_by.is_empty() {
        return format!(
            "ALARM: this chain has ended. The chain that begins with {} took its place\n  words  {}\n  Nothing is issued here any more. If you know of that new charter: run breakglassd init with it in a new state directory, and have everybody pin its words.\n",
            text::safe(&found.replaced_by),
            words(&found.replaced_by)
        );
    }
    found.announcements.iter().map(announced).collect()
}

fn announced(one: &v1::Announcement) -> String {
    let ends = one.ends_at.as_ref().map_or(0, |at| at.seconds);
    format!(
        "ALARM: {} has announced a new chain in place of this one: {} of 7 days have passed; it ends this one {}\n  words  {}\n  If a quorum is left, cancel it: breakglass genesis cancel {} --file cancel.json\n",
        text::safe(&one.by),
        one.days,
        text::until(ends, super::clock::now()),
        words(&one.genesis),
        short(&one.digest)
    )
}

fn words(digest: &str) -> String {
    digest.parse::<Digest>().map_or_else(|_| "-".into(), |digest| view::charter::phrase(&digest))
}

/// An id as it may be typed again.
fn short(digest: &str) -> String {
    let beginning: String = digest.chars().take(8).collect();
    if beginning.starts_with('-') { format!("id:{beginning}") } else { text::safe(&beginning) }
}
