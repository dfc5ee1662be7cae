//! `breakglass charter proposals` and `retract`: what is proposed at the daemon.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::consent;
use crate::{
    cli::{
        Session, clock,
        daemon::Daemon,
        device::{self, DeviceArgs},
        exit::Problem,
        id::IdArg,
        random,
        setup::Setup,
        statement, text, view,
    },
    domain::{
        charter::{Charter, MAX_CHARTER_BYTES, Rules},
        id::RequestId,
        proposal::AboutProposal,
    },
    grpc::v1,
    jose::{Digest, GeneralJws, Typ, json as jcs},
};

/// How often the daemon is asked while they are watched.
const LOOK: Duration = Duration::from_secs(3);

/// Show which charters are proposed, what they change, and who still has to sign
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass charter proposals
  breakglass charter proposals --watch
  breakglass charter proposals --json | jq -r '.[].id'")]
pub(crate) struct Args {
    /// Go on, and show them again whenever something about them changes; as JSON, a line each time
    #[arg(long)]
    watch: bool,
}

/// Take back a charter that you proposed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass charter retract 3fz0Xq --serial 12345678")]
pub(crate) struct RetractArgs {
    /// Id of the proposed charter
    #[arg(value_name = "ID")]
    id: IdArg,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let daemon = setup.connect()?;
    if args.watch {
        return watch(&setup.charter, &daemon, session);
    }
    let proposals = daemon.proposals()?;
    let shown = Shown::read(&setup.charter, &proposals)?;
    session.out.result(&shown.json(&setup.charter), || shown.text(&setup.charter))
}

/// Until it is interrupted, or the charter in force is another one.
fn watch(charter: &Charter, daemon: &Daemon, session: &mut Session) -> Result<()> {
    let mut last = None;
    loop {
        match daemon.proposals() {
            Ok(proposals) if last.as_ref() != Some(&proposals) => {
                let shown = Shown::read(charter, &proposals)?;
                session.out.item(&shown.json(charter), || shown.text(charter))?;
                last = Some(proposals);
            }
            Ok(_) => {}
            // One that restarts comes back.
            Err(error) if error.is_uncertain() || error.is_unreachable() => {}
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(LOOK);
    }
}

/// Proposals as this machine reads them.
struct Shown<'a>(Vec<(Rules, GeneralJws, &'a v1::Proposal)>);

impl<'a> Shown<'a> {
    fn read(charter: &Charter, proposals: &'a [v1::Proposal]) -> Result<Self> {
        let one = |proposal: &'a v1::Proposal| {
            let statement = GeneralJws::parse(&proposal.jws, MAX_CHARTER_BYTES)?;
            Ok((consent::draft(charter, &statement)?, statement, proposal))
        };
        let read = proposals.iter().map(one).collect::<Result<_>>();
        read.map(Self).context("the daemon shows a proposal that cannot be read here")
    }

    fn json(&self, charter: &Charter) -> Vec<Value> {
        self.0.iter().map(|(rules, statement, proposal)| shown(charter, rules, statement, proposal)).collect()
    }

    fn text(&self, charter: &Charter) -> String {
        if self.0.is_empty() {
            return "No charter is proposed.".to_owned();
        }
        let one = |(rules, statement, proposal): &(Rules, GeneralJws, &v1::Proposal)| {
            let deadline = proposal.deadline.as_ref().map_or(0, |deadline| deadline.seconds);
            format!(
                "{}\n  proposed by {}, open until {}\n  still needed: {}\n  to sign it: breakglass charter sign {}\n",
                view::difference::describe(charter, rules),
                text::safe(&proposal.author),
                text::until(deadline, clock::now()),
                needed(charter, rules, statement),
                consent::short(&rules.digest())
            )
        };
        self.0.iter().map(one).collect::<Vec<_>>().join("\n")
    }
}

/// By this machine's own count.
fn needed(charter: &Charter, rules: &Rules, statement: &GeneralJws) -> String {
    charter.tally(rules, statement, clock::now()).map_or_else(
        |error| format!("its signatures are not good: {error}"),
        |tally| consent::missing(&tally),
    )
}

fn shown(charter: &Charter, rules: &Rules, statement: &GeneralJws, proposal: &v1::Proposal) -> Value {
    json!({
        "id": rules.digest(),
        "version": rules.document().version,
        "words": view::charter::phrase(&rules.digest()),
        "author": proposal.author,
        "deadline": proposal.deadline.as_ref().map(|deadline| deadline.seconds),
        "missing": needed(charter, rules, statement),
        "changes": view::difference::json(charter, rules),
    })
}

/// The proposal that an id or its beginning means.
pub(super) fn find(daemon: &Daemon, id: &IdArg) -> Result<v1::Proposal> {
    let proposals = daemon.proposals()?;
    let digest = |proposal: &v1::Proposal| proposal.digest.parse::<Digest>().ok().map(RequestId);
    let none = |_| {
        Problem::refused("PROPOSAL_UNKNOWN", "no such charter is proposed: see breakglass charter proposals")
    };
    let wanted = id.choose(proposals.iter().filter_map(digest)).map_err(none)?;
    let found = proposals.into_iter().find(|proposal| digest(proposal) == Some(wanted));
    found.context("the daemon sent no such proposal")
}

pub(super) fn retract(args: &RetractArgs, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let charter = &setup.charter;
    args.device.check(charter)?;
    let daemon = setup.connect()?;
    let proposal = find(&daemon, &args.id)?;
    let proposed: Digest = proposal.digest.parse().context("the daemon sent no digest")?;
    let custodian =
        device::choose(&mut session.out, charter, args.device.serial, clock::now(), device::KEEPERS)?;
    let question =
        format!("Take back the charter {}, as {}?", consent::short(&proposed), custodian.describe());
    let about = AboutProposal {
        iss: charter.document().iss.clone(),
        charter: charter.digest(),
        proposal: proposed,
        nonce: random::nonce()?,
    };
    let payload = jcs::canonical(&about)?;
    let what = (Typ::Retraction, payload.as_slice());
    let signature = statement::consent(&custodian, &question, what, &args.device, session)?;
    daemon.retract(statement::single(payload, signature).to_json())?;
    let result = json!({ "id": proposed, "retracted": true });
    session.out.result(&result, || format!("The charter {} is proposed no more.", consent::short(&proposed)))
}
