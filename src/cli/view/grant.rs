//! A grant in plain words, from the bytes about to be signed.

use crate::{
    cli::{
        review::{Reviewed, Said},
        text::{self, Fields},
    },
    domain::{
        charter::{KeyKind, Rules},
        detail::Detail,
        grant::{Confirmation, Grant},
        id::{PersonId, PrincipalId, RequestId},
        statement::Verdict,
        words,
    },
};

/// Less than this until the deadline is worth a remark, in seconds.
const SOON: i64 = 300;
/// Less than this until the charter's end is worth a remark, in seconds.
const CHARTER_ENDS_SOON: i64 = 7 * 86_400;

/// The six words of a request.
pub(crate) fn phrase(id: &RequestId) -> String {
    words::phrase(&id.0, words::GRANT_WORDS).join(" ")
}

/// `read, write on pg/prod/orders (database)`.
pub(crate) fn detail(detail: &Detail) -> String {
    let join = |words: &std::collections::BTreeSet<_>| {
        words.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let object = detail.identifier.as_ref().map_or_else(String::new, |id| format!(", only {id}"));
    format!("{} on {}{object} ({})", join(&detail.actions), join(&detail.locations), detail.kind)
}

/// `alice (Alice Example)`, or the bare id of a tool.
pub(crate) fn principal(rules: &Rules, id: &PrincipalId) -> String {
    person(rules, &id.as_person())
}

fn person(rules: &Rules, id: &PersonId) -> String {
    match rules.person(id) {
        Some(person) => format!("{id} ({})", text::safe(&person.name)),
        None => id.to_string(),
    }
}

/// Everything that a custodian has to know before signing.
pub(crate) fn describe(reviewed: &Reviewed<'_>, rules: &Rules, now: i64) -> String {
    let grant = reviewed.grant();
    let mut shown = format!("Request {}\n", reviewed.id);
    if grant.drill {
        shown.push_str("  DRILL: this is a rehearsal; the access it gives is real all the same\n");
    }
    let mut fields = Fields::default();
    fields.add("words", format!("{}  (compare them by voice)", phrase(&reviewed.id)));
    fields.add("who", principal(rules, &grant.sub));
    if grant.client_id != grant.sub {
        let persons: Vec<String> =
            reviewed.permit.requester.persons.iter().map(|id| person(rules, id)).collect();
        fields.add("filed by", format!("{}, a tool of {}", grant.client_id, persons.join(", ")));
    }
    fields.list("may", grant.authorization_details.iter().map(detail));
    fields.add("where", grant.aud.to_string());
    fields.add("profile", format!("{}: {}", grant.profile, text::safe(&reviewed.permit.profile.description)));
    fields.add("why", format!("\"{}\"", text::safe(grant.reason.as_str())));
    fields.add("incident", grant.incident.to_string());
    fields.add("how long", format!("{} from issuance", text::duration(i64::from(grant.ttl))));
    fields.add("deadline", format!("approvals count until {}", text::until(grant.expires_at, now)));
    fields.add("signed", requester(reviewed, now));
    if let Some(quorums) = rules.quorums(&grant.profile) {
        let present = reviewed.approvers();
        fields.add("quorum", quorums.approve.describe());
        fields.list(
            "said so far",
            if reviewed.said.is_empty() {
                vec!["nobody yet".to_owned()]
            } else {
                reviewed.said.iter().map(said).collect()
            },
        );
        let missing = quorums.approve.missing_without(&present, &reviewed.permit.excluded);
        fields.add("missing", if missing.is_empty() { "nobody".to_owned() } else { missing });
        let excluded: Vec<String> = reviewed.permit.excluded.iter().map(|id| person(rules, id)).collect();
        fields.add(
            "not counted",
            format!(
                "{}, who stand{} behind the request",
                excluded.join(", "),
                if excluded.len() == 1 { "s" } else { "" }
            ),
        );
    }
    shown.push_str(&fields.render());
    for remark in remarks(reviewed, rules, now) {
        shown.extend(["  ! ", &remark, "\n"]);
    }
    shown
}

fn requester(reviewed: &Reviewed<'_>, now: i64) -> String {
    let holder = reviewed.permit.requester;
    let key = match holder.kind {
        KeyKind::Piv { serial } => format!("YubiKey {serial}"),
        KeyKind::File => "file key".to_owned(),
    };
    format!(
        "by the {key} of {}, {}; verified",
        holder.principal,
        text::until(reviewed.signed.signed_at(), now)
    )
}

/// `approved by bob with YubiKey 2, 2026-… ; verified`.
pub(crate) fn said(said: &Said) -> String {
    let verb = match said.verdict {
        Verdict::Approve => "approved",
        Verdict::Deny => "DENIED",
    };
    let device = said.serial.map_or_else(String::new, |serial| format!(" with YubiKey {serial}"));
    let station = said.station.as_ref().map_or_else(String::new, |station| format!(" at station {station}"));
    format!("{verb} by {}{device}{station}, {}; verified", said.person, text::instant(said.at))
}

/// What is unusual about a request.
pub(crate) fn remarks(reviewed: &Reviewed<'_>, rules: &Rules, now: i64) -> Vec<String> {
    let (grant, permit) = (reviewed.grant(), &reviewed.permit);
    let mut remarks = Vec::new();
    let mut remark = |unusual: bool, text: &str| {
        if unusual {
            remarks.push(text.to_owned());
        }
    };
    remark(
        rules.document().development,
        "the charter is marked for development: strict verifiers refuse its tokens unless told otherwise",
    );
    remark(grant.ttl == permit.profile.max_ttl, "the longest life that this profile allows is asked for");
    remark(grant.client_id != grant.sub, "a tool asks for a person: ask the person whether that is so");
    remark(
        matches!(grant.cnf, Confirmation::Certificate(_)),
        "the token is bound to an enrolled certificate, not to a key made for this request",
    );
    remark(
        reviewed.said.iter().any(|said| said.station.is_some()),
        "somebody signed at a shared station, which is only as safe as that machine",
    );
    remark(
        reviewed.said.iter().any(|said| said.verdict == Verdict::Deny),
        "a custodian has denied this request",
    );
    remark(
        grant.requested_at > now,
        "it was signed in the future, by your clock: one of the clocks is wrong",
    );
    remark((0..SOON).contains(&(grant.expires_at - now)), "the deadline is close");
    remark(
        rules.document().expires_at - now < CHARTER_ENDS_SOON,
        "the charter expires within a week: its successor is due",
    );
    remarks
}

/// The grant's members as they were signed.
pub(crate) fn json(grant: &Grant) -> serde_json::Value {
    serde_json::to_value(grant).unwrap_or_default()
}
