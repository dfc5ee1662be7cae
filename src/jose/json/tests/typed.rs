//! Typed values, in all shapes that serde knows: the writer makes of each what the reference makes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{canonical, reference};

/// Members in an order that is not theirs.
#[derive(Debug, Clone, Serialize)]
struct Everything {
    z: u8,
    #[serde(rename = "é\"")]
    quoted: i64,
    small: (i8, i16, i32, u16, u32, u64),
    float: f64,
    single: f32,
    letter: char,
    yes: bool,
    unit: (),
    nothing: Marker,
    #[serde(skip_serializing_if = "Option::is_none")]
    maybe: Option<Box<Everything>>,
    kinds: Vec<Kind>,
    tagged: Tagged,
    by_number: BTreeMap<u32, String>,
    by_name: BTreeMap<String, Kind>,
    by_kind: BTreeMap<Letter, bool>,
    bytes: Bytes,
    a: Shown,
}

#[derive(Debug, Clone, Serialize)]
struct Marker;

#[derive(Debug, Clone, Serialize)]
enum Kind {
    Unit,
    One(i64),
    Two(u8, String),
    Named { y: u8, b: bool, a: Vec<u8> },
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Tagged {
    Empty,
    Full { z: i64, kinds: u8, a: String },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
enum Letter {
    B,
    A,
}

#[derive(Debug, Clone)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

#[derive(Debug, Clone)]
struct Shown(String, i32);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}-{}", self.0, self.1))
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Unit),
        (-9i64..9).prop_map(Kind::One),
        (any::<u8>(), "[ -~]{0,5}").prop_map(|(number, text)| Kind::Two(number, text)),
        (any::<u8>(), any::<bool>(), any::<Vec<u8>>()).prop_map(|(y, b, a)| Kind::Named { y, b, a }),
    ]
}

fn tagged() -> impl Strategy<Value = Tagged> {
    let full = (-9i64..9, any::<u8>(), "[a-z]{0,3}").prop_map(|(z, kinds, a)| Tagged::Full { z, kinds, a });
    prop_oneof![Just(Tagged::Empty), full]
}

/// Mostly what a statement can hold, so that the whole is often canonical.
fn everything(maybe: BoxedStrategy<Option<Box<Everything>>>) -> impl Strategy<Value = Everything> {
    let numbers = (
        any::<u8>(),
        prop_oneof![20 => -9i64..9, 1 => any::<i64>()],
        (any::<i8>(), any::<i16>(), any::<i32>(), any::<u16>(), any::<u32>(), 0u64..(1 << 53)),
        prop_oneof![
            20 => (-9i32..9).prop_map(f64::from),
            9 => Just(-0.0),
            1 => prop::sample::select(vec![1e20, -1e21, 0.5, 1e-9]),
        ],
        prop_oneof![20 => Just(7.0f32), 1 => Just(0.1)],
    );
    let texts = (
        prop_oneof![20 => "[a-zé]", 1 => any::<char>().prop_map(String::from)],
        "[a-z\"\\\\]{0,4}",
        any::<i32>(),
    );
    let maps = (
        prop::collection::btree_map(any::<u32>(), "[a-z]{0,3}", 0..4),
        prop::collection::btree_map("[ -~]{0,2}", kind(), 0..4),
        prop::collection::btree_map(prop_oneof![Just(Letter::A), Just(Letter::B)], any::<bool>(), 0..3),
        any::<Vec<u8>>(),
    );
    let kinds = prop::collection::vec(kind(), 0..3);
    (numbers, texts, maps, kinds, tagged(), any::<bool>(), maybe).prop_map(
        |(numbers, texts, maps, kinds, tagged, yes, maybe)| Everything {
            z: numbers.0,
            quoted: numbers.1,
            small: numbers.2,
            float: numbers.3,
            single: numbers.4,
            letter: texts.0.chars().next().unwrap(),
            yes,
            unit: (),
            nothing: Marker,
            maybe,
            kinds,
            tagged,
            by_number: maps.0,
            by_name: maps.1,
            by_kind: maps.2,
            bytes: Bytes(maps.3),
            a: Shown(texts.1, texts.2),
        },
    )
}

proptest! {
    #[test]
    fn typed_values_are_written_as_the_reference_writes_them(
        value in everything(prop::option::of(everything(Just(None).boxed()).prop_map(Box::new)).boxed()),
    ) {
        prop_assert_eq!(canonical(&value), reference::canonical(&value));
    }
}

/// Only a type that writes itself can name a member twice.
struct Twice;

impl Serialize for Twice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("b", &1)?;
        map.serialize_entry("a", &1)?;
        map.serialize_entry("b", &2)?;
        map.end()
    }
}

#[test]
fn what_is_no_json_is_not_written() {
    let reason = |written: Result<Vec<u8>, super::JoseError>| written.unwrap_err().reason();
    assert_eq!(reason(canonical(&f64::NAN)), "SERIALIZE_FAILED");
    assert_eq!(reason(canonical(&[f64::INFINITY])), "SERIALIZE_FAILED");
    assert_eq!(reason(canonical(&BTreeMap::from([(true, 1)]))), "SERIALIZE_FAILED");
    assert_eq!(reason(canonical(&BTreeMap::from([(vec![1], 1)]))), "SERIALIZE_FAILED");
    assert_eq!(reason(canonical(&Twice)), "JSON_DUPLICATE_MEMBER");
}
