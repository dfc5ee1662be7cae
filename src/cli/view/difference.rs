//! What a next version of the charter changes, for the custodian who is to sign it.

use serde_json::{Value, json};

use super::charter::phrase;
use crate::{
    cli::text,
    domain::charter::{Charter, Rules, difference},
};

/// One line for each change; what weakens first catches the eye.
pub(crate) fn describe(charter: &Charter, rules: &Rules) -> String {
    let document = rules.document();
    let mut shown = format!(
        "Charter version {} of {}, to follow version {}\n  words  {}\n",
        document.version,
        document.iss,
        charter.document().version,
        phrase(&rules.digest())
    );
    let changes = difference(charter, rules);
    for change in &changes {
        shown.push_str(if change.weakens { "  WEAKER  " } else { "          " });
        shown.push_str(&text::safe(&change.text));
        shown.push('\n');
    }
    let sum = match changes.iter().filter(|change| change.weakens).count() {
        0 => "Nothing in it weakens the rules.\n".to_owned(),
        1 => "1 change weakens the rules, or might.\n".to_owned(),
        more => format!("{more} changes weaken the rules, or might.\n"),
    };
    shown.push_str(&sum);
    shown
}

/// The changes, for programs.
pub(crate) fn json(charter: &Charter, rules: &Rules) -> Value {
    difference(charter, rules)
        .into_iter()
        .map(|change| json!({ "text": change.text, "weakens": change.weakens }))
        .collect()
}
