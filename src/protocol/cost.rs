//! Money, exactly: a whole number of billionths, read from and written as decimal JSON numbers.
//!
//! Owns the arithmetic that a binary fraction would get wrong: `0.1` added ten times is `1`.
//! Knows no currency. Called by the methods that take a `cost` and by the encoding of sessions.

use serde::{Deserialize, Serialize};

use crate::base::limits::COST_NANOS_MAX;

/// Billionths in one unit.
const NANOS_PER_UNIT: u128 = 1_000_000_000;
const DECIMALS: i64 = 9;

/// An amount from 0 to `COST_NANOS_MAX`, in billionths of a unit.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Cost(pub u64);

impl Cost {
    /// What a cost must be, for errors.
    pub(super) const MUST_BE: &'static str = "must be a number from 0 to 1000000000";

    /// Reads a JSON number. What is finer than a billionth is rounded to the nearest, halves up.
    /// `None` for what is negative, beyond the limit, or no number.
    pub fn parse(json: &str) -> Option<Self> {
        let (mantissa, exponent) = match json.split_once(['e', 'E']) {
            // An exponent too long for 32 bits belongs to no amount that we could keep.
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (json, 0),
        };
        let (digits, negative) =
            mantissa.strip_prefix('-').map_or((mantissa, false), |digits| (digits, true));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let no_digits = whole.is_empty() || (fraction.is_empty() && digits.contains('.'));
        if no_digits || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // Where the decimal point stands, counted from the first digit, in billionths.
        let point = i64::try_from(whole.len()).ok()?;
        let end = point.checked_add(exponent.into())?.checked_add(DECIMALS)?;
        let nanos = nanos(whole.bytes().chain(fraction.bytes()), end)?;
        (nanos <= COST_NANOS_MAX && (nanos == 0 || !negative)).then_some(Self(nanos))
    }

    /// Both together; `None` beyond the limit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).filter(|nanos| *nanos <= COST_NANOS_MAX).map(Self)
    }
}

/// The first `end` digits as a number, the next one rounding it; missing digits are zeros.
fn nanos(digits: impl Iterator<Item = u8>, end: i64) -> Option<u64> {
    let mut number: u64 = 0;
    let mut taken: i64 = 0;
    if end < 0 {
        return Some(0);
    }
    for digit in digits {
        let digit = u64::from(digit.saturating_sub(b'0'));
        if taken == end {
            return if digit >= 5 { number.checked_add(1) } else { Some(number) };
        }
        number = number.checked_mul(10)?.checked_add(digit)?;
        taken = taken.checked_add(1)?;
    }
    while number != 0 && taken < end {
        number = number.checked_mul(10)?;
        taken = taken.checked_add(1)?;
    }
    Some(number)
}

/// Appends an amount of billionths as a JSON number without needless zeros.
pub(super) fn push_nanos(out: &mut Vec<u8>, nanos: u128) {
    let (units, rest) = (nanos / NANOS_PER_UNIT, nanos % NANOS_PER_UNIT);
    out.extend_from_slice(units.to_string().as_bytes());
    if rest > 0 {
        let fraction = format!(".{rest:09}");
        out.extend_from_slice(fraction.trim_end_matches('0').as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Option<u64>) {
        assert_eq!(Cost::parse(json), expected.map(Cost), "{json}");
    }

    #[test]
    fn numbers_of_every_form_are_read_exactly() {
        check("0", Some(0));
        check("-0", Some(0));
        check("-0.0e5", Some(0));
        check("0.42", Some(420_000_000));
        check("1e-9", Some(1));
        check("4.2E-1", Some(420_000_000));
        check("1.5e3", Some(1_500_000_000_000));
        check("0.000000001", Some(1));
        check("1000000000", Some(COST_NANOS_MAX));
        check("0.00000000000000000000000000000000000000001e40", Some(100_000_000));
        check("0e999999999", Some(0));
        check("0e-999999999", Some(0));
    }

    #[test]
    fn what_is_finer_than_a_billionth_is_rounded() {
        check("0.0000000004", Some(0));
        check("0.0000000005", Some(1));
        check("0.30000000000000004", Some(300_000_000));
        check("5e-10", Some(1));
        check("9e-11", Some(0));
        check("1e-400", Some(0));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for json in [
            "-1",
            "-1e-9",
            "1000000000.000000001",
            "1e10",
            "1e400",
            "1e99999999999",
            "",
            ".5",
            "1.",
            "1e",
            "0x1",
            "\"1\"",
            "true",
            "99999999999999999999",
            "NaN",
            "+1",
        ] {
            check(json, None);
        }
    }

    #[test]
    fn amounts_are_written_as_they_are_read() {
        for (nanos, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (420_000_000, "0.42"),
            (1_000_000_000, "1"),
            (1_050_000_000, "1.05"),
            (COST_NANOS_MAX, "1000000000"),
        ] {
            let mut out = Vec::new();
            push_nanos(&mut out, nanos.into());
            assert_eq!(String::from_utf8(out).unwrap(), text);
            check(text, Some(nanos));
        }
    }

    #[test]
    fn a_tenth_ten_times_is_one() {
        let tenth = Cost::parse("0.1").unwrap();
        let sum = (0..10).try_fold(Cost(0), |sum, _| sum.checked_add(tenth));
        assert_eq!(sum, Cost::parse("1"));
        assert_eq!(Cost(COST_NANOS_MAX).checked_add(Cost(1)), None);
    }
}
