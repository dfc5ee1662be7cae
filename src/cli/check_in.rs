//! `breakglass check-in`: a custodian shows that the own key can be reached; the self-test of the whole set-up.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{
    Session, clock,
    daemon::{Daemon, insist},
    device::{self, Custodian, DeviceArgs},
    files, random,
    setup::Setup,
    statement::{self, Statement},
};
use crate::{
    domain::{
        charter::{Charter, Role},
        check_in::{CheckIn, SignedCheckIn},
        statement::MAX_STATEMENT_BYTES,
    },
    jose::{GeneralJws, Typ, json as jcs},
    piv::Pin,
};

/// Show that you can reach your YubiKey: sign "I am here" with PIN and touch
///
/// Do this once a month with each of your keys, and after anything about them has changed. It tries everything that an
/// approval would need: the charter from its genesis on, your key, your PIN, the touch, and the daemon. The others are
/// reminded of keys that nobody has seen for 30 days. It gives nothing to anybody. What your key signed otherwise, such
/// as an approval, counts as much.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass check-in --serial 12345678
  breakglass check-in --offline --out me.check-in.json     (on a machine without a network)
  breakglass check-in --submit me.check-in.json            (within seven days, where there is one)")]
pub(crate) struct Args {
    /// Ask no daemon: write the signed check-in into a file
    #[arg(long, conflicts_with = "submit")]
    offline: bool,
    /// With --offline: where to write it [default: SERIAL.check-in.json]
    #[arg(long, value_name = "FILE", requires = "offline")]
    out: Option<PathBuf>,
    /// Hand in what --offline wrote, whoever signed it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["serial", "pin_file", "yes"])]
    submit: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    if let Some(file) = &args.submit {
        return submit(file, &setup, session);
    }
    args.device.check(&setup.charter)?;
    // Better to know before the touch that it would be for nothing.
    let daemon = if args.offline { None } else { Some(setup.connect()?) };
    let now = clock::now();
    let custodian = device::choose(
        &mut session.out,
        &setup.charter,
        args.device.serial,
        now,
        &[Role::Custodian, Role::Recovery],
    )?;
    let question = format!("Check in, as {}?", custodian.describe());
    device::confirm(&mut session.out, &question, args.device.yes)?;
    let pin = custodian.pin(&args.device)?;
    let signed = sign(&setup.charter, &custodian, &pin, None, session)?;
    let Some(daemon) = daemon else { return keep(&signed, args, &custodian, session) };
    let index = hand_in(&daemon, &signed)?;
    let result = json!({"person": custodian.person, "serial": custodian.key.serial().0, "index": index});
    session.out.result(&result, || {
        format!(
            "Checked in, as {}. Charter, key, PIN, touch and daemon work; it is entry {index} of the audit log.",
            custodian.describe()
        )
    })
}

/// Signs a check-in with a custodian's key, with a touch.
pub(super) fn sign(
    charter: &Charter,
    custodian: &Custodian,
    pin: &Pin,
    station: Option<&str>,
    session: &mut Session,
) -> Result<GeneralJws> {
    let about =
        CheckIn { iss: charter.document().iss.clone(), charter: charter.digest(), nonce: random::nonce()? };
    let payload = jcs::canonical(&about)?;
    session.out.say(format!("Touch YubiKey {} when it blinks …", custodian.key.serial()))?;
    let statement = Statement { typ: Typ::CheckIn, payload: &payload, station, iat: clock::now() };
    let signature = statement::sign_with_device(&custodian.key, &custodian.public, pin, &statement)?;
    Ok(statement::single(payload, signature))
}

/// The index of its entry.
pub(super) fn hand_in(daemon: &Daemon, signed: &GeneralJws) -> Result<u64> {
    let bytes = signed.to_json();
    let index = match insist(|| daemon.check_in(bytes.clone())) {
        // The answer was lost, not the check-in: the newest signature of this key is the one that was just sent.
        (Err(error), true) if error.reason == "CHECK_IN_KNOWN" => {
            let kid = signed.signatures.first().map(|signature| signature.header().kid.to_string());
            let devices = daemon.devices()?;
            devices
                .iter()
                .find(|device| Some(&device.kid) == kid.as_ref())
                .map_or(0, |found| found.seen_index)
        }
        (answer, _) => answer.context("your check-in was signed, but the daemon did not take it")?,
    };
    Ok(index)
}

fn keep(signed: &GeneralJws, args: &Args, custodian: &Custodian, session: &mut Session) -> Result<()> {
    let serial = custodian.key.serial();
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{serial}.check-in.json")));
    files::replace(&out, &signed.to_json(), files::Access::Public)?;
    let result = json!({"person": custodian.person, "serial": serial.0, "file": out});
    session.out.result(&result, || {
        let file = out.display();
        format!(
            "Signed. Wrote {file}.\nNext, where there is a network, within seven days: breakglass check-in --submit {file}"
        )
    })
}

fn submit(file: &Path, setup: &Setup, session: &mut Session) -> Result<()> {
    let bytes = files::read(file)?;
    let place = || format!("{} holds no check-in", file.display());
    let jws = GeneralJws::parse(&bytes, MAX_STATEMENT_BYTES).with_context(place)?;
    let signed = SignedCheckIn::verify(jws, &setup.charter, Typ::CheckIn)?;
    let index = hand_in(&setup.connect()?, signed.jws())?;
    let holder = setup.charter.holder(&signed.kid());
    let person = holder.map(|holder| holder.principal.as_person());
    session.out.result(&json!({"person": person, "index": index}), || {
        let who = person.as_ref().map_or("somebody", |person| person.as_str());
        format!("The check-in of {who} is entry {index} of the audit log.")
    })
}
