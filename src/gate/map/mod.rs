//! From a request to what it needs: one action on one resource, as a grant's `authorization_details` name them.
//!
//! Invariants: the first rule that matches decides; a request that no rule matches is refused, whoever asks.

mod path;
mod pattern;

pub use path::{Path, PathError};
pub use pattern::{Pattern, PatternError, Template};

use crate::domain::detail::{Need, Word};

/// Which requests need what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Methods, in capitals; all if empty.
    pub methods: Vec<String>,
    /// The host, in small letters, without port; any if absent.
    pub host: Option<String>,
    /// Which paths.
    pub path: Pattern,
    /// The kind of resource.
    pub kind: Word,
    /// What is done.
    pub action: Word,
    /// To which resource.
    pub resource: Template,
    /// To which object within it.
    pub identifier: Option<Template>,
}

/// The rules, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map(pub Vec<Rule>);

impl Map {
    /// What this request needs; nothing if no rule is about it.
    #[must_use]
    pub fn need(&self, method: &str, host: Option<&str>, path: &Path<'_>) -> Option<Need> {
        self.0.iter().find_map(|rule| rule.need(method, host, path)).flatten()
    }
}

impl Rule {
    /// The outer value says whether the rule is about this request, the inner one what it needs: nothing that any grant could
    /// name, if a part of the path has characters that no grant can have.
    #[expect(clippy::option_option, reason = "two questions, and a name for three answers would say less")]
    fn need(&self, method: &str, host: Option<&str>, path: &Path<'_>) -> Option<Option<Need>> {
        if !self.methods.is_empty() && !self.methods.iter().any(|known| known == method) {
            return None;
        }
        if let Some(expected) = &self.host
            && !host.is_some_and(|host| without_port(host).eq_ignore_ascii_case(expected))
        {
            return None;
        }
        self.path.captures(path).map(|captures| self.fill(&captures))
    }

    fn fill(&self, captures: &pattern::Captures<'_>) -> Option<Need> {
        let identifier = match &self.identifier {
            Some(template) => Some(template.fill(captures)?),
            None => None,
        };
        let location = self.resource.fill(captures)?;
        Some(Need { kind: self.kind.clone(), action: self.action.clone(), location, identifier })
    }
}

/// The host of an authority; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(methods: &[&str], host: Option<&str>, path: &str, action: &str) -> Rule {
        let path = Pattern::parse(path).unwrap();
        let word = |text: &str| Word::try_from(text.to_owned()).unwrap();
        Rule {
            methods: methods.iter().map(|&method| method.to_owned()).collect(),
            host: host.map(str::to_owned),
            kind: word("database"),
            action: word(action),
            resource: Template::parse("pg/prod/{db}", &path).unwrap(),
            identifier: None,
            path,
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let map = Map(vec![
            rule(&["GET", "HEAD"], None, "/db/{db}", "read"),
            rule(&["POST"], Some("write.example"), "/db/{db}", "write"),
            rule(&[], Some("[::1]"), "/db/{db}", "any"),
        ]);
        let action = |method: &str, host: Option<&str>, path: &str| {
            let need = map.need(method, host, &Path::parse(path).unwrap());
            need.map(|need| (need.action.to_string(), need.location.to_string()))
        };
        let found = |action: &str| Some((action.to_owned(), "pg/prod/orders".to_owned()));
        assert_eq!(action("GET", None, "/db/orders?x"), found("read"));
        assert_eq!(action("POST", Some("Write.Example:8443"), "/db/orders"), found("write"));
        assert_eq!(action("DELETE", Some("[::1]:8443"), "/db/orders"), found("any"));
        assert_eq!(action("DELETE", Some("[::1]"), "/db/orders"), found("any"));
        assert_eq!(action("POST", Some("other.example"), "/db/orders"), None);
        assert_eq!(action("get", None, "/db/orders"), None, "methods are case-sensitive");
        assert_eq!(action("GET", None, "/db/orders/"), None);
        let behind = Map([map.0.clone(), vec![rule(&[], None, "/{all}/{db}", "all")]].concat());
        let need = |path: &str| behind.need("GET", None, &Path::parse(path).unwrap());
        assert!(need("/other/orders").is_some());
        assert_eq!(need("/db/%61%2A"), None, "what no grant could name is not left to the next rule");
    }
}
