//! `breakglass doctor`: looks at everything that has to be right before it is needed, and says what a thief could do.

mod advisories;
mod checks;
mod custody;
mod forecast;

use anyhow::Result;
use serde_json::json;

use super::{Session, clock, exit::Problem, setup::Setup, text::Fields};
use checks::{Check, Health};

/// Look at configuration, charter, daemon, clock and hardware keys, and say what is wrong
///
/// Ends with who could do what with what he has stolen. Exit code 1 if something has to be repaired.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  breakglass doctor --json | jq '.checks[] | select(.health != \"ok\")'")]
pub(crate) struct Args {}

pub(super) fn run(_: &Args, session: &mut Session) -> Result<()> {
    let now = clock::now();
    let mut checks = Vec::new();
    match Setup::load(session.config.as_deref()) {
        Ok(setup) => {
            checks.push(Check::ok("configuration", setup.config.path.display().to_string()));
            checks.extend(checks::genesis(&setup));
            checks.extend(checks::charter(&setup.charter, now));
            checks.push(checks::own_key(&setup, now));
            checks.extend(checks::state_dir(&setup.config.state_dir));
            checks.extend(checks::daemon(&setup, now));
            checks.extend(forecast::checks(&setup, now));
            checks.extend(advisories::checks(&setup.charter, now));
            checks.extend(checks::devices(Some(&setup.charter), now));
        }
        Err(error) => {
            checks.push(Check::fail(
                "configuration",
                format!("{error:#}"),
                "see breakglass --help for an example",
            ));
            checks.extend(checks::devices(None, now));
        }
    }
    // Nobody should have to look for this.
    checks.sort_by_key(|check| check.name != "kills" || check.health == Health::Ok);
    let failed = checks.iter().filter(|check| check.health == Health::Fail).count();
    let result = json!({ "healthy": failed == 0, "checks": checks, "custody": custody::json() });
    session.out.result(&result, || format!("{}\n{}", describe(&checks), custody::describe()))?;
    if failed == 0 {
        return Ok(());
    }
    let message = format!("{failed} of {} checks failed; each says what to do", checks.len());
    Err(Problem::refused("UNHEALTHY", message).into())
}

fn describe(checks: &[Check]) -> String {
    let mut fields = Fields::default();
    for check in checks {
        let mark = match check.health {
            Health::Ok => "ok    ",
            Health::Warn => "NOTE  ",
            Health::Fail => "WRONG ",
        };
        let next = check.next.as_ref().map_or_else(String::new, |next| format!("\n      {next}"));
        fields.add(check.name, format!("{mark}{}{next}", check.found));
    }
    fields.render()
}
