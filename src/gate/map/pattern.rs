//! Patterns of paths, and the templates that are filled from what they capture.
//!
//! A pattern is literal segments, `{name}` for one whole segment, and as the last one `{name**}` for all that is left, which
//! is at least one segment. A template is text with `{name}` in it.

use std::collections::BTreeSet;

use super::path::Path;
use crate::domain::detail::Word;

/// What is wrong with a pattern or template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A pattern that matches no path.
    #[error(
        "{0:?} is no path pattern: it begins with a slash, and has neither empty segments inside nor a query"
    )]
    Shape(String),
    /// Braces that are not a capture.
    #[error(
        "{0:?}: a capture is {{name}} for one segment, or {{name**}} for the rest at the end, of letters a-z and _"
    )]
    Capture(String),
    /// The same name twice.
    #[error("{{{0}}} is captured twice")]
    Twice(String),
    /// Nobody captures it.
    #[error("{{{0}}} is used, and no part of the path has that name")]
    Unknown(String),
    /// What is literal in a template could never stand in a grant.
    #[error("{0:?} has characters that no grant's authorization_details can have")]
    Word(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    One(String),
    Rest(String),
}

/// Which paths a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

/// What a pattern captured.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Captures<'p>(Vec<(&'p str, String)>);

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let shape = || PatternError::Shape(text.to_owned());
        let rest = text.strip_prefix('/').filter(|rest| !rest.contains(['?', '#'])).ok_or_else(shape)?;
        let segments: Vec<&str> = rest.split('/').collect();
        let (mut parts, mut names) = (Vec::new(), BTreeSet::new());
        for (at, segment) in segments.iter().enumerate() {
            let is_last = at + 1 == segments.len();
            if (segment.is_empty() && !is_last) || [".", ".."].contains(segment) {
                return Err(shape());
            }
            let part = part(segment, is_last)?;
            if let Part::One(name) | Part::Rest(name) = &part
                && !names.insert(name.clone())
            {
                return Err(PatternError::Twice(name.clone()));
            }
            parts.push(part);
        }
        Ok(Self(parts))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::One(name) | Part::Rest(name) => Some(name.as_str()),
        })
    }

    /// What the pattern captures of a path, if it matches.
    pub(super) fn captures<'p>(&'p self, path: &Path<'_>) -> Option<Captures<'p>> {
        let mut captures = Captures::default();
        let mut segments = path.segments.iter();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => {
                    segments.next().filter(|segment| segment.as_ref() == literal)?;
                }
                Part::One(name) => {
                    let segment = segments.next().filter(|segment| !segment.is_empty())?;
                    captures.0.push((name, segment.to_string()));
                }
                Part::Rest(name) => {
                    let rest: Vec<&str> = segments.by_ref().map(AsRef::as_ref).collect();
                    let rest = rest.join("/");
                    if rest.is_empty() {
                        return None;
                    }
                    captures.0.push((name, rest));
                }
            }
        }
        segments.next().is_none().then_some(captures)
    }
}

fn part(segment: &str, is_last: bool) -> Result<Part, PatternError> {
    let wrong = || PatternError::Capture(segment.to_owned());
    let Some(inner) = segment.strip_prefix('{') else {
        let literal = !segment.contains(['{', '}', '%', ';', '\\']);
        return if literal { Ok(Part::Literal(segment.to_owned())) } else { Err(wrong()) };
    };
    let name = inner.strip_suffix('}').ok_or_else(wrong)?;
    match name.strip_suffix("**") {
        Some(name) if is_last && is_name(name) => Ok(Part::Rest(name.to_owned())),
        None if is_name(name) => Ok(Part::One(name.to_owned())),
        _ => Err(wrong()),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

/// A word with parts of the path in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads a template whose names this pattern captures.
    pub fn parse(text: &str, pattern: &Pattern) -> Result<Self, PatternError> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let (before, after) =
                rest.split_once('{').map_or((rest, None), |(before, after)| (before, Some(after)));
            if !before.is_empty() {
                let word = Word::try_from(before.to_owned());
                word.map_err(|_| PatternError::Word(text.to_owned()))?;
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some(after) = after else { break };
            let (name, after) =
                after.split_once('}').ok_or_else(|| PatternError::Capture(text.to_owned()))?;
            if !pattern.names().any(|known| known == name) {
                return Err(PatternError::Unknown(name.to_owned()));
            }
            pieces.push(Piece::Name(name.to_owned()));
            rest = after;
        }
        if pieces.is_empty() { Err(PatternError::Word(text.to_owned())) } else { Ok(Self(pieces)) }
    }

    /// The word that comes out; none if no grant could name it.
    pub(super) fn fill(&self, captures: &Captures<'_>) -> Option<Word> {
        let mut text = String::new();
        for piece in &self.0 {
            text += match piece {
                Piece::Text(literal) => literal,
                Piece::Name(name) => &captures.0.iter().find(|(known, _)| known == name)?.1,
            };
        }
        Word::try_from(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(pattern: &str, template: &str, path: &str) -> Option<String> {
        let pattern = Pattern::parse(pattern).unwrap();
        let template = Template::parse(template, &pattern).unwrap();
        let captures = pattern.captures(&Path::parse(path).unwrap())?;
        template.fill(&captures).map(String::from)
    }

    #[test]
    fn captures_are_whole_segments() {
        assert_eq!(fill("/db/{name}", "pg/{name}", "/db/orders").as_deref(), Some("pg/orders"));
        assert_eq!(
            fill("/db/{name}/rows/{row}", "pg/{name}:{row}", "/db/a/rows/b").as_deref(),
            Some("pg/a:b")
        );
        assert_eq!(fill("/files/{rest**}", "{rest}", "/files/a/b/c").as_deref(), Some("a/b/c"));
        assert_eq!(fill("/", "root", "/").as_deref(), Some("root"));
        for path in ["/db", "/db/", "/db/a/", "/db/a/b", "/DB/a", "/db2/a"] {
            assert_eq!(fill("/db/{name}", "pg/{name}", path), None, "{path}");
        }
        assert_eq!(fill("/files/{rest**}", "{rest}", "/files/"), None);
        assert_eq!(fill("/db/{name}", "pg/{name}", "/db/a%20b"), None, "no grant could name that");
        assert_eq!(fill("/db/{name}", "pg/{name}", "/db/%2a"), None, "a wildcard is no word");
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in [
            "", "db", "/a//b", "/a?b", "/../b", "/{a}{b}", "/{A}", "/{}", "/{a**}/b", "/x{a}", "/{a",
            "/{a}/{a}",
        ] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        let pattern = Pattern::parse("/{a}").unwrap();
        for template in ["", "{b}", "{a", "a b", "*", "{a}*"] {
            assert!(Template::parse(template, &pattern).is_err(), "{template}");
        }
    }
}
