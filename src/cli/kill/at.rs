//! A kill brought to gates themselves: for the day on which the daemon is gone, or is the enemy.
//!
//! Invariant: a gate enforces the kill if, and only if, it says so under a key of the charter, about these very bytes. What any
//! other answer claims is not believed.

use std::{fmt, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    cli::{Session, exit::Problem, text},
    domain::{
        charter::{Charter, Rules},
        gate::Ack,
        id::{GateId, PrincipalId},
        kill::Kill,
        statement::MAX_STATEMENT_BYTES,
    },
    fetch::{Answer, FetchError, Fetcher, Question},
    jose::{Digest, GeneralJws},
};

/// The longest that one gate is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of a refusal is shown, characters.
const SHOWN: usize = 300;

/// The control listener of a gate: scheme and authority.
#[derive(Debug, Clone)]
pub(super) struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Reads an address; without a scheme it is HTTP, since the kill and its answer are signed and no secrets.
pub(super) fn place(text: &str) -> Result<Place, String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = url.trim_end_matches('/');
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let is_address = |rest: &str| {
        !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_graphic())
            && !rest.contains(['/', '?', '#', '@'])
    };
    if rest.is_some_and(is_address) {
        Ok(Place(url.to_owned()))
    } else {
        Err("write http://HOST:PORT, the control address in the gate's configuration".to_owned())
    }
}

/// Why it is not known that a gate enforces the kill.
#[derive(Debug, thiserror::Error)]
enum Unproven {
    #[error(transparent)]
    Unreached(#[from] FetchError),
    #[error("it refuses ({status}): {said}")]
    Refused { status: u16, said: String },
    #[error("it answers something that is no acknowledgement of this kill by a gate of the charter: {0}")]
    Untrue(String),
}

impl Unproven {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Unreached(error) => error.reason(),
            Self::Refused { .. } => "GATE_REFUSED",
            Self::Untrue(_) => "ACK_INVALID",
        }
    }
}

/// Whose gate says that it enforces the kill.
struct Enforcer {
    verifier: PrincipalId,
    gate: GateId,
}

/// Brings it to all of them at the same time, and says of each whether it has proved that it enforces it. `kept`: where the
/// signed kill is, for those who send it to a daemon later.
pub(super) fn deliver(
    places: &[Place],
    charter: &Charter,
    (kill, jws): (&Kill, &GeneralJws),
    kept: Option<&Path>,
    session: &mut Session,
) -> Result<()> {
    let digest = Digest::of(&jws.payload);
    let answers = ask(places, jws).context("no gate could be asked")?;
    let answers = answers.into_iter().map(|answer| judge(&answer?, charter, &digest));
    let judged: Vec<(&Place, Result<Enforcer, Unproven>)> = places.iter().zip(answers).collect();
    let proven = judged.iter().filter(|(_, judged)| judged.is_ok()).count();
    let lines = judged.iter().map(|(place, judged)| line(place, judged)).collect::<Vec<_>>().join("\n");
    let next = match kept {
        Some(file) => format!("breakglass kill send {}", file.display()),
        None => "the same kill without --at".to_owned(),
    };
    if proven < places.len() {
        let message = format!(
            "{proven} of {} gates have proved that they enforce kill {}; the others may still let it pass:\n{lines}\nTry again, or stop \
             what they protect. No daemon has been told: next, {next}",
            places.len(),
            kill.id
        );
        return Err(Problem::refused("KILL_NOT_ENFORCED", message).into());
    }
    let result = json!({
        "id": kill.id,
        "level": kill.target.level().as_str(),
        "target": kill.target.name(),
        "gates": judged.iter().map(|(place, judged)| shown(place, judged)).collect::<Vec<_>>(),
    });
    session.out.result(&result, || {
        format!(
            "Killed: {}. Kill {}.\n{lines}\nNo daemon has been told. Next, once there is one: {next}",
            kill.target, kill.id
        )
    })
}

fn ask(places: &[Place], jws: &GeneralJws) -> Result<Vec<Result<Answer, FetchError>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fetcher = Fetcher::new();
    Ok(runtime.block_on(async {
        let asking = places.iter().map(|place| {
            let (fetcher, url) = (fetcher.clone(), format!("{place}/kill"));
            let question = Question::post_statement(url, "application/jose+json", jws.to_json());
            tokio::spawn(async move { fetcher.ask(question, PATIENCE, MAX_STATEMENT_BYTES).await })
        });
        let mut answers = Vec::new();
        for asked in asking.collect::<Vec<_>>() {
            answers.push(asked.await.unwrap_or_else(|error| {
                Err(FetchError::Unreachable { place: "the gate".to_owned(), why: error.to_string() })
            }));
        }
        answers
    }))
}

