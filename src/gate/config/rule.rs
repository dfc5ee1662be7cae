//! `[[map]]`: which requests need what.

use serde::Deserialize;

use crate::{
    domain::detail::Word,
    gate::map::{Pattern, Rule, Template},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default)]
    methods: Vec<String>,
    host: Option<String>,
    path: String,
    #[serde(rename = "type")]
    kind: Word,
    action: Word,
    resource: String,
    identifier: Option<String>,
}

impl Raw {
    /// `number` is the rule's place in the file, from 1.
    pub(super) fn check(self, number: usize) -> Result<Rule, String> {
        let wrong = |why: String| format!("the {number}. [[map]] rule: {why}");
        if let Some(method) = self.methods.iter().find(|method| !is_method(method)) {
            return Err(wrong(format!("{method:?} is no HTTP method; they are written in capitals")));
        }
        if let Some(host) = self.host.as_ref().filter(|host| !is_host(host)) {
            return Err(wrong(format!(
                "{host:?} is no host: a name in small letters, without scheme and port"
            )));
        }
        let path = Pattern::parse(&self.path).map_err(|error| wrong(error.to_string()))?;
        let template = |text: &str| Template::parse(text, &path).map_err(|error| wrong(error.to_string()));
        Ok(Rule {
            resource: template(&self.resource)?,
            identifier: self.identifier.as_deref().map(template).transpose()?,
            methods: self.methods,
            host: self.host,
            kind: self.kind,
            action: self.action,
            path,
        })
    }
}

fn is_method(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_[]:".contains(&byte);
    let bracketed = text.starts_with('[') && text.ends_with(']');
    !text.is_empty() && text.bytes().all(plain) && (bracketed || !text.contains([':', '[', ']']))
}
