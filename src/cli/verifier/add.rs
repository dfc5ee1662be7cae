//! `breakglass verifier add`: a version of the charter that names one more verifier, signed by whoever is here, until it is
//! seen to accept its canary.
//!
//! Invariant: it is a change of the charter like any other: each custodian is shown the difference and signs with his own key.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::known;
use crate::{
    cli::{
        Session, charter, clock, daemon::Daemon, device::DeviceArgs, exit::Problem, files, setup::Setup, text,
    },
    domain::{
        charter::{Document, Probe, Verifier},
        id::{Audience, Endpoint, PrincipalId},
    },
    grpc::v1,
    piv::Serial,
};

/// How long the canary and its first answer are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// Name one more verifier in the charter, and see that it can be probed
///
/// Drafts the next version of the charter, has it signed with each --serial, and hands it in. If that is a governance quorum,
/// it is in force at once, the HSM signs a canary for the verifier, and the daemon shows it: it should be accepted, or that the
/// verifier refuses a killed key can never be proven. Without --serial only a draft is written. An audience that is not
/// named is that of all profiles, if they have one. A verifier of this name is replaced.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass verifier add vault --poke-url https://vault.example/v1/auth/jwt/login \\
    --poke-body '{\"role\":\"canary\",\"jwt\":\"{jwt}\"}' --serial 12345678 --serial 23456789
  breakglass verifier add gate --aud postgres-prod --key gate.pub --out next.json")]
pub(crate) struct Args {
    /// What to call it
    #[arg(value_name = "NAME")]
    name: PrincipalId,
    /// The audience whose tokens it accepts
    #[arg(long, value_name = "AUDIENCE")]
    aud: Option<Audience>,
    /// Where it can be shown a token
    #[arg(long, value_name = "URL")]
    poke_url: Option<Endpoint>,
    /// The JSON to POST there, with {jwt} where the token goes; without it the token is a GET's bearer token
    #[arg(long, value_name = "TEMPLATE", requires = "poke_url")]
    poke_body: Option<String>,
    /// How long a session of its own outlives the token that began it
    #[arg(long, value_name = "TIME", value_parser = text::parse_duration, default_value = "0")]
    longest_session: u32,
    /// Where its sessions can be ended
    #[arg(long, value_name = "URL")]
    revocation_hook: Option<Endpoint>,
    /// Its public key, from breakglass key new; where it has several, each
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Serial number of a YubiKey to sign with; one for each custodian who is here
    #[arg(long, value_name = "N")]
    serial: Vec<Serial>,
    /// Read the PINs from the first line of this file; for scripts, and only under a development charter
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// Do not ask for confirmation; for scripts, and only under a development charter
    #[arg(long)]
    yes: bool,
    /// Without --serial: where to write the draft
    #[arg(long, value_name = "FILE", default_value = "charter.next.json")]
    out: PathBuf,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let mut document = charter::following(&setup.charter, clock::now())?;
    let verifier = args.verifier(&document)?;
    let is_probed = verifier.probe.is_some();
    document.verifiers.retain(|known| known.id != verifier.id);
    document.verifiers.push(verifier);
    if args.serial.is_empty() {
        return draft(args, &document, session);
    }
    let devices = args.serial.iter().map(|serial| DeviceArgs {
        serial: Some(*serial),
        pin_file: args.pin_file.clone(),
        yes: args.yes,
    });
    let signed = charter::signed(&setup.charter, &document, &devices.collect::<Vec<_>>(), session)?;
    let daemon = setup.connect()?;
    let after = daemon.propose(signed.to_json(), Vec::new())?;
    if let Some(proposal) = after {
        return proposed(args, &document, &proposal, session);
    }
    session.out.say(format!("Version {} is in force.", document.version))?;
    let standing = if is_probed { wait(&daemon, args.name.as_str(), session)? } else { None };
    let result = json!({"verifier": args.name, "version": document.version, "in_force": true,
        "known": standing.as_ref().map(known::json)});
    session.out.result(&result, || {
        let mut lines = vec![format!("{} is a verifier.", args.name)];
        let said = match &standing {
            Some(one) => one.canaries.iter().map(|canary| known::line(&one.id, canary)).collect(),
            None if is_probed => vec!["It has not answered yet: breakglass verifier list".to_owned()],
            None => vec!["It cannot be probed: that it refuses a killed key cannot be proven.".to_owned()],
        };
        lines.extend(said);
        lines.push("Next, everybody: breakglass charter pull".to_owned());
        lines.join("\n")
    })
}

impl Args {
    fn verifier(&self, document: &Document) -> Result<Verifier> {
        let aud = match &self.aud {
            Some(aud) => aud.clone(),
            None => only_audience(document)?,
        };
        let keys = self.key.iter().map(|path| files::read_json(path, "a public key of breakglass key new"));
        let probe = self.poke_url.clone().map(|url| Probe { url, body: self.poke_body.clone() });
        Ok(Verifier {
            id: self.name.clone(),
            aud,
            probe,
            longest_session: self.longest_session,
            revocation_hook: self.revocation_hook.clone(),
            keys: keys.collect::<Result<_>>()?,
            secret: None,
            events: None,
        })
    }
}

fn only_audience(document: &Document) -> Result<Audience> {
    let mut audiences = document.profiles.iter().map(|profile| &profile.aud);
    let first = audiences.next().context("the charter has no profile")?;
    if audiences.all(|other| other == first) {
        return Ok(first.clone());
    }
    let message = "the charter's profiles have several audiences: say with --aud whose tokens it accepts";
    Err(Problem::usage("AUDIENCE_NEEDED", message).into())
}

fn draft(args: &Args, document: &Document, session: &mut Session) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(document)?;
    bytes.push(b'\n');
    files::create(&args.out, &bytes, files::Access::Public)?;
    let result = json!({"verifier": args.name, "version": document.version, "draft": args.out});
    session.out.result(&result, || {
        let out = args.out.display();
        format!(
            "Wrote version {} to {out}.\nNext, a custodian: breakglass charter propose {out}; then the others: breakglass charter sign",
            document.version
        )
    })
}

fn proposed(args: &Args, document: &Document, proposal: &v1::Proposal, session: &mut Session) -> Result<()> {
    let result = json!({"verifier": args.name, "version": document.version, "in_force": false,
        "missing": proposal.missing});
    session.out.result(&result, || {
        format!(
            "Version {} is proposed. Still needed: {}\nNext, the others: breakglass charter proposals",
            document.version,
            text::safe(&proposal.missing)
        )
    })
}

/// Until each of its canaries is signed and was shown; none if that takes too long.
fn wait(daemon: &Daemon, name: &str, session: &mut Session) -> Result<Option<v1::VerifierStanding>> {
    session.out.say("The HSM signs its canary, and the daemon shows it …")?;
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let standing = daemon.verifiers()?.into_iter().find(|verifier| verifier.id == name);
        let is_known =
            |canary: &v1::CanaryStanding| canary.signed && canary.current && canary.baseline.is_some();
        if let Some(standing) =
            standing.filter(|one| !one.canaries.is_empty() && one.canaries.iter().all(is_known))
        {
            return Ok(Some(standing));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(None)
}
