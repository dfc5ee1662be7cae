//! `breakglass review`: what follows a use of emergency access.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{
    Session, clock,
    daemon::insist,
    device::{self, DeviceArgs},
    exit::Problem,
    id::IdArg,
    random,
    review::{self, Reviewed},
    setup::Setup,
    statement, text, view,
};
use crate::{
    domain::{
        charter::Role,
        review::{Finding, Note, ReviewStatement},
    },
    grpc::v1,
    jose::{Typ, json as jcs},
};

/// Review a use of emergency access, or list the uses that wait for it
///
/// Profiles may demand that custodians look, after each use, at what was asked for and what was done, and say what they
/// found. Without an ID this lists what is open, the most urgent first. A review gives and takes nothing: a use that was not as
/// it should be is a reason to kill, or to change the charter.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  breakglass review
  breakglass review 3fz0Xq --finding proper --note \"Two tables read, as asked\" --serial 12345678")]
pub(crate) struct Args {
    /// The request, or the beginning of its id
    #[arg(value_name = "ID", requires = "finding", requires = "note")]
    id: Option<IdArg>,
    /// Whether the access was used as the grant said: proper or improper
    #[arg(long, requires = "id")]
    finding: Option<FindingArg>,
    /// What you looked at and found, a sentence of up to 280 bytes
    #[arg(long, value_name = "TEXT", requires = "id")]
    note: Option<String>,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FindingArg {
    /// It was used as the grant said
    Proper,
    /// It was not, or nobody can tell
    Improper,
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let setup = Setup::load(session.config.as_deref())?;
    let (Some(id), Some(finding), Some(note)) = (&args.id, args.finding, &args.note) else {
        return list(&setup, session);
    };
    args.device.check(&setup.charter)?;
    let note = Note::try_from(note.clone()).map_err(|why| Problem::usage("NOTE", why))?;
    let daemon = setup.connect()?;
    let open = daemon.reviews()?;
    let ids = open.iter().filter_map(|open| open.request_id.parse().ok());
    let id = id.choose(ids).context("no review is open for it: breakglass review lists what is")?;
    let found = open.iter().find(|open| open.request_id == id.to_string());
    let found =
        found.ok_or_else(|| Problem::refused("NO_REVIEW_OPEN", format!("no review is open for {id}")))?;
    let now = clock::now();
    let rules = review::rules_of(&setup.charter, &found.jws);
    let reviewed = Reviewed::new(rules, &found.jws, &id)?;
    session.out.say(view::grant::describe(&reviewed, rules, now))?;
    let custodian =
        device::choose(&mut session.out, &setup.charter, args.device.serial, now, &[Role::Custodian])?;
    let finding = match finding {
        FindingArg::Proper => Finding::Proper,
        FindingArg::Improper => Finding::Improper,
    };
    let question =
        format!("Say, as {}, that this use was {}?", custodian.describe(), finding.as_str().to_uppercase());
    let about = ReviewStatement {
        iss: setup.charter.document().iss.clone(),
        charter: setup.charter.digest(),
        request_id: id,
        finding,
        note,
        nonce: random::nonce()?,
    };
    let payload = jcs::canonical(&about)?;
    let what = (Typ::Review, payload.as_slice());
    let signature = statement::consent(&custodian, &question, what, &args.device, session)?;
    let bytes = statement::single(payload, signature).to_json();
    let (answer, lost) = insist(|| daemon.review(bytes.clone()));
    let index = match answer {
        Ok(index) => Some(index),
        // The first answer was lost, and the review was not.
        Err(error) if lost && matches!(error.reason.as_str(), "ALREADY_SIGNED" | "NO_REVIEW_OPEN") => None,
        Err(error) => return Err(error).context("your review was signed, but the daemon did not take it"),
    };
    let result = json!({"request_id": id, "person": custodian.person, "finding": finding, "index": index});
    session.out.result(&result, || {
        let entry = index.map_or_else(String::new, |index| format!(" It is entry {index} of the audit log."));
        format!("Recorded: {} found the use {}.{entry}", custodian.person, finding.as_str())
    })
}

fn list(setup: &Setup, session: &mut Session) -> Result<()> {
    let open = setup.connect()?.reviews()?;
    let now = clock::now();
    let rows: Vec<Vec<String>> = open.iter().map(|open| row(setup, open, now)).collect();
    let listed: Vec<_> = open
        .iter()
        .map(|open| {
            json!({"request_id": open.request_id, "due": due(open), "reviewed_by": open.reviewed_by,
                "missing": open.missing})
        })
        .collect();
    session.out.result(&json!({ "reviews": listed }), || {
        if rows.is_empty() {
            return "No use waits for a review.".to_owned();
        }
        text::table(&["ID", "WHO", "MAY", "DUE", "MISSING"], &rows)
    })
}

fn row(setup: &Setup, open: &v1::OpenReview, now: i64) -> Vec<String> {
    let rules = review::rules_of(&setup.charter, &open.jws);
    let reviewed = open.request_id.parse().ok().and_then(|id| Reviewed::new(rules, &open.jws, &id).ok());
    let (who, may) = reviewed.map_or_else(
        || ("unverified".to_owned(), String::new()),
        |reviewed| {
            let grant = reviewed.grant();
            let details: Vec<String> = grant.authorization_details.iter().map(view::grant::detail).collect();
            (grant.sub.to_string(), details.join("; "))
        },
    );
    let due = due(open);
    let when =
        if due <= now { format!("OVERDUE since {}", text::instant(due)) } else { text::until(due, now) };
    vec![text::safe(&open.request_id), who, may, when, text::safe(&open.missing)]
}

fn due(open: &v1::OpenReview) -> i64 {
    open.due.as_ref().map_or(0, |due| due.seconds)
}
