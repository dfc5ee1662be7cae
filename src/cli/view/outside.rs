//! Verifiers, kill rights and copies outside, in plain words.

use crate::{
    cli::text::{self, Fields},
    domain::charter::{Receipts, Rules, Verifier},
};

/// Nothing, if the charter names none of it.
pub(super) fn describe(rules: &Rules) -> String {
    let document = rules.document();
    let mut shown = String::new();
    if !document.verifiers.is_empty() {
        shown.push_str("\nVerifiers\n");
        for one in &document.verifiers {
            shown.push_str(&verifier(one));
        }
    }
    let mut fields = Fields::default();
    for (level, principals) in &document.kill_rights {
        let who: Vec<String> = principals.iter().map(ToString::to_string).collect();
        fields.add(level.as_str(), format!("any custodian, {}", who.join(", ")));
    }
    if !document.kill_rights.is_empty() {
        shown.push_str("\nMay kill\n");
        shown.push_str(&fields.render());
    }
    if let Some(receipts) = &document.receipts {
        shown.push_str("\nCopies outside\n");
        shown.push_str(&copies(receipts));
    }
    shown
}

/// One verifier, as the charter names it.
pub(crate) fn verifier(verifier: &Verifier) -> String {
    let Verifier { id, aud, probe, longest_session, revocation_hook, keys, secret, events } = verifier;
    let mut fields = Fields::default();
    match probe {
        Some(probe) => fields.add("probed", probe.url.to_string()),
        None => fields.add("probed", "never: that it refuses a killed key cannot be proven"),
    };
    if *longest_session > 0 {
        let lasts = text::duration((*longest_session).into());
        let ends = revocation_hook
            .as_ref()
            .map_or_else(|| "nobody can end them".to_owned(), |hook| format!("ended at {hook}"));
        fields.add("sessions", format!("up to {lasts} of its own, whatever becomes of the token; {ends}"));
    }
    fields.list("keys", keys.iter().map(|key| key.thumbprint().to_string()));
    if let Some(secret) = secret {
        fields.add("asks", format!("the daemon about tokens, with the secret of digest {secret}"));
    }
    if let Some(events) = events {
        fields.add("is told", format!("security events at {events}"));
    }
    let indented = fields.render().lines().fold(String::new(), |text, line| text + "  " + line + "\n");
    format!("  {id}, for {aud}\n{indented}")
}

fn copies(receipts: &Receipts) -> String {
    let mut fields = Fields::default();
    let all = receipts.witnesses.len() + receipts.sinks.len();
    fields.add("demanded", format!("{} of {all} before anything is signed", receipts.threshold));
    fields.list(
        "witnesses",
        receipts.witnesses.iter().map(|witness| format!("{} {}", witness.name, witness.key.thumbprint())),
    );
    fields.list("sinks", receipts.sinks.iter().map(|sink| format!("{} {}", sink.id, sink.key.thumbprint())));
    fields.render()
}
