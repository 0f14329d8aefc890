//! A JSON object in the making, whose values stand as they were typed.
//!
//! Not a `serde_json::Value`, which would round a cost on its way. Called by `report`.

use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

/// Members in order, each name once; values are JSON.
#[derive(Clone, Debug, Default)]
pub(super) struct Members(Vec<(&'static str, String)>);

impl Members {
    /// The parameters of `logs.append` with these entries, which are JSON objects.
    pub(super) fn entries(entries: impl IntoIterator<Item = String>) -> Self {
        let entries: Vec<_> = entries.into_iter().collect();
        Self(vec![("entries", format!("[{}]", entries.join(",")))])
    }

    /// Sets a member to JSON.
    pub(super) fn json(&mut self, name: &'static str, json: String) {
        match self.0.iter_mut().find(|(held, _)| *held == name) {
            Some((_, value)) => *value = json,
            None => self.0.push((name, json)),
        }
    }

    /// Sets a member to a text.
    pub(super) fn text(&mut self, name: &'static str, text: &str) {
        self.json(name, serde_json::Value::from(text).to_string());
    }

    /// Sets a member to a text unless it is set.
    pub(super) fn default_text(&mut self, name: &'static str, text: &str) {
        if !self.has(name) {
            self.text(name, text);
        }
    }

    /// Sets a member to a count unless it is set.
    pub(super) fn default_count(&mut self, name: &'static str, count: u64) {
        if !self.has(name) {
            self.json(name, count.to_string());
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(held, _)| *held == name)
    }

    /// Changes a member that is a text.
    pub(super) fn rewrite(&mut self, name: &str, change: impl FnOnce(&str) -> String) {
        let held = self.0.iter_mut().find(|(held, _)| *held == name);
        if let Some((_, value)) = held
            && let Ok(text) = serde_json::from_str::<String>(value)
        {
            *value = serde_json::Value::from(change(&text)).to_string();
        }
    }

    /// Takes a member out.
    pub(super) fn take(&mut self, name: &str) -> Option<(&'static str, String)> {
        let place = self.0.iter().position(|(held, _)| *held == name)?;
        Some(self.0.remove(place))
    }

    /// Puts a member in, if there is one.
    pub(super) fn extend(&mut self, member: Option<(&'static str, String)>) {
        if let Some((name, json)) = member {
            self.json(name, json);
        }
    }

    /// The object as JSON text.
    pub(super) fn encode(&self) -> String {
        let members: Vec<_> =
            self.0.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
        format!("{{{}}}", members.join(","))
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.encode()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}
