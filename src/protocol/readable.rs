//! JSON text of a peer's own that is passed on: readable by every parser, and compact.
//!
//! Owns neither its meaning nor its size: callers bound both. Called by the methods that pass on
//! what an agent says (`logs.append`, `events.publish`).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Whether every JSON parser can read it: the error says why not.
pub(super) fn check(json: &str, depth_max: u8) -> Result<(), serde_json::Error> {
    Readable { depth_left: depth_max, depth_max }
        .deserialize(&mut serde_json::Deserializer::from_str(json))
}

/// Valid JSON without the whitespace between its tokens.
pub(super) fn compact(json: &str) -> String {
    let mut in_string = false;
    let mut escaped = false;
    json.chars()
        .filter(|&character| {
            if in_string {
                in_string = escaped || character != '"';
                escaped = !escaped && character == '\\';
                return true;
            }
            in_string = character == '"';
            !character.is_ascii_whitespace()
        })
        .collect()
}

/// Reads JSON through to its leaves and keeps nothing: what the scanner let pass (unpaired
/// surrogates, numbers beyond any range, any depth) is found here.
#[derive(Clone, Copy)]
struct Readable {
    depth_left: u8,
    depth_max: u8,
}

impl Readable {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(E::custom(format_args!("deeper than {} levels", self.depth_max))),
        }
    }
}

impl<'a> DeserializeSeed<'a> for Readable {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Readable {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let inside = self.inside::<A::Error>()?;
        while seq.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.inside::<A::Error>()?;
        while map.next_key_seed(inside)?.is_some() {
            map.next_value_seed(inside)?;
        }
        Ok(())
    }
}
