//! A request as it stands: verified parts beside what the daemon alone says.

use serde_json::{Value, json};

use super::grant;
use crate::{
    cli::{
        daemon::state_name,
        review::Reviewed,
        text::{self, Fields},
    },
    domain::{charter::Rules, statement::Verdict},
    grpc::v1,
    jose::b64,
};

/// Characters of an id in a table: enough to name a request on the command line.
const SHORT: usize = 10;

/// One row of `breakglass list`.
pub(crate) fn row(request: &v1::Request, reviewed: Option<&Reviewed<'_>>, now: i64) -> Vec<String> {
    let id: String = text::safe(&request.request_id).chars().take(SHORT).collect();
    if request.jws.is_empty() {
        // Of what has ended the daemon keeps no more than this.
        return vec![
            id,
            state_name(request),
            text::safe(&request.subject),
            format!("profile {}", text::safe(&request.profile)),
        ];
    }
    let Some(reviewed) = reviewed else {
        return vec![id, state_name(request), "DOES NOT VERIFY under your charter".to_owned()];
    };
    let asked = reviewed.grant();
    let details: Vec<String> = asked.authorization_details.iter().map(grant::detail).collect();
    let left = asked.expires_at.saturating_sub(now);
    let deadline = match request.state() {
        v1::RequestState::Pending if left > 0 => text::duration(left),
        _ => String::new(),
    };
    vec![id, state_name(request), asked.sub.to_string(), details.join("; "), approvals(reviewed), deadline]
}

/// The headings of [`row`].
pub(crate) const HEAD: [&str; 6] = ["ID", "STATE", "WHO", "MAY", "APPROVED BY", "TIME LEFT"];

fn approvals(reviewed: &Reviewed<'_>) -> String {
    let names: Vec<String> = reviewed.approvers().iter().map(ToString::to_string).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

/// The whole request, for people.
pub(crate) fn describe(request: &v1::Request, reviewed: &Reviewed<'_>, rules: &Rules, now: i64) -> String {
    let mut fields = Fields::default();
    let ended = request.ended_at.map(|at| format!(", ended {}", text::until(at.seconds, now)));
    fields.add("state", format!("{}{}", state_name(request), ended.unwrap_or_default()));
    if let Some(issuance) = &request.issuance {
        let expires = issuance.expires_at.map_or(0, |at| at.seconds);
        fields.add("token", format!("expires {}", text::until(expires, now)));
        fields.add("log entry", format!("{} authorized it", issuance.log_index));
    }
    if let Some(failure) = &request.failure {
        fields.add("because", format!("{} ({})", text::safe(&failure.message), text::safe(&failure.reason)));
    }
    uses(&mut fields, request, now);
    format!("{}\nThe daemon says:\n{}", grant::describe(reviewed, rules, now), fields.render())
}

/// Who let its token pass, by what gates reported.
fn uses(fields: &mut Fields, request: &v1::Request, now: i64) {
    if request.uses.is_empty() {
        return;
    }
    let when = |at: Option<prost_types::Timestamp>| text::until(at.map_or(0, |at| at.seconds), now);
    let place = |place: &v1::TokenUse| {
        let what: Vec<String> = place.what.iter().map(|what| text::safe(what)).collect();
        let what = if what.is_empty() { String::new() } else { format!(": {}", what.join("; ")) };
        let (verifier, gate) = (text::safe(&place.verifier), text::safe(&place.gate));
        let times = format!("first {}, last {}", when(place.first), when(place.last));
        format!("{} times at {verifier} ({gate}), {times}{what}", place.count)
    };
    fields.list(&format!("used {} times", request.use_count), request.uses.iter().map(place));
}

/// The whole request, for programs.
pub(crate) fn json(request: &v1::Request, reviewed: Option<&Reviewed<'_>>) -> Value {
    let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| time.seconds);
    let daemon = json!({
        "subject": request.subject,
        "client_id": request.client_id,
        "profile": request.profile,
        "filed_at": seconds(request.filed_at),
        "deadline": seconds(request.deadline),
        "ended_at": seconds(request.ended_at),
        "issuance": request.issuance.as_ref().map(|issuance| json!({
            "jti": issuance.jti,
            "issued_at": seconds(issuance.issued_at),
            "expires_at": seconds(issuance.expires_at),
            "kid": issuance.kid,
            "log_index": issuance.log_index,
            "releases": issuance.releases,
        })),
        "failure": request.failure.as_ref().map(|failure| json!({
            "reason": failure.reason,
            "message": failure.message,
        })),
        "use_count": request.use_count,
        "uses": request.uses.iter().map(|place| json!({
            "verifier": place.verifier,
            "gate": place.gate,
            "first": seconds(place.first),
            "last": seconds(place.last),
            "count": place.count,
            "what": place.what,
        })).collect::<Vec<Value>>(),
    });
    let mut value = json!({
        "request_id": request.request_id,
        "state": state_name(request),
        // Of what has ended nothing is left to verify.
        "verified": if request.jws.is_empty() { None } else { Some(reviewed.is_some()) },
        "daemon": daemon,
    });
    if let (Some(reviewed), Some(members)) = (reviewed, value.as_object_mut()) {
        let said = |verdict| {
            let all = reviewed.said.iter().filter(|said| said.verdict == verdict);
            all.map(|said| json!({
                "person": said.person, "at": said.at, "kid": said.kid, "serial": said.serial, "station": said.station,
            }))
            .collect::<Vec<Value>>()
        };
        members.insert("words".into(), grant::phrase(&reviewed.id).into());
        members.insert("grant".into(), grant::json(reviewed.grant()));
        members.insert("approvals".into(), said(Verdict::Approve).into());
        members.insert("denials".into(), said(Verdict::Deny).into());
        members.insert("jws".into(), b64::encode(&request.jws).into());
    }
    value
}

/// A request of which only its end is known.
pub(crate) fn ended(request: &v1::Request, now: i64) -> String {
    let why = request.failure.as_ref().map(|failure| format!(": {}", text::safe(&failure.message)));
    let mut fields = Fields::default();
    uses(&mut fields, request, now);
    let uses = fields.render();
    format!(
        "Request {} is {}{}. The daemon keeps no more of it; the audit log has all of it.{}{uses}",
        text::safe(&request.request_id),
        state_name(request),
        why.unwrap_or_default(),
        if uses.is_empty() { "" } else { "\n" },
    )
}
