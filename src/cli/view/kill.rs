//! Kills in plain words, and as JSON.

use serde_json::{Value, json};

use super::grant;
use crate::{
    cli::{kill::known::Known, text},
    domain::{
        charter::Rules,
        grant::Grant,
        kill::{Kill, Recorded, Subject, Target},
    },
    grpc::v1,
    jose::{Digest, GeneralJws, Typ},
};

/// What a kill of this target stops.
pub(crate) fn effect(target: &Target) -> String {
    let until = "until a quorum lifts it";
    match target {
        Target::Jti(id) | Target::Request(id) => format!(
            "This ends request {id} and its token for good: it is approved, signed and handed out no more, and verifiers that \
             hear of kills refuse it."
        ),
        Target::Requester(id) => {
            format!(
                "This ends all that {id} has asked for or was asked for {id}, and refuses anything new, {until}."
            )
        }
        Target::Profile(id) => {
            format!("This ends every request under the profile {id}, and refuses new ones, {until}.")
        }
        Target::Key(kid) => format!(
            "This ends every request that the key {kid} has asked for, approved or issued, and nothing is done with it any more, \
             {until}."
        ),
        Target::All => format!(
            "This is a LOCKDOWN. It ends every request and every token, and refuses requests, approvals, issuance and \
             redemption, {until}. Kills, lifts and changes of the charter go on."
        ),
    }
}

/// Which of these requests it ends.
pub(crate) fn hit(target: &Target, requests: &[v1::Request], rules: &Rules) -> String {
    let hit: Vec<&v1::Request> = requests.iter().filter(|request| is_hit(target, request, rules)).collect();
    if hit.is_empty() {
        return "No open request that you can see is hit by it.".to_owned();
    }
    let rows: Vec<String> = hit
        .iter()
        .map(|request| {
            let (id, sub, profile) =
                (text::safe(&request.request_id), text::safe(&request.subject), text::safe(&request.profile));
            format!("  {id}  {sub}  {profile}")
        })
        .collect();
    format!("It ends {} that are open now:\n{}", rows.len(), rows.join("\n"))
}

fn is_hit(target: &Target, request: &v1::Request, rules: &Rules) -> bool {
    let Ok(jws) = GeneralJws::parse(&request.jws, crate::domain::statement::MAX_STATEMENT_BYTES) else {
        return *target == Target::All;
    };
    let Ok(grant) = Grant::parse(&jws.payload) else { return *target == Target::All };
    let approvals = jws.signatures.iter().filter(|signature| signature.header().typ == Typ::Approval);
    let approvers: Vec<Digest> = approvals.map(|signature| signature.header().kid).collect();
    // Which key issues the token is the daemon's to say; here it is the one that the charter has for the profile.
    let issuer = rules.issuing_key(&grant.profile).map(|key| key.key.thumbprint());
    let issuer = issuer.filter(|_| request.state() != v1::RequestState::Pending);
    let subject = Subject {
        id: Grant::id_of(&jws.payload),
        grant: &grant,
        approvers: &approvers,
        issuer: issuer.as_ref(),
    };
    subject.is_hit(target)
}

/// A warning to stand above everything else; empty if nothing wider than one request is killed.
pub(crate) fn banner(known: &Known, rules: &Rules, now: i64) -> String {
    let wide = known.kills.standing().filter(|recorded| recorded.kill.target.request().is_none());
    let mut lines: Vec<String> = wide.map(|recorded| line(recorded, rules, now)).collect();
    lines.sort_by_key(|line| !line.starts_with("LOCKDOWN"));
    if !known.unrecorded.is_empty() {
        lines.push(
            "A kill is in force that the audit log has not taken: nothing else is decided until it has."
                .into(),
        );
    }
    lines.extend(known.unverified.iter().map(|why| format!("NOT VERIFIED, {}", text::safe(why))));
    lines.join("\n")
}

fn line(recorded: &Recorded, rules: &Rules, now: i64) -> String {
    let Kill { target, reason, id, .. } = &recorded.kill;
    let what = match target {
        Target::All => "LOCKDOWN: everything is stopped".to_owned(),
        other => format!("KILLED: {other}"),
    };
    let when = text::until(recorded.at.seconds(), now);
    format!("{what}, {when}, by {}: \"{}\" (kill {id})", by(recorded, rules), text::safe(reason.as_str()))
}

fn by(recorded: &Recorded, rules: &Rules) -> String {
    let signature = recorded.statement.signatures.first();
    let holder = signature.and_then(|signature| rules.holder(&signature.header().kid));
    holder.map_or_else(|| "nobody known".to_owned(), |holder| grant::principal(rules, &holder.principal))
}

/// Everything that is killed.
pub(crate) fn describe(known: &Known, rules: &Rules, now: i64) -> String {
    let mut lines: Vec<String> = known.kills.standing().map(|recorded| line(recorded, rules, now)).collect();
    lines.sort_by_key(|line| !line.starts_with("LOCKDOWN"));
    let shown = known.kills.standing().filter(|it| it.kill.target.request().is_some()).count() as u64;
    if shown < known.single {
        lines.push(format!("and {} of single tokens and requests, older than these", known.single - shown));
    }
    lines.extend(known.unverified.iter().map(|why| format!("NOT VERIFIED, {}", text::safe(why))));
    if !known.unrecorded.is_empty() {
        lines.push(format!("not in the audit log yet, and tried again: {}", known.unrecorded.len()));
    }
    if lines.is_empty() {
        lines.push("Nothing is killed.".to_owned());
    }
    lines.push(format!("Kill epoch {}, as the daemon said at {}.", known.epoch, text::instant(known.at)));
    lines.join("\n")
}

/// For programs.
pub(crate) fn json(known: &Known, rules: &Rules) -> Value {
    let kill = |recorded: &Recorded| {
        json!({
            "id": recorded.kill.id,
            "level": recorded.kill.target.level().as_str(),
            "target": recorded.kill.target.name(),
            "reason": recorded.kill.reason,
            "by": by(recorded, rules),
            "epoch": recorded.epoch,
            "at": recorded.at,
            "recorded": !known.unrecorded.contains(&recorded.statement),
        })
    };
    json!({
        "epoch": known.epoch,
        "lockdown": known.kills.is_lockdown(),
        "kills": known.kills.standing().map(kill).collect::<Vec<_>>(),
        "single_kills": known.single,
        "unverified": known.unverified,
    })
}
