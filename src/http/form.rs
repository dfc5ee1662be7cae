//! A small HTML form: what OAuth endpoints are sent.
//!
//! Invariants: a body is read up to a limit; a parameter that is there twice, or text that is not UTF-8, refuses the whole.
//!
//! Spec: WHATWG URL, `application/x-www-form-urlencoded`; RFC 6749 section 3.2.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};

/// A form at most, bytes: a token, percent-encoded at worst, and what stands beside it.
const MAX_FORM: usize = 32 * 1024;
const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// The parameters of a form.
pub(super) type Form = BTreeMap<String, String>;

/// Reads a form; the status if it is none.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Form, StatusCode> {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(MEDIA_TYPE) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let bytes = axum::body::to_bytes(body, MAX_FORM).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    parse(&bytes).ok_or(StatusCode::BAD_REQUEST)
}

fn parse(bytes: &[u8]) -> Option<Form> {
    let mut form = Form::new();
    for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut sides = pair.splitn(2, |byte| *byte == b'=');
        let name = decode(sides.next().unwrap_or_default())?;
        let value = decode(sides.next().unwrap_or_default())?;
        if form.insert(name, value).is_some() {
            return None;
        }
    }
    Some(form)
}

/// Text from percent-encoding; `+` is a space.
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => (digit(rest.next())? << 4) | digit(rest.next())?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Option<Vec<(String, String)>> {
        parse(text.as_bytes()).map(|form| form.into_iter().collect())
    }

    #[test]
    fn forms_are_read_as_browsers_write_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs("a=1&b=x%3Dy+z"), Some(vec![pair("a", "1"), pair("b", "x=y z")]));
        assert_eq!(pairs("a&&b="), Some(vec![pair("a", ""), pair("b", "")]));
        assert_eq!(pairs("a=%C3%BC%41"), Some(vec![pair("a", "\u{fc}A")]));
        assert_eq!(pairs(""), Some(vec![]));
    }

    #[test]
    fn what_is_no_form_is_refused_whole() {
        for text in ["a=1&a=2", "a=1&%61=2", "a=%", "a=%4", "a=%zz", "a=%ff", "a=%+1"] {
            assert_eq!(pairs(text), None, "{text}");
        }
    }
}
