//! A token that passed strict verification, in plain words.

use serde_json::{Value, json};

use super::grant;
use crate::{
    cli::text::{self, Fields},
    domain::{charter::Rules, strict::Accepted},
};

/// For people.
pub(crate) fn describe(accepted: &Accepted, rules: &Rules, now: i64) -> String {
    let (claims, asked) = (&accepted.claims, &accepted.grant);
    let approvers: Vec<String> =
        accepted.approvers.iter().map(|person| grant::principal(rules, &person.clone().into())).collect();
    let mut fields = Fields::default();
    fields.add("who", grant::principal(rules, &claims.sub));
    if let Some(actor) = &claims.act {
        fields.add("through", actor.sub.to_string());
    }
    fields.list("may", claims.authorization_details.iter().map(grant::detail));
    fields.add("where", claims.aud.to_string());
    fields.add("why", format!("\"{}\"", text::safe(asked.reason.as_str())));
    fields.add("incident", asked.incident.to_string());
    fields.add("approved by", approvers.join(", "));
    fields.add("expires", text::until(claims.exp, now));
    fields.add("request", format!("{}  ({})", claims.jti, grant::phrase(&claims.jti)));
    fields.add("log entry", format!("{} of {}", claims.breakglass.log.index, claims.breakglass.log.origin));
    if asked.drill {
        fields.add("drill", "this is a rehearsal");
    }
    format!(
        "The token is valid: its quorum, grant and claims were recomputed from the charter.\n{}",
        fields.render()
    )
}

/// For programs.
pub(crate) fn json(accepted: &Accepted, kills_known: bool) -> Value {
    json!({
        "valid": true,
        "killed": if kills_known { "no" } else { "unknown" },
        "approvers": accepted.approvers,
        "claims": accepted.claims,
    })
}
