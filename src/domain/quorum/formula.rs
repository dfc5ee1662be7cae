//! The formula as people write it in a charter.
//!
//! `{"threshold": 2, "of": …}`, where `of` is a group's name, or a list of persons and formulas. Read by hand-written
//! visitors rather than as an untagged enum, so that a mistake deep in a tree is named as what it is.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::domain::id::{GroupId, PersonId};

/// At least `threshold` of what `of` holds. Not yet known to be a quorum: that takes [`super::Quorum::new`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Formula {
    /// How many are needed.
    pub threshold: u32,
    /// Of whom.
    pub of: Of,
}

/// Whom a formula counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Of {
    /// The members of a group; in JSON a string.
    Group(GroupId),
    /// Persons and formulas; in JSON an array.
    List(Vec<Item>),
}

/// An entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Item {
    /// One person; in JSON a string.
    Person(PersonId),
    /// A formula that counts as one once it is satisfied; in JSON an object.
    Formula(Formula),
}

impl<'de> Deserialize<'de> for Of {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfVisitor)
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct OfVisitor;

impl<'de> Visitor<'de> for OfVisitor {
    type Value = Of;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a group, or a list of persons and formulas")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Of, E> {
        name.parse().map(Of::Group).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Of, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = entries.next_element()? {
            list.push(item);
        }
        Ok(Of::List(list))
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a person, or a formula")
    }

    fn visit_str<E: Error>(self, id: &str) -> Result<Item, E> {
        id.parse().map(Item::Person).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Item, A::Error> {
        Formula::deserialize(MapAccessDeserializer::new(members)).map(Item::Formula)
    }
}
