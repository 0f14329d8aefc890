//! Reading a section of the file key by key: each key is asked for once, with what it allows.
//!
//! What was never asked for is unknown, so the list of known names cannot differ from what is
//! read. Errors are gathered, not returned: a person sees all of them at once. Pure.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, Setting, nearest, quoted};
use crate::base::limits::CONFIG_LIST_MAX;

/// The file being read, and what was found wrong with it.
pub(super) struct Source<'s> {
    file: &'s Path,
    text: &'s str,
    errors: RefCell<Vec<ConfigError>>,
}

impl<'s> Source<'s> {
    pub(super) fn new(file: &'s Path, text: &'s str) -> Self {
        Self { file, text, errors: RefCell::default() }
    }

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Place::File { file: self.file.to_owned(), line }
    }

    fn report(&self, error: ConfigError) {
        self.errors.borrow_mut().push(error);
    }
}

/// A table of the file, or the place where it would be.
pub(super) struct Section<'s> {
    source: &'s Source<'s>,
    path: String,
    /// Of the table's header.
    offset: usize,
    table: Option<&'s DeTable<'s>>,
    asked: Vec<&'static str>,
}

impl<'s> Section<'s> {
    pub(super) fn root(source: &'s Source<'s>, table: &'s DeTable<'s>) -> Self {
        Self { source, path: String::new(), offset: 0, table: Some(table), asked: Vec::new() }
    }

    /// Where the section begins.
    pub(super) fn place(&self) -> Place {
        self.source.place(self.offset)
    }

    /// Where one of two keys is set, the first that is; else where the section begins.
    pub(super) fn place_of(&self, first: &str, second: &str) -> Place {
        let value = |name: &str| self.table.and_then(|table| table.get(name));
        let offset = value(first).or_else(|| value(second)).map(|value| value.span().start);
        self.source.place(offset.unwrap_or(self.offset))
    }

