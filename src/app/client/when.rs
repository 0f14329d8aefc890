//! Times and durations as people type and read them.
//!
//! Pure: the clock is an argument. Called by the argument parsers and by `tail`.

use std::time::Duration;

/// Reads `90`, `500ms`, `90s`, `10m`, `2h` or `3d`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let ms = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}

/// Reads a moment: a duration before now, or a date and time in UTC (RFC 3339), of which the time
/// may be left out. In milliseconds since 1970.
pub(super) fn since(text: &str, now_unix_ms: u64) -> Option<u64> {
    if let Some(ago) = duration(text) {
        return Some(now_unix_ms.saturating_sub(u64::try_from(ago.as_millis()).ok()?));
    }
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00:00"));
    let time = time.strip_suffix(['Z', 'z']).unwrap_or(time);
    let [year, month, day] = numbers(date, '-')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = match clock.split(':').count() {
        2 => numbers(&format!("{clock}:00"), ':')?,
        _ => numbers(clock, ':')?,
    };
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let ms: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000 + ms)
}

/// Three numbers between two separators.
fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let parts: Vec<_> = text.split(separator).collect();
    let all_digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !parts.iter().all(all_digits) {
        return None;
    }
    let parts: Vec<u64> = parts.iter().map(|part| part.parse().ok()).collect::<Option<_>>()?;
    parts.try_into().ok()
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// For a date that exists, from 1970 to 9999.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let years: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let months: u64 = (1..month).map(|month| days_of(year, month)).sum();
    years + months + day - 1
}

/// `18:43:42.123`, the time of day in UTC.
pub(super) fn time_of_day(unix_ms: u64) -> String {
    let ms = unix_ms % 86_400_000;
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1_000)
}

/// How long ago, or how long, in its two greatest units: `3d 4h`, `12m 5s`, `0s`.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    let units = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m")];
    let mut shown: Vec<_> = units.into_iter().chain([(seconds % 60, "s")]).collect();
    let first = shown.iter().position(|(number, _)| *number > 0).unwrap_or(3);
    shown.drain(..first);
    let shown = shown.into_iter().take(2).enumerate();
    let shown = shown.filter(|(place, (number, _))| *place == 0 || *number > 0);
    let shown: Vec<_> = shown.map(|(_, (number, unit))| format!("{number}{unit}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, ms) in
            [("90", 90_000), ("500ms", 500), ("10m", 600_000), ("2h", 7_200_000), ("0", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "m", "1w", "-1", "1.5s", "99999999999999999d", "1 s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn moments_are_read() {
        const NOW: u64 = 1_795_373_022_123;
        for (text, expected) in [
            ("10m", NOW - 600_000),
            ("1970-01-01", 0),
            ("2026-11-22T18:43:42.123Z", NOW),
            ("2026-11-22 18:43:42.1", NOW - 23),
            ("2026-11-22T18:43", NOW - 42_123),
            ("2000-02-29", 951_782_400_000),
        ] {
            assert_eq!(since(text, NOW), Some(expected), "{text}");
        }
        for text in ["yesterday", "2026-02-29", "2026-13-01", "2026-1", "2026-01-01T25:00", "é"] {
            assert_eq!(since(text, NOW), None, "{text}");
        }
    }

    #[test]
    fn times_and_spans_are_shown() {
        assert_eq!(time_of_day(1_795_373_022_123), "18:43:42.123");
        for (ms, expected) in
            [(0, "0s"), (61_000, "1m 1s"), (3_600_000, "1h"), (93_784_000, "1d 2h"), (60_000, "1m")]
        {
            assert_eq!(span(ms), expected);
        }
    }
}
