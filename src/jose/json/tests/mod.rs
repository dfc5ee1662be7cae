//! Writer and reader, each by examples and against the reference.

mod reference;
mod typed;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;

fn reason(text: &str) -> &'static str {
    parse::<Value>(text.as_bytes(), 1 << 16).map_or_else(|error| error.reason(), |_| "OK")
}

#[test]
fn accepts_canonical_texts() {
    for text in [
        "{}",
        "[]",
        "null",
        r#""""#,
        "0",
        "-1",
        "9007199254740991",
        "-9007199254740991",
        r#"{"":1,"A":2,"a":[true,false,null,{}],"ä":"é\"\\"}"#,
        // U+10000 sorts before U+FF21 by UTF-16 code units, though not by code points.
        "{\"\u{1f600}\":1,\"\u{ff21}\":2}",
    ] {
        assert_eq!(reason(text), "OK", "{text}");
    }
}

#[test]
fn names_the_first_fault() {
    for (text, expected) in [
        ("", "JSON_MALFORMED"),
        ("{", "JSON_MALFORMED"),
        ("{}x", "JSON_MALFORMED"),
        ("{} ", "JSON_NOT_CANONICAL"),
        ("01", "JSON_MALFORMED"),
        ("-", "JSON_MALFORMED"),
        ("-0", "JSON_NOT_CANONICAL"),
        ("1.0", "JSON_NUMBER_NOT_INTEGER"),
        ("1e3", "JSON_NUMBER_NOT_INTEGER"),
        ("9007199254740992", "JSON_INTEGER_TOO_BIG"),
        ("-9007199254740993", "JSON_INTEGER_TOO_BIG"),
        ("99999999999999999999999999", "JSON_INTEGER_TOO_BIG"),
        (r#"{"a":1,"a":1}"#, "JSON_DUPLICATE_MEMBER"),
        (r#"{"b":1,"a":1}"#, "JSON_NOT_CANONICAL"),
        (r#"["\u0041"]"#, "JSON_NOT_CANONICAL"),
        (r#"["\/"]"#, "JSON_NOT_CANONICAL"),
        (r#"["\n"]"#, "TEXT_FORBIDDEN_CHARACTER"),
        (r#"["\ud83d\ude00"]"#, "TEXT_FORBIDDEN_CHARACTER"),
        (r#"["\ud83d"]"#, "TEXT_FORBIDDEN_CHARACTER"),
        ("[\"a\u{202e}b\"]", "TEXT_FORBIDDEN_CHARACTER"),
        ("[\"e\u{301}\"]", "TEXT_NOT_NFC"),
        (r#"["\"#, "JSON_MALFORMED"),
        (r#"["\u00"]"#, "JSON_MALFORMED"),
        ("[\"\n\"]", "JSON_MALFORMED"),
    ] {
        assert_eq!(reason(text), expected, "{text}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert_eq!(reason(&nested(MAX_DEPTH)), "OK");
    assert_eq!(reason(&nested(MAX_DEPTH + 1)), "JSON_TOO_DEEP");
    assert_eq!(parse::<Value>(b"[1]", 2).unwrap_err().reason(), "TOO_LONG");
}

#[test]
fn unknown_members_are_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Point {
        x: i64,
    }
    assert_eq!(parse::<Point>(br#"{"x":1}"#, 99).unwrap().x, 1);
    assert_eq!(parse::<Point>(br#"{"x":1,"y":2}"#, 99).unwrap_err().reason(), "JSON_SHAPE_UNEXPECTED");
}

#[test]
fn does_not_write_what_it_would_not_read() {
    for (value, expected) in [
        (json!({"a": 1.5}), "JSON_NUMBER_NOT_INTEGER"),
        (json!({"a": 1u64 << 60}), "JSON_INTEGER_TOO_BIG"),
        (json!({"a": "line\nbreak"}), "TEXT_FORBIDDEN_CHARACTER"),
        (json!({"a": "e\u{301}"}), "TEXT_NOT_NFC"),
    ] {
        assert_eq!(canonical(&value).unwrap_err().reason(), expected, "{value}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        // What stands before and after a quote in ASCII, and what is written with an escape.
        "[ !\"#a-c\\\\\u{1}\n\u{7f}éÅ]{0,3}",
        "[ -~]{0,70}",
        any::<String>(),
        "[\u{1f600}\u{ff21}\u{d7ff}a]{0,3}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1i64 << 54)..(1i64 << 54)).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Text near canonical JSON: written from a value, one byte changed here or there.
fn near_canonical() -> impl Strategy<Value = Vec<u8>> {
    let change = (
        any::<prop::sample::Index>(),
        prop_oneof![any::<u8>(), prop::sample::select(&b"\"\\{}[]:,- 01eE."[..])],
    );
    (any_value(), prop::collection::vec(change, 0..3)).prop_map(|(value, changes)| {
        let mut text = reference::canonical(&value).unwrap_or_else(|_| serde_json::to_vec(&value).unwrap());
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        text
    })
}

proptest! {
    /// The writer does what the reference does, to the byte and to the fault that is named.
    #[test]
    fn writes_what_the_reference_writes(value in any_value()) {
        prop_assert_eq!(canonical(&value), reference::canonical(&value));
    }

    /// So does the reader, on texts that are canonical or nearly so.
    #[test]
    fn reads_what_the_reference_reads(text in near_canonical()) {
        prop_assert_eq!(parse::<Value>(&text, usize::MAX), reference::parse(&text));
    }

    /// And on texts of which it sees many bytes at a time: a fault is found wherever it stands.
    #[test]
    fn no_byte_of_a_long_text_is_passed_over(
        length in 0usize..140, at in any::<prop::sample::Index>(), other in any::<char>(),
    ) {
        let mut inside = "x".repeat(length);
        inside.insert(at.index(length + 1), other);
        let text = format!("[\"{inside}\",1]");
        prop_assert_eq!(parse::<Value>(text.as_bytes(), usize::MAX), reference::parse(text.as_bytes()));
        prop_assert_eq!(canonical(&inside), reference::canonical(&inside));
    }

    /// Whatever the reader accepts canonicalises back to itself.
    #[test]
    fn accepted_means_canonical(text in near_canonical()) {
        if let Ok(read) = parse::<Value>(&text, usize::MAX) {
            prop_assert_eq!(serde_json_canonicalizer::to_vec(&read).unwrap(), text);
        }
    }

    /// What is written can be read, and is the same value.
    #[test]
    fn written_is_read(value in any_value()) {
        if let Ok(bytes) = canonical(&value) {
            let read: Value = parse(&bytes, usize::MAX).unwrap();
            prop_assert_eq!(canonical(&read).unwrap(), bytes);
        }
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse::<Value>(&bytes, 64);
    }
}