    /// The full name of a key.
    pub(super) fn key(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// Reports an error that the caller found.
    pub(super) fn report(&self, place: &Place, name: &str, problem: impl Into<String>) {
        self.source.report(ConfigError::new(place, &self.key(name), problem));
    }

    /// The table under this name; an empty one if there is none.
    pub(super) fn section(&mut self, name: &'static str) -> Self {
        let value = self.value(name);
        let table = value.and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.refuse(value, name, other, &format!("a table, [{}]", self.key(name)));
                None
            }
        });
        self.child(name, value.map_or(0, |value| value.span().start), table)
    }

    /// The tables of an array of tables.
    pub(super) fn sections(&mut self, name: &'static str) -> Vec<Self> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let allowed = format!("tables, each under [[{}]]", self.key(name));
        let DeValue::Array(array) = value.get_ref() else {
            self.refuse(value, name, value.get_ref(), &allowed);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in array.iter() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    sections.push(self.child(name, item.span().start, Some(table)));
                }
                other => self.refuse(item, name, other, &allowed),
            }
        }
        sections
    }

    /// The tables under names of the user's own choice, with those: all that was not asked for.
    pub(super) fn named_sections(&self) -> Vec<(String, Self)> {
        let allowed = format!("a table, [{}.NAME]", self.path);
        let mut sections = Vec::new();
        for (key, value) in self.table.into_iter().flat_map(|table| table.iter()) {
            let name: &str = key.get_ref();
            match value.get_ref() {
                _ if self.asked.contains(&name) => {}
                DeValue::Table(table) => {
                    let section = self.child(name, value.span().start, Some(table));
                    sections.push((name.to_owned(), section));
                }
                other => {
                    let meant = nearest(name, self.asked.iter().copied());
                    let meant = meant.map(|name| format!(" (did you mean {name}?)"));
                    let allowed = format!("{allowed}{}", meant.unwrap_or_default());
                    self.refuse(value, name, other, &allowed);
                }
            }
        }
        sections
    }

    /// The texts of a table, each with its name.
    pub(super) fn texts(
        &mut self,
        name: &'static str,
        allowed: &str,
        is_allowed: impl Fn(&str, &str) -> bool,
    ) -> Vec<(String, String)> {
        let section = self.section(name);
        let mut texts = Vec::new();
        for (key, value) in section.table.into_iter().flat_map(|table| table.iter()) {
            let name: &str = key.get_ref();
            match value.get_ref().as_str().filter(|text| is_allowed(name, text)) {
                Some(text) => texts.push((name.to_owned(), text.to_owned())),
                None => {
                    let place = self.source.place(key.span().start);
                    section.report(&place, name, format!("allowed: {allowed}"));
                }
            }
        }
        texts
    }

    /// Whether this key is set.
    pub(super) fn has(&self, name: &str) -> bool {
        self.table.is_some_and(|table| table.get(name).is_some())
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Option<Setting<bool>> {
        self.read(name, "true or false", true, |value| value.as_bool())
    }

    /// An integer within the range.
    pub(super) fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<Setting<u64>> {
        let allowed = format!("an integer from {} to {}", range.start(), range.end());
        self.read(name, &allowed, true, |value| {
            let integer = value.as_integer()?;
            let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
            range.contains(&number).then_some(number)
        })
    }

    /// A text that the function understands.
    pub(super) fn parsed<T>(
        &mut self,
        name: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Setting<T>> {
        self.read(name, allowed, true, |value| value.as_str().and_then(&parse))
    }

    /// A text that errors never show.
    pub(super) fn secret<T>(
        &mut self,
        name: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Setting<T>> {
        self.read(name, allowed, false, |value| value.as_str().and_then(&parse))
    }

    /// A list of texts that the function understands, each.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Setting<Vec<T>>> {
        let value = self.value(name)?;
        let list_allowed = format!("a list of at most {CONFIG_LIST_MAX} texts, each {allowed}");
        let DeValue::Array(array) = value.get_ref() else {
            self.refuse(value, name, value.get_ref(), &list_allowed);
            return None;
        };
        if array.len() > CONFIG_LIST_MAX {
            self.refuse(value, name, value.get_ref(), &list_allowed);
            return None;
        }
        let mut parsed = Vec::with_capacity(array.len());
        for item in array.iter() {
            match item.get_ref().as_str().and_then(&parse) {
                Some(item) => parsed.push(item),
                None => self.refuse(item, name, item.get_ref(), allowed),
            }
        }
        Some(Setting { value: parsed, place: self.source.place(value.span().start) })
    }

    /// Reports every key that was never asked for.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        for (key, _) in table.iter() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let meant = nearest(name, self.asked.iter().copied());
            let meant = meant.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
            let section = match self.path.as_str() {
                "" => "at the top of the file".to_owned(),
                path => format!("in [{path}]"),
            };
            let names = self.asked.join(", ");
            let problem = format!("unknown key{meant}; allowed {section}: {names}");
            self.report(&self.source.place(key.span().start), name, problem);
        }
    }

    fn child(&self, name: &str, offset: usize, table: Option<&'s DeTable<'s>>) -> Self {
        Self { source: self.source, path: self.key(name), offset, table, asked: Vec::new() }
    }

    fn value(&mut self, name: &'static str) -> Option<&'s Spanned<DeValue<'s>>> {
        self.asked.push(name);
        self.table?.get(name)
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        allowed: &str,
        is_shown: bool,
        read: impl FnOnce(&DeValue<'_>) -> Option<T>,
    ) -> Option<Setting<T>> {
        let value = self.value(name)?;
        let place = self.source.place(value.span().start);
        match read(value.get_ref()) {
            Some(value) => Some(Setting { value, place }),
            None => {
                let found = match is_shown {
                    true => show(value.get_ref()),
                    false => format!("a value of type {} (not shown)", value.get_ref().type_str()),
                };
                self.source.report(ConfigError::not_allowed(
                    &place,
                    &self.key(name),
                    &found,
                    allowed,
                ));
                None
            }
        }
    }

    fn refuse(&self, at: &Spanned<DeValue<'_>>, name: &str, found: &DeValue<'_>, allowed: &str) {
        let place = self.source.place(at.span().start);
        let error = ConfigError::not_allowed(&place, &self.key(name), &show(found), allowed);
        self.source.report(error);
    }
}

/// A value as a person would recognise it.
fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(array) => format!("a list of {}", array.len()),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
