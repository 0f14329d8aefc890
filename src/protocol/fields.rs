//! Reading the known members of a JSON object, each checked for its type.
//!
//! One pass over an object finds the members that are known and skips the rest; a member is
//! interpreted when it is asked for. A string without escapes is borrowed from the message.
//! Every error is one sentence that names the field's path and what it must be, and never repeats
//! the value: it may be a secret, or megabytes.
//! Called by `frame`, `connect` and the methods. Knows no field by name.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

/// A field that is missing or not what it must be: a sentence beginning with its path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid(pub(super) String);

/// Where an object stands, for errors.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// The outermost object.
    Root,
    /// The value of this member of the outermost object.
    In(&'static str),
    /// An element of the array that is this member of the outermost object.
    Element(&'static str, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::In(name) => write!(f, "{name}."),
            Self::Element(name, index) => write!(f, "{name}[{index}]."),
        }
    }
}

/// The known members of one object. `N` names, looked up by comparing: there are few.
#[derive(Debug)]
pub(super) struct Object<'a, const N: usize> {
    place: Place,
    names: &'static [&'static str; N],
    members: [Option<&'a RawValue>; N],
}

impl<'a, const N: usize> Object<'a, N> {
    /// An object without members.
    pub(super) fn empty(place: Place, names: &'static [&'static str; N]) -> Self {
        Self { place, names, members: [None; N] }
    }

    /// Reads an object from JSON text. What was read before an error stays readable.
    pub(super) fn fill(&mut self, json: &'a str) -> Result<(), Invalid> {
        if !json.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
            return Err(self.not_an_object());
        }
        let mut deserializer = serde_json::Deserializer::from_str(json);
        deserializer
            .deserialize_map(MembersVisitor { names: self.names, members: &mut self.members })
            .and_then(|()| deserializer.end())
            .map_err(|error| Invalid(format!("{}{}", self.prefix(), sentence(&error))))
    }

    /// Reads an object from a member's value.
    pub(super) fn read(
        place: Place,
        names: &'static [&'static str; N],
        raw: &'a RawValue,
    ) -> Result<Self, Invalid> {
        let mut object = Self::empty(place, names);
        object.fill(raw.get())?;
        Ok(object)
    }

    fn not_an_object(&self) -> Invalid {
        Invalid(format!("{}must be an object", self.prefix()))
    }

    /// The object's own path, for sentences about the object itself.
    fn prefix(&self) -> String {
        match self.place {
            Place::Root => String::new(),
            Place::In(name) => format!("{name} "),
            Place::Element(name, index) => format!("{name}[{index}] "),
        }
    }

    /// An error about one of this object's members.
    pub(super) fn invalid(&self, name: &str, must: impl fmt::Display) -> Invalid {
        Invalid(format!("{}{name} {must}", self.place))
    }

    /// A member's JSON text. `null` counts as absent.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let (_, member) =
            self.names.iter().zip(&self.members).find(|(known, _)| **known == name)?;
        member.filter(|raw| raw.get() != "null")
    }

    /// A string of at most `bytes_max` bytes.
    pub(super) fn string(
        &self,
        name: &str,
        bytes_max: usize,
    ) -> Result<Option<Cow<'a, str>>, Invalid> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let text = decode(raw).map_err(|must| self.invalid(name, must))?;
        if text.len() <= bytes_max {
            Ok(Some(text))
        } else {
            Err(self.invalid(name, format_args!("must be at most {bytes_max} bytes long")))
        }
    }

    /// A string that must be there and not be empty.
    pub(super) fn required(&self, name: &str, bytes_max: usize) -> Result<Cow<'a, str>, Invalid> {
        match self.string(name, bytes_max)? {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) | None => Err(self.invalid(name, "must be a non-empty string")),
        }
    }

    /// A whole number from 0 to 2^64 - 1.
    pub(super) fn u64(&self, name: &str) -> Result<Option<u64>, Invalid> {
        self.parsed(name, "must be a whole number, 0 or more")
    }

    /// A whole number from 1 to 2^64 - 1.
    pub(super) fn positive(&self, name: &str) -> Result<Option<u64>, Invalid> {
        let must = "must be a whole number, 1 or more";
        match self.parsed(name, must)? {
            Some(0) => Err(self.invalid(name, must)),
            number => Ok(number),
        }
    }

    /// A truth value.
    pub(super) fn bool(&self, name: &str) -> Result<Option<bool>, Invalid> {
        self.parsed(name, "must be true or false")
    }

    /// A whole number that fits 64 bits.
    pub(super) fn i64(&self, name: &str) -> Result<Option<i64>, Invalid> {
        self.parsed(name, "must be a whole number")
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str, must: &str) -> Result<Option<T>, Invalid> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        // JSON numbers have no leading `+`, and the text was already found to be JSON.
        raw.get().parse().map(Some).map_err(|_| self.invalid(name, must))
    }

    /// An object that is a member of the outermost object.
    pub(super) fn object<const M: usize>(
        &self,
        name: &'static str,
        names: &'static [&'static str; M],
    ) -> Result<Option<Object<'a, M>>, Invalid> {
        self.raw(name).map(|raw| Object::read(Place::In(name), names, raw)).transpose()
    }

    /// An array of at most `count_max` elements, each read by `read`.
    pub(super) fn array<T>(
        &self,
        name: &'static str,
        count_max: usize,
        read: impl FnMut(usize, &'a RawValue) -> Result<T, Invalid>,
    ) -> Result<Option<Vec<T>>, Invalid> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        if !raw.get().starts_with('[') {
            return Err(self.invalid(name, "must be an array"));
        }
        let mut problem = None;
        let visitor =
            ElementsVisitor { count_max, read, problem: &mut problem, item: Default::default() };
        let elements = serde_json::Deserializer::from_str(raw.get()).deserialize_seq(visitor);
        match (problem, elements) {
            (None, Ok(elements)) => Ok(Some(elements)),
            (Some(Problem::Element(invalid)), _) => Err(invalid),
            (Some(Problem::TooMany), _) => {
                Err(self.invalid(name, format_args!("must have at most {count_max} elements")))
            }
            (None, Err(error)) => Err(self.invalid(name, sentence(&error))),
        }
    }

    /// An array of strings.
    pub(super) fn strings(
        &self,
        name: &'static str,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Option<Vec<Cow<'a, str>>>, Invalid> {
        let place = self.place;
        self.array(name, count_max, |index, raw| match decode(raw) {
            Ok(text) if text.is_empty() => {
                Err(Invalid(format!("{place}{name}[{index}] must be a non-empty string")))
            }
            Ok(text) if bytes_max < text.len() => Err(Invalid(format!(
                "{place}{name}[{index}] must be at most {bytes_max} bytes long"
            ))),
            Ok(text) => Ok(text),
            Err(must) => Err(Invalid(format!("{place}{name}[{index}] {must}"))),
        })
    }
}

