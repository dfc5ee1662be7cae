//! Authorization details (RFC 9396): what a grant asks for, and what a profile allows.
//!
//! Invariants: a detail names its type, at least one action and at least one location; nothing in it is a wildcard, so
//! what is signed is what is meant. A rule's patterns are exact, or end in one `*`.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

/// At most this many details in a grant, and this many values in one of their lists.
const MAX_ITEMS: usize = 16;

/// A value that is not a plain scope word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not valid in authorization_details: 1 to 128 of A-Z a-z 0-9 . _ : / @ = , - are, and in a profile's pattern a final *"
)]
pub struct WordError {
    text: String,
}

fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/@=,-".contains(&b))
}

/// A literal type, action, resource or identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Word(String);

impl TryFrom<String> for Word {
    type Error = WordError;
    fn try_from(text: String) -> Result<Self, WordError> {
        if is_word(&text) { Ok(Self(text)) } else { Err(WordError { text }) }
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.0
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A literal, or a prefix followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

impl Pattern {
    /// Whether the literal falls under this pattern.
    #[must_use]
    pub fn covers(&self, word: &Word) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => word.0.starts_with(prefix),
            None => word.0 == self.0,
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = WordError;
    fn try_from(text: String) -> Result<Self, WordError> {
        let literal = text.strip_suffix('*').unwrap_or(&text);
        // A lone `*` would allow everything: at least one character of it has to be meant.
        if is_word(literal) { Ok(Self(text)) } else { Err(WordError { text }) }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One object of `authorization_details`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// The kind of resource, e.g. `database`.
    #[serde(rename = "type")]
    pub kind: Word,
    /// What may be done.
    pub actions: BTreeSet<Word>,
    /// To which resources.
    pub locations: BTreeSet<Word>,
    /// One object within them, if the kind has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Word>,
}

/// What a profile allows of one kind of resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The kind it is about.
    #[serde(rename = "type")]
    pub kind: Word,
    /// Allowed actions.
    pub actions: BTreeSet<Pattern>,
    /// Allowed resources.
    pub locations: BTreeSet<Pattern>,
    /// Allowed identifiers; where the rule has none, a detail must not name one; where it has some, it must.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub identifiers: BTreeSet<Pattern>,
}

impl Detail {
    /// Whether the lists have between one and sixteen values.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        [&self.actions, &self.locations].iter().all(|list| (1..=MAX_ITEMS).contains(&list.len()))
    }
}

impl Rule {
    /// Whether this rule alone allows the whole detail.
    #[must_use]
    pub fn allows(&self, detail: &Detail) -> bool {
        let all = |words: &BTreeSet<Word>, patterns: &BTreeSet<Pattern>| {
            words.iter().all(|word| patterns.iter().any(|pattern| pattern.covers(word)))
        };
        let identifier = match &detail.identifier {
            Some(identifier) => self.identifiers.iter().any(|pattern| pattern.covers(identifier)),
            None => self.identifiers.is_empty(),
        };
        self.kind == detail.kind
            && detail.is_well_formed()
            && all(&detail.actions, &self.actions)
            && all(&detail.locations, &self.locations)
            && identifier
    }
}

/// Whether a grant's list has a permitted length and each of its details is allowed by one rule.
#[must_use]
pub fn allowed(details: &[Detail], rules: &[Rule]) -> bool {
    (1..=MAX_ITEMS).contains(&details.len())
        && details.iter().all(|detail| rules.iter().any(|rule| rule.allows(detail)))
}

/// What one act at a verifier needs: one action on one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The kind of resource.
    pub kind: Word,
    /// What is done.
    pub action: Word,
    /// To which resource.
    pub location: Word,
    /// To which object within it, where the kind has such.
    pub identifier: Option<Word>,
}

impl Detail {
    /// Whether it allows this. A detail that names an object allows nothing beside it; one that names none allows the whole
    /// of its resources.
    #[must_use]
    pub fn covers(&self, need: &Need) -> bool {
        self.kind == need.kind
            && self.actions.contains(&need.action)
            && self.locations.contains(&need.location)
            && (self.identifier.is_none() || self.identifier == need.identifier)
    }
}

/// The `scope` claim (RFC 9068 §2.2.3): sorted, distinct `type:action` words.
#[must_use]
pub fn scope(details: &[Detail]) -> String {
    let words: BTreeSet<String> = details
        .iter()
        .flat_map(|detail| detail.actions.iter().map(move |action| format!("{}:{action}", detail.kind)))
        .collect();
    words.into_iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule() -> Rule {
        serde_json::from_value(json!({"type": "database", "actions": ["read"], "locations": ["pg/prod/*"]}))
            .unwrap()
    }

    fn detail(value: serde_json::Value) -> Option<Detail> {
        serde_json::from_value(value).ok()
    }

    #[test]
    fn a_rule_allows_what_it_covers_and_nothing_more() {
        let ask = |actions: &[&str], location: &str| {
            detail(json!({"type": "database", "actions": actions, "locations": [location]})).unwrap()
        };
        assert!(rule().allows(&ask(&["read"], "pg/prod/orders")));
        assert!(!rule().allows(&ask(&["read", "write"], "pg/prod/orders")));
        assert!(!rule().allows(&ask(&["read"], "pg/test/orders")));
        assert!(!rule().allows(&ask(&[], "pg/prod/orders")), "no action is not every action");
        let mut named = ask(&["read"], "pg/prod/orders");
        named.identifier = Some(Word("t1".into()));
        assert!(!rule().allows(&named), "an identifier the rule does not speak of");
        assert!(!allowed(&[], &[rule()]), "an empty list asks for nothing, or for everything");
    }

    #[test]
    fn a_detail_covers_what_it_names_and_nothing_beside_it() {
        let word = |text: &str| Word::try_from(text.to_owned()).unwrap();
        let need = |action: &str, location: &str, identifier: Option<&str>| Need {
            kind: word("database"),
            action: word(action),
            location: word(location),
            identifier: identifier.map(word),
        };
        let whole = detail(json!({"type": "database", "actions": ["read"], "locations": ["pg/prod/orders"]}))
            .unwrap();
        assert!(whole.covers(&need("read", "pg/prod/orders", None)));
        assert!(whole.covers(&need("read", "pg/prod/orders", Some("t_1"))));
        assert!(!whole.covers(&need("write", "pg/prod/orders", None)));
        assert!(!whole.covers(&need("read", "pg/prod/orders2", None)));
        let one = Detail { identifier: Some(word("t_1")), ..whole };
        assert!(one.covers(&need("read", "pg/prod/orders", Some("t_1"))));
        assert!(!one.covers(&need("read", "pg/prod/orders", Some("t_2"))));
        assert!(
            !one.covers(&need("read", "pg/prod/orders", None)),
            "the whole is more than one of its objects"
        );
        let other = Need { kind: word("queue"), ..need("read", "pg/prod/orders", Some("t_1")) };
        assert!(!one.covers(&other));
    }

    #[test]
    fn wildcards_and_unknown_members_are_refused() {
        assert!(detail(json!({"type": "database", "actions": ["*"], "locations": ["x"]})).is_none());
        assert!(
            detail(json!({"type": "database", "actions": ["read"], "locations": ["x"], "datatypes": ["y"]}))
                .is_none()
        );
        assert!(detail(json!({"type": "database", "actions": ["read"]})).is_none());
        assert!(Pattern::try_from("*".to_owned()).is_err());
        assert!(Pattern::try_from("a*b".to_owned()).is_err());
    }
}
