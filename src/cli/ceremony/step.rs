//! `breakglass ceremony step`: one thing was done, and two people saw it.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;

use super::Place;
use crate::{
    cli::{Session, clock, exit::Problem},
    domain::{id::PersonId, transcript::Step},
};

/// Record a step of a ceremony; one that is recorded already stays as it is
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass ceremony step genesis-2026 --name \"The words were read aloud\" --by alice --by bob")]
pub(crate) struct Args {
    /// Folder of the ceremony
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// What was done
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// When it began, in Unix seconds [default: when the step before it ended]
    #[arg(long, value_name = "SECONDS")]
    began: Option<i64>,
    /// Who saw it; two persons or more
    #[arg(long, value_name = "PERSON", required = true)]
    by: Vec<PersonId>,
    /// A public value that came up, such as a digest
    #[arg(long = "fact", value_name = "NAME=VALUE", value_parser = fact)]
    facts: Vec<(String, String)>,
}

fn fact(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a fact is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<()> {
    let place = Place::new(&args.dir);
    let mut draft = place.read_draft()?;
    if place.signed().exists() {
        let message = "this transcript is sealed: nothing is added to what people have signed";
        return Err(Problem::refused("SEALED", message).into());
    }
    let done = draft.steps.iter().any(|step| step.name == args.name);
    if !done {
        let before = draft.steps.last().map_or(draft.began, |step| step.ended);
        let now = clock::now().max(before);
        let step = Step {
            name: args.name.clone(),
            began: args.began.unwrap_or(before).clamp(before, now),
            ended: now,
            acknowledged_by: args.by.iter().cloned().collect(),
            facts: args.facts.iter().cloned().collect::<BTreeMap<_, _>>(),
        };
        if step.acknowledged_by.len() < 2 || !step.acknowledged_by.is_subset(&draft.present) {
            let present: Vec<&str> = draft.present.iter().map(PersonId::as_str).collect();
            let message =
                format!("a step is acknowledged by two of those who are present: {}", present.join(", "));
            return Err(Problem::refused("NOT_ACKNOWLEDGED", message).into());
        }
        draft.steps.push(step);
        place.write_draft(&draft)?;
    }
    let steps = draft.steps.len();
    session.out.result(&serde_json::json!({"steps": steps, "recorded": !done}), || {
        if done { "That step is recorded already.".to_owned() } else { format!("Step {steps} is recorded.") }
    })
}
