//! When a job comes: once, at an interval, or by a cron expression in a time zone.
//!
//! Pure arithmetic over Unix milliseconds that are handed in; reads no clock. Owns the text of a
//! schedule, as it stands on the wire and on disk. Called by `methods::cron` and by `hub::cron`.

mod expression;
mod syntax;
mod zone;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use expression::Expression;
pub use syntax::Malformed;
pub use zone::Zone;

/// A schedule as it stands on disk and, with `at` in words, on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum ScheduleText {
    /// Once.
    At {
        /// Unix milliseconds.
        at_ms: u64,
    },
    /// At `anchor_ms` and every `every_ms` from there on.
    Every {
        /// Milliseconds.
        every_ms: u64,
        /// Unix milliseconds.
        anchor_ms: Option<u64>,
    },
    /// By a cron expression.
    Cron {
        /// Five fields.
        expr: Arc<str>,
        /// The IANA name of the time zone.
        tz: Option<Arc<str>>,
    },
}

/// A schedule that can be computed with.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// Once, at this Unix millisecond.
    At(u64),
    /// At `anchor_ms` and every `every_ms` from there on.
    Every {
        /// At least 1.
        every_ms: u64,
        /// `None`: from when the job was made.
        anchor_ms: Option<u64>,
    },
    /// By a cron expression.
    Cron {
        /// The expression.
        expression: Box<Expression>,
        /// `None`: the gateway's own.
        zone: Option<Zone>,
    },
}

impl Schedule {
    /// Reads what [`Schedule::text`] wrote. An error says what cannot be read any more.
    pub fn read(text: &ScheduleText) -> Result<Self, String> {
        Ok(match text {
            ScheduleText::At { at_ms } => Self::At(*at_ms),
            ScheduleText::Every { every_ms, anchor_ms } => {
                Self::Every { every_ms: (*every_ms).max(1), anchor_ms: *anchor_ms }
            }
            ScheduleText::Cron { expr, tz } => Self::Cron {
                expression: Expression::parse(expr)
                    .map(Box::new)
                    .map_err(|malformed| format!("schedule.expr {malformed}"))?,
                zone: tz
                    .as_deref()
                    .map(Zone::find)
                    .transpose()
                    .map_err(|problem| format!("schedule.tz {problem}"))?,
            },
        })
    }

    /// Fills in what was left open: the anchor is now, the time zone the gateway's.
    #[must_use]
    pub fn settled(self, now_ms: u64, zone: &Zone) -> Self {
        match self {
            Self::At(at_ms) => Self::At(at_ms),
            Self::Every { every_ms, anchor_ms } => {
                Self::Every { every_ms, anchor_ms: Some(anchor_ms.unwrap_or(now_ms)) }
            }
            Self::Cron { expression, zone: own } => {
                Self::Cron { expression, zone: Some(own.unwrap_or_else(|| zone.clone())) }
            }
        }
    }

    /// As it is kept.
    pub fn text(&self) -> ScheduleText {
        match self {
            Self::At(at_ms) => ScheduleText::At { at_ms: *at_ms },
            Self::Every { every_ms, anchor_ms } => {
                ScheduleText::Every { every_ms: *every_ms, anchor_ms: *anchor_ms }
            }
            Self::Cron { expression, zone } => ScheduleText::Cron {
                expr: Arc::from(expression.text()),
                tz: zone.as_ref().map(|zone| Arc::from(zone.name())),
            },
        }
    }

    /// The first occurrence after this moment.
    pub fn next_after(&self, after_ms: u64) -> Option<u64> {
        match self {
            Self::At(at_ms) => (*at_ms > after_ms).then_some(*at_ms),
            Self::Every { every_ms, anchor_ms } => {
                let anchor = anchor_ms.unwrap_or(0);
                let Some(since) = after_ms.checked_sub(anchor) else { return Some(anchor) };
                let past = since.checked_rem(*every_ms)?;
                after_ms.checked_sub(past)?.checked_add(*every_ms)
            }
            Self::Cron { expression, zone } => {
                let utc = Zone::utc();
                let zone = zone.as_ref().unwrap_or(&utc);
                millis(expression.next_after(zone.rules(), timestamp(after_ms)?)?)
            }
        }
    }

    /// The last occurrence up to and with this moment.
    pub fn latest_until(&self, until_ms: u64) -> Option<u64> {
        match self {
            Self::At(at_ms) => (*at_ms <= until_ms).then_some(*at_ms),
            Self::Every { every_ms, anchor_ms } => {
                let since = until_ms.checked_sub(anchor_ms.unwrap_or(0))?;
                until_ms.checked_sub(since.checked_rem(*every_ms)?)
            }
            Self::Cron { expression, zone } => {
                let utc = Zone::utc();
                let zone = zone.as_ref().unwrap_or(&utc);
                millis(expression.latest_until(zone.rules(), timestamp(until_ms)?)?)
            }
        }
    }

    /// How many occurrences there are after the first moment and up to the second, counted up to
    /// `count_max`: for an expression each costs a search.
    pub fn count_between(&self, after_ms: u64, until_ms: u64, count_max: u64) -> u64 {
        if let Self::Every { every_ms, anchor_ms } = self {
            let anchor = anchor_ms.unwrap_or(0);
            let up_to = |ms: u64| match ms.checked_sub(anchor) {
                Some(since) => {
                    since.checked_div(*every_ms).map_or(0, |count| count.saturating_add(1))
                }
                None => 0,
            };
            return up_to(until_ms).saturating_sub(up_to(after_ms));
        }
        let (mut count, mut at) = (0_u64, after_ms);
        while count < count_max
            && let Some(next) = self.next_after(at).filter(|next| *next <= until_ms)
        {
            (count, at) = (count.saturating_add(1), next);
        }
        count
    }
}

/// Reads a moment in words: RFC 3339, in UTC where it has no offset.
pub fn parse_moment(text: &str) -> Option<u64> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return millis(moment);
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    millis(jiff::tz::Offset::UTC.to_timestamp(civil).ok()?)
}

fn timestamp(unix_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()
}

fn millis(moment: Timestamp) -> Option<u64> {
    u64::try_from(moment.as_millisecond()).ok()
}

#[cfg(test)]
mod tests;
