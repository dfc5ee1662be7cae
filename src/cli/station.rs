//! `breakglass station`: serves custodians one after the other at one machine.
//!
//! Invariants: never on the daemon's own host, but under a development charter; every signature names the station in its
//! header; a key that comes is recognised by serial number and public key, and served only while it is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{ToSocketAddrs as _, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{
    Session, check_in, clock,
    daemon::{Daemon, state_name},
    device::{self, Custodian},
    exit::{self, Exit, Problem},
    judge, kill, list, readiness, report,
    review::Reviewed,
    setup::Setup,
    text, view,
};
use crate::{
    domain::{charter::Role, check_in::Sighting, id::RequestId, statement::Verdict},
    grpc::v1::{self, RequestState},
    piv::{Device, PivEvent, PivKey, Serial, Watch},
};

/// How often the pending requests are looked at while nobody comes.
const LOOK: Duration = Duration::from_secs(3);
/// Whose key was seen in this many seconds is not asked to check in.
const CHECK_IN_AFTER: i64 = 7 * 86_400;

/// Serve custodians one after the other at this machine
///
/// Shows what is pending, waits for a YubiKey to be plugged in, recognises whose it is, and walks through what its owner
/// may decide: read, yes or no, PIN, touch. Then it waits for the next. Whoever is root on a station can have anything
/// signed there, so a station never runs on the daemon's host, and a profile says whether approvals from one count.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass station --id war-room-1")]
pub(crate) struct Args {
    /// Name of this station, which goes into every signature: a-z 0-9 . _ -
    #[arg(long, value_name = "NAME", value_parser = parse_id)]
    id: String,
    /// Read PINs from the first line of this file; only under a development charter
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// Approve without asking whatever the plugged-in key may approve; only under a development charter
    #[arg(long)]
    yes: bool,
}

fn parse_id(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("a station's name has 1 to 64 of a-z 0-9 . _ -".to_owned())
    }
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let is_development = setup.charter.document().development;
    if (args.yes || args.pin_file.is_some()) && !is_development {
        let message = "--yes and --pin-file are for development charters, and this one is not";
        return Err(Problem::refused("NOT_DEVELOPMENT", message).into());
    }
    let address = setup.config.daemon()?;
    if !is_development && is_own(address)? {
        let message = format!(
            "the daemon ({address}) runs on this machine: whoever breaks into one would have the other; use another machine"
        );
        return Err(Problem::refused("STATION_ON_DAEMON_HOST", message).into());
    }
    let daemon = setup.connect()?;
    super::genesis::alarm(&daemon, session)?;
    let mut station = Station {
        args,
        setup: &setup,
        daemon,
        shown: None,
        present: BTreeMap::new(),
        offered: BTreeSet::new(),
    };
    let mut keys = Watch::new()?;
    loop {
        match station.show_pending(session) {
            // A custodian who is still here hears of what came in meanwhile.
            Ok(true) => station.serve_present(session),
            Ok(false) => {}
            // The daemon may come back; who is at the station should see that it is not the station's fault.
            Err(error) if exit::classify(&error).0 == Exit::Unavailable => station.say_away(&error, session),
            Err(error) => return Err(error),
        }
        match keys.next(LOOK)? {
            Some(PivEvent::Plugged(key)) => {
                station.present.insert(key.serial, key.clone());
                station.serve(key, true, session);
            }
            Some(PivEvent::Unplugged(key)) => {
                station.present.remove(&key.serial);
                station.offered.retain(|(serial, _)| *serial != key.serial);
            }
            None => {}
        }
    }
}

/// Whether an address is one of this machine.
fn is_own(address: &str) -> Result<bool> {
    let resolved = address.to_socket_addrs().with_context(|| format!("{address} cannot be resolved"))?;
    // Only an address of an own interface can be bound.
    Ok(resolved.into_iter().any(|to| to.ip().is_loopback() || UdpSocket::bind((to.ip(), 0)).is_ok()))
}