/// What is wrong; and where, if it is the JSON itself.
/// Elsewhere a position would count from the beginning of a part that the peer does not see.
fn sentence(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if error.is_data() {
        text.truncate(text.rfind(" at line ").unwrap_or(text.len()));
    }
    text
}

/// The text of a JSON string; on failure, what the value must be.
pub(super) fn decode(raw: &RawValue) -> Result<Cow<'_, str>, &'static str> {
    let json = raw.get();
    let Some(inner) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err("must be a string");
    };
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    // The scanner that cut this value out does not look at surrogates; the parser does.
    match serde_json::from_str::<String>(json) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(_) => Err("must be a string without unpaired surrogates"),
    }
}

struct MembersVisitor<'m, 'a, const N: usize> {
    names: &'static [&'static str; N],
    members: &'m mut [Option<&'a RawValue>; N],
}

impl<'a, const N: usize> Visitor<'a> for MembersVisitor<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(known) = map.next_key_seed(KeySeed(self.names))? {
            match known.and_then(|(index, name)| Some((self.members.get_mut(index)?, name))) {
                Some((member, name)) => {
                    // Two parsers that disagree on which one counts are a way around checks.
                    if member.is_some() {
                        return Err(A::Error::custom(format_args!("has {name} twice")));
                    }
                    *member = Some(map.next_value()?);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct KeySeed<const N: usize>(&'static [&'static str; N]);

impl<'a, const N: usize> DeserializeSeed<'a> for KeySeed<N> {
    type Value = Option<(usize, &'static str)>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for KeySeed<N> {
    type Value = Option<(usize, &'static str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().copied().enumerate().find(|(_, name)| *name == key))
    }
}

enum Problem {
    TooMany,
    Element(Invalid),
}

/// `problem` is beside the error of `serde`, which carries only text.
struct ElementsVisitor<'p, T, F> {
    count_max: usize,
    read: F,
    problem: &'p mut Option<Problem>,
    item: std::marker::PhantomData<T>,
}

impl<'a, T, F: FnMut(usize, &'a RawValue) -> Result<T, Invalid>> Visitor<'a>
    for ElementsVisitor<'_, T, F>
{
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut elements = Vec::new();
        while let Some(raw) = seq.next_element::<&'a RawValue>()? {
            let index = elements.len();
            if self.count_max <= index {
                *self.problem = Some(Problem::TooMany);
                return Err(A::Error::custom("too many"));
            }
            match (self.read)(index, raw) {
                Ok(element) => elements.push(element),
                Err(invalid) => {
                    *self.problem = Some(Problem::Element(invalid));
                    return Err(A::Error::custom("invalid element"));
                }
            }
        }
        Ok(elements)
    }
}