/// Whose gate enforces what has this digest, if the answer proves it.
fn judge(answer: &Answer, charter: &Rules, kill: &Digest) -> Result<Enforcer, Unproven> {
    if !answer.status.is_success() {
        let said: String = String::from_utf8_lossy(&answer.body).trim().chars().take(SHOWN).collect();
        return Err(Unproven::Refused { status: answer.status.as_u16(), said: text::safe(&said) });
    }
    let untrue = |why: &dyn fmt::Display| Unproven::Untrue(why.to_string());
    let jws = GeneralJws::parse(&answer.body, MAX_STATEMENT_BYTES).map_err(|error| untrue(&error))?;
    let signed = Ack::verify(jws, charter).map_err(|error| untrue(&error))?;
    if !signed.about().kills.contains(kill) {
        return Err(untrue(&"it names other kills"));
    }
    let verifier = charter.verifier_of(&signed.kid()).map_err(|error| untrue(&error))?.id.clone();
    Ok(Enforcer { verifier, gate: signed.about().gate.clone() })
}

fn line(place: &Place, judged: &Result<Enforcer, Unproven>) -> String {
    match judged {
        Ok(Enforcer { verifier, gate }) => {
            format!("  {place}: enforced by gate {gate} of {verifier}, under its signature")
        }
        Err(why) => format!("  {place}: not proved: {why}"),
    }
}

fn shown(place: &Place, judged: &Result<Enforcer, Unproven>) -> Value {
    match judged {
        Ok(Enforcer { verifier, gate }) => json!({"at": place.0, "verifier": verifier, "gate": gate}),
        Err(why) => json!({"at": place.0, "reason": why.reason()}),
    }
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, StatusCode};

    use super::*;
    use crate::{
        cli::fixture::{self, NOW, key},
        jose::{Typ, json as strict},
    };

    /// The seed of the verifier's key.
    const VAULT: u8 = 50;

    fn rules() -> Rules {
        let mut document = fixture::document();
        document["verifiers"] =
            json!([{"id": "vault", "aud": "https://db.example", "keys": [key(VAULT).public]}]);
        fixture::rules_of(&document)
    }

    fn answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: body.into().into() }
    }

    fn ack(rules: &Rules, kill: Digest, by: u8) -> Vec<u8> {
        let payload = json!({"iss": "https://breakglass.example", "charter": rules.digest(), "gate": "db-1",
            "kills": [kill], "epoch": 3, "head": {"step": 3, "digest": Digest::of(b"head")}});
        let payload = strict::canonical(&payload).unwrap();
        let signatures = vec![fixture::signature(by, Typ::Ack, &payload, NOW - 5, None)];
        GeneralJws { payload, signatures }.to_json()
    }

    #[test]
    fn an_answer_counts_by_a_gates_signature_over_this_kill_alone() {
        let (rules, kill) = (rules(), Digest::of(b"the kill"));
        let enforcer = judge(&answer(200, ack(&rules, kill, VAULT)), &rules, &kill).unwrap();
        assert_eq!((enforcer.verifier.as_str(), enforcer.gate.to_string().as_str()), ("vault", "db-1"));
        for (answer, reason) in [
            (answer(200, ack(&rules, Digest::of(b"another kill"), VAULT)), "ACK_INVALID"),
            (answer(200, ack(&rules, kill, fixture::ALICE)), "ACK_INVALID"),
            (answer(200, ack(&rules, kill, 99)), "ACK_INVALID"),
            (answer(200, "enforced, honestly"), "ACK_INVALID"),
            (answer(400, ack(&rules, kill, VAULT)), "GATE_REFUSED"),
            (answer(302, ""), "GATE_REFUSED"),
        ] {
            assert_eq!(judge(&answer, &rules, &kill).err().unwrap().reason(), reason);
        }
        let shown = judge(&answer(400, "KILL_OLD: \u{1b}[2Jno"), &rules, &kill).err().unwrap().to_string();
        assert!(!shown.contains('\u{1b}') && shown.contains("KILL_OLD"), "{shown}");
    }

    #[test]
    fn an_address_is_one_or_refused() {
        for (text, url) in [
            ("10.0.0.7:9401", "http://10.0.0.7:9401"),
            ("http://[::1]:9401/", "http://[::1]:9401"),
            ("https://gate.example", "https://gate.example"),
        ] {
            assert_eq!(place(text).unwrap().0, url);
        }
        for text in ["", "http://", "ftp://a", "http://a/kill", "http://a?b", "http://u@a", "a b:1"] {
            assert!(place(text).is_err(), "{text}");
        }
    }
}