struct Station<'a> {
    args: &'a Args,
    setup: &'a Setup,
    daemon: Daemon,
    /// The pending requests as last shown.
    shown: Option<Vec<String>>,
    /// The keys that are plugged in.
    present: BTreeMap<Serial, Device>,
    /// What each of them was offered already, since it was plugged in.
    offered: BTreeSet<(Serial, RequestId)>,
}

impl Station<'_> {
    fn pending(&self) -> Result<Vec<v1::Request>> {
        Ok(self.daemon.list(&[RequestState::Pending], false)?)
    }

    /// Shows what is pending, when that has changed; whether it has.
    fn show_pending(&mut self, session: &mut Session) -> Result<bool> {
        let pending = self.pending()?;
        let state = |request: &v1::Request| {
            let approvals = request.missing.as_ref().map_or(0, |missing| missing.approved_by.len());
            format!("{} {approvals}", request.request_id)
        };
        let killed = kill::warning(&self.daemon, &self.setup.charter);
        let state: Vec<String> =
            pending.iter().map(state).chain(killed.iter().map(|(state, _)| state.clone())).collect();
        if self.shown.as_ref() == Some(&state) {
            return Ok(false);
        }
        self.shown = Some(state);
        let now = clock::now();
        let rows: Vec<Vec<String>> = pending
            .iter()
            .map(|request| {
                view::request::row(request, list::reviewed(&self.setup.charter, request).as_ref(), now)
            })
            .collect();
        let shown = if rows.is_empty() {
            "Nothing is pending.\n".to_owned()
        } else {
            text::table(&view::request::HEAD, &rows)
        };
        let warning = killed.map_or_else(String::new, |(_, warning)| format!("{warning}\n"));
        session.out.say(format!("\n{warning}Station {}\n{shown}Plug in your YubiKey.", self.args.id))?;
        Ok(true)
    }

    /// Says once that the daemon is away.
    fn say_away(&mut self, error: &anyhow::Error, session: &mut Session) {
        let state = Some(vec![error.to_string()]);
        if self.shown != state {
            self.shown = state;
            report::failure(&mut session.out, error);
        }
    }

    fn serve_present(&mut self, session: &mut Session) {
        let present: Vec<Device> = self.present.values().cloned().collect();
        for key in present {
            self.serve(key, false, session);
        }
    }

    /// Serves one custodian; his trouble is not the next one's.
    fn serve(&mut self, key: Device, came: bool, session: &mut Session) {
        if let Err(error) = self.walk(key, came, session) {
            report::failure(&mut session.out, &error);
        }
    }

    /// Walks one custodian, who just came or is still here, through what was not offered to his key yet.
    fn walk(&mut self, key: Device, came: bool, session: &mut Session) -> Result<()> {
        let serial = key.serial;
        let mut pending = self.pending()?;
        pending.retain(|request| {
            let id = request.request_id.parse();
            id.is_ok_and(|id| self.offered.insert((serial, id)))
        });
        if pending.is_empty() && !came {
            return Ok(());
        }
        let rules = &self.setup.charter;
        let custodian = Custodian::recognise(rules, PivKey::at(key), clock::now(), &[Role::Custodian])?;
        session.out.say(format!("\nHello {}.", text::safe(&custodian.name)))?;
        for request in pending {
            let Some(reviewed) = list::reviewed(rules, &request) else {
                session
                    .out
                    .say(format!("{} does not verify under the charter: skipped.", request.request_id))?;
                continue;
            };
            let now = clock::now();
            if let Err(why) = reviewed.eligible(rules, &custodian.person, Verdict::Approve, true, now) {
                session.out.say(format!("{}: {why}.", reviewed.id))?;
                continue;
            }
            if let Err(error) = self.decide(&custodian, &reviewed, session) {
                report::failure(&mut session.out, &error);
            }
        }
        if came && let Err(error) = self.offer_check_in(&custodian, session) {
            report::failure(&mut session.out, &error);
        }
        let name = text::safe(&custodian.name);
        session
            .out
            .say(format!("That is all. Thank you, {name}. Take YubiKey {serial} out; the next may come."))
    }

    /// Whose key has not been seen lately may show that it works while he is here.
    fn offer_check_in(&self, custodian: &Custodian, session: &mut Session) -> Result<()> {
        let rules = &self.setup.charter;
        let (kid, now) = (custodian.public.thumbprint(), clock::now());
        // A daemon that does not say it offers nothing.
        let Ok(watched) = readiness::watched(&self.daemon, rules) else { return Ok(()) };
        let lately = |seen: Sighting| seen.at + CHECK_IN_AFTER > now;
        let device = watched.into_iter().find(|device| device.kid == kid);
        if device.is_none_or(|device| device.seen.is_some_and(lately)) {
            return Ok(());
        }
        let question = format!("Check in, as {}? [yes, or anything else to skip]", custodian.describe());
        if !self.args.yes && session.out.ask(&question)?.as_deref() != Some("yes") {
            return session.out.say("Skipped.");
        }
        let prompt = format!("PIN of YubiKey {}:", custodian.key.serial());
        let pin = device::pin(self.args.pin_file.as_deref(), &prompt)?;
        let signed = check_in::sign(rules, custodian, &pin, Some(&self.args.id), session)?;
        let index = check_in::hand_in(&self.daemon, &signed)?;
        let item = json!({"person": custodian.person, "checked_in": index, "station": self.args.id});
        session.out.item(&item, || format!("Checked in: entry {index} of the audit log."))
    }

    fn decide(&self, custodian: &Custodian, reviewed: &Reviewed<'_>, session: &mut Session) -> Result<()> {
        session.out.say(view::grant::describe(reviewed, &self.setup.charter, clock::now()))?;
        let Some(verdict) = self.verdict(custodian, session)? else {
            return session.out.say("Skipped.");
        };
        let prompt = format!("PIN of YubiKey {}:", custodian.key.serial());
        let pin = device::pin(self.args.pin_file.as_deref(), &prompt)?;
        let station = Some(self.args.id.as_str());
        let after =
            judge::sign_and_submit(&self.daemon, reviewed, custodian, &pin, verdict, station, session)?;
        let item = json!({
            "request_id": reviewed.id,
            "state": state_name(&after),
            "person": custodian.person,
            "verdict": judge::word(verdict),
            "station": self.args.id,
        });
        session.out.item(&item, || judge::outcome(&after, verdict, &self.setup.charter))
    }

    fn verdict(&self, custodian: &Custodian, session: &mut Session) -> Result<Option<Verdict>> {
        if self.args.yes {
            return Ok(Some(Verdict::Approve));
        }
        let question =
            format!("{} [yes, deny, or anything else to skip]", judge::question(Verdict::Approve, custodian));
        Ok(match session.out.ask(&question)?.as_deref() {
            Some("yes") => Some(Verdict::Approve),
            Some("deny") => Some(Verdict::Deny),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_recognised() {
        assert!(is_own("127.0.0.1:443").unwrap());
        assert!(is_own("localhost:443").unwrap());
        // TEST-NET-3 (RFC 5737) belongs to nobody.
        assert!(!is_own("203.0.113.7:443").unwrap());
        // A host's own outward address counts as well, where it has one.
        let outward = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect("203.0.113.7:443")?;
            socket.local_addr()
        });
        if let Ok(own) = outward {
            assert!(is_own(&own.to_string()).unwrap());
        }
    }

    #[test]
    fn a_station_has_a_plain_name() {
        assert!(parse_id("war-room-1").is_ok());
        for text in ["", "War", "a b", "ä", &"a".repeat(65)] {
            assert!(parse_id(text).is_err(), "{text}");
        }
    }
}
