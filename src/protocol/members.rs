//! All members of a JSON object, in their order and uninterpreted.
//!
//! For objects whose members are passed on; `fields` is for those that are read. Called by
//! `events.publish` and for the lines that children write.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Names and values.
pub(super) type Members<'a> = Vec<(String, &'a RawValue)>;

/// Reads the members in their order; a name that comes twice is an error, because two parsers that
/// disagree on which one counts are a way around what is checked.
pub(super) fn read(json: &str) -> Result<Members<'_>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let members = deserializer.deserialize_map(MembersVisitor)?;
    deserializer.end()?;
    Ok(members)
}

struct MembersVisitor;

impl<'a> Visitor<'a> for MembersVisitor {
    type Value = Members<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = BTreeSet::new();
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(serde::de::Error::custom("a member stands there twice"));
            }
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}
