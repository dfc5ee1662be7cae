//! After a kill of an issuing key or of everything: what each verifier answers, as it comes.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::{
    cli::{
        Session,
        daemon::Daemon,
        verifier::known::{self, Verdict, verdict},
    },
    domain::{
        charter::Rules,
        kill::{Kill, Target},
    },
};

/// How long answers are waited for: what is still open then is asked by the daemon, and shown by kill status.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);

/// Says it line by line, after the text that the kill is in force, and returns it for programs; nothing where no verifier is concerned. The kill is in force, so
/// nothing here is a failure.
pub(super) fn verifiers(
    daemon: &Daemon,
    rules: &Rules,
    (kill, done): (&Kill, &str),
    session: &mut Session,
) -> Result<Option<Value>> {
    let issues = |target: &Target| match target {
        Target::All => true,
        Target::Key(kid) => rules.document().issuing_keys.iter().any(|key| key.key.thumbprint() == *kid),
        _ => false,
    };
    if !issues(&kill.target) {
        return Ok(None);
    }
    let (begin, mut shown, mut said) = (Instant::now(), 0, vec![done.to_owned()]);
    loop {
        let Ok(standing) = daemon.verifiers() else { return Ok(None) };
        let mut open = Vec::new();
        for verifier in &standing {
            for canary in verifier.canaries.iter().filter(|canary| canary.signed) {
                let line = known::line(&verifier.id, canary);
                match verdict(canary) {
                    Verdict::Good => {}
                    Verdict::Asking => open.push(line),
                    _ if said.contains(&line) => {}
                    _ => said.push(line),
                }
            }
        }
        for line in said.iter().skip(shown).filter(|_| said.len() > 1 || !open.is_empty()) {
            session.out.say(line)?;
            shown += 1;
        }
        if open.is_empty() || begin.elapsed() > PATIENCE {
            for line in &open {
                session.out.say(line)?;
            }
            if !open.is_empty() {
                session.out.say("The daemon goes on asking: breakglass kill status shows the answers.")?;
            }
            return Ok(Some(standing.iter().map(known::json).collect()));
        }
        session.out.progress(&format!("waiting for {} verifiers … ", open.len()))?;
        std::thread::sleep(PAUSE);
    }
}
