//! Cron expressions: five fields, and the moments at which they come.
//!
//! Owns the refusal of a malformed one, with its column, and the rule for clocks that are put
//! forward or back (`docs/protocol.md`, "Cron"). Which wall-clock times match is `croner`'s to say,
//! which moments those are is `jiff`'s alone. Reads no clock. Called by `schedule`.

use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::syntax::{self, Malformed};

/// What one fixed time can be repeated or passed over by: clocks go back by an hour, or less.
/// Within it are at most 180 wall-clock times of an expression.
const CLOCK_CHANGE_MAX: SignedDuration = SignedDuration::from_hours(3);
/// See [`CLOCK_CHANGE_MAX`]; with room for the whole days that islands have left out.
const STEPS_MAX: usize = 2 * 24 * 60;

/// An expression that is well formed.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Arc<str>,
    cron: Cron,
    /// Whether its minute or its hour begins with `*`: then it follows the clock, whatever the
    /// clock shows; otherwise it names times of the day, each of which comes once a day.
    is_interval: bool,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Expression {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let fields = syntax::read(text)?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed);
        let cron = parser.build().parse(&fields.numeric).map_err(|error| Malformed {
            column: 1,
            problem: format!("cannot be used: {error}"),
        })?;
        Ok(Self { text: Arc::from(text), cron, is_interval: fields.is_interval })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first occurrence after this moment, if there is one within the next centuries.
    pub(super) fn next_after(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        if self.is_interval {
            return self.next_of_interval(zone, after);
        }
        let mut civil = zone.to_datetime(after);
        for _ in 0..STEPS_MAX {
            civil = self.cron.find_next_occurrence(&civil, false).ok()?;
            let moment = fixed(zone, civil)?;
            if moment > after {
                return Some(moment);
            }
        }
        None
    }

    /// The last occurrence up to and with this moment.
    pub(super) fn latest_until(&self, zone: &TimeZone, until: Timestamp) -> Option<Timestamp> {
        if self.is_interval {
            return self.latest_of_interval(zone, until);
        }
        // When a clock was put back, later wall-clock times may have come before.
        let mut civil = zone.to_datetime(until.checked_add(CLOCK_CHANGE_MAX).ok()?);
        for _ in 0..STEPS_MAX {
            civil = self.cron.find_previous_occurrence(&civil, false).ok()?;
            let moment = fixed(zone, civil)?;
            if moment <= until {
                return Some(moment);
            }
        }
        None
    }

    /// Looks through one stretch after the other in which the clock is not changed. `croner` could
    /// be given the zone, but comes to the same moment again where a clock repeats an hour.
    fn next_of_interval(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = (after, false);
        for _ in 0..STEPS_MAX {
            let offset = zone.to_offset(from);
            let civil =
                self.cron.find_next_occurrence(&offset.to_datetime(from), inclusive).ok()?;
            let moment = offset.to_timestamp(civil).ok()?;
            match zone.following(from).next() {
                Some(change) if change.timestamp() <= moment => from = change.timestamp(),
                Some(_) | None => return Some(moment),
            }
            inclusive = true;
        }
        None
    }

    /// The same, back in time.
    fn latest_of_interval(&self, zone: &TimeZone, until: Timestamp) -> Option<Timestamp> {
        let instant = SignedDuration::from_nanos(1);
        let mut until = until;
        for _ in 0..STEPS_MAX {
            let offset = zone.to_offset(until);
            let civil =
                self.cron.find_previous_occurrence(&offset.to_datetime(until), true).ok()?;
            let moment = offset.to_timestamp(civil).ok()?;
            match zone.preceding(until.checked_add(instant).ok()?).next() {
                Some(change) if moment < change.timestamp() => {
                    until = change.timestamp().checked_sub(instant).ok()?;
                }
                Some(_) | None => return Some(moment),
            }
        }
        None
    }
}

/// When a time of the day comes: the first time of two, and right after the gap that leaves it out.
fn fixed(zone: &TimeZone, civil: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(civil).ok()
        }
        AmbiguousOffset::Gap { after, .. } => {
            // Read with the later offset, the time is before the gap, so what follows is its edge.
            let before = after.to_timestamp(civil).ok()?;
            zone.following(before).next().map(|transition| transition.timestamp())
        }
    }
}
