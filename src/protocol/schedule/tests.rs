//! Occurrences on ordinary days and on the days when clocks change.

use jiff::tz::TimeZone;

use super::*;

fn cron(expr: &str, zone: &str) -> Schedule {
    let expression = Box::new(Expression::parse(expr).unwrap());
    Schedule::Cron { expression, zone: Some(Zone::find(zone).unwrap()) }
}

/// The occurrences after a local moment, in local time with the offset.
#[track_caller]
fn check(expr: &str, zone: &str, after: &str, expected: &[&str]) {
    let schedule = cron(expr, zone);
    let rules = Zone::find(zone).unwrap().rules().clone();
    let after = format!("{after}[{zone}]").parse::<jiff::Zoned>().unwrap();
    let mut at = millis(after.timestamp()).unwrap();
    let mut found = Vec::new();
    for _ in expected {
        let Some(next) = schedule.next_after(at) else { break };
        assert!(next > at, "time goes on");
        assert_eq!(schedule.latest_until(next), Some(next), "{expr}");
        assert_eq!(schedule.latest_until(next - 1), schedule.latest_until(at), "{expr}");
        found.push(shown(next, &rules));
        at = next;
    }
    assert_eq!(found, expected, "{expr} in {zone}");
}

fn shown(ms: u64, rules: &TimeZone) -> String {
    timestamp(ms).unwrap().to_zoned(rules.clone()).strftime("%F %H:%M %:z").to_string()
}

#[test]
fn time_of_day_that_the_clock_leaves_out_comes_once_right_after_the_gap() {
    // Berlin: 29 March 2026, 02:00 becomes 03:00.
    check(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-27T12:00",
        &["2026-03-28 02:30 +01:00", "2026-03-29 03:00 +02:00", "2026-03-30 02:30 +02:00"],
    );
    check(
        "0,20,40 2,3 * * *",
        "Europe/Berlin",
        "2026-03-29T00:00",
        &[
            "2026-03-29 03:00 +02:00",
            "2026-03-29 03:20 +02:00",
            "2026-03-29 03:40 +02:00",
            "2026-03-30 02:00 +02:00",
        ],
    );
    // Half an hour, on Lord Howe Island.
    check(
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T12:00",
        &["2026-10-04 02:30 +11:00", "2026-10-05 02:15 +11:00"],
    );
    // At midnight, in Cairo.
    check(
        "0 0 * * *",
        "Africa/Cairo",
        "2026-04-23T12:00",
        &["2026-04-24 01:00 +03:00", "2026-04-25 00:00 +03:00"],
    );
}

#[test]
fn time_of_day_that_the_clock_repeats_comes_the_first_time_only() {
    // Berlin: 25 October 2026, 03:00 becomes 02:00.
    check(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T12:00",
        &["2026-10-25 02:30 +02:00", "2026-10-26 02:30 +01:00"],
    );
    check(
        "0,30 1-3 * * *",
        "Europe/Berlin",
        "2026-10-25T01:15",
        &[
            "2026-10-25 01:30 +02:00",
            "2026-10-25 02:00 +02:00",
            "2026-10-25 02:30 +02:00",
            "2026-10-25 03:00 +01:00",
            "2026-10-25 03:30 +01:00",
        ],
    );
}

#[test]
fn intervals_follow_the_clock_through_both_changes() {
    check(
        "*/30 * * * *",
        "Europe/Berlin",
        "2026-03-29T01:15",
        &["2026-03-29 01:30 +01:00", "2026-03-29 03:00 +02:00", "2026-03-29 03:30 +02:00"],
    );
    check(
        "*/30 * * * *",
        "Europe/Berlin",
        "2026-10-25T01:45",
        &[
            "2026-10-25 02:00 +02:00",
            "2026-10-25 02:30 +02:00",
            "2026-10-25 02:00 +01:00",
            "2026-10-25 02:30 +01:00",
            "2026-10-25 03:00 +01:00",
        ],
    );
    check(
        "0 * * * *",
        "America/New_York",
        "2026-03-08T00:30",
        &["2026-03-08 01:00 -05:00", "2026-03-08 03:00 -04:00", "2026-03-08 04:00 -04:00"],
    );
}

#[test]
fn months_end_when_they_end_and_leap_days_come_when_they_come() {
    check(
        "0 12 31 * *",
        "UTC",
        "2026-01-01T00:00",
        &["2026-01-31 12:00 +00:00", "2026-03-31 12:00 +00:00", "2026-05-31 12:00 +00:00"],
    );
    check(
        "0 12 L * *",
        "UTC",
        "2028-01-31T12:00",
        &["2028-02-29 12:00 +00:00", "2028-03-31 12:00 +00:00", "2028-04-30 12:00 +00:00"],
    );
    check(
        "0 0 29 2 *",
        "UTC",
        "2096-01-01T00:00",
        &["2096-02-29 00:00 +00:00", "2104-02-29 00:00 +00:00"],
    );
    check(
        "59 23 31 12 *",
        "Asia/Kathmandu",
        "2026-12-31T23:58",
        &["2026-12-31 23:59 +05:45", "2027-12-31 23:59 +05:45"],
    );
}

#[test]
fn day_of_the_month_and_day_of_the_week_are_alternatives() {
    check(
        "0 0 13 * FRI",
        "UTC",
        "2026-11-07T00:00",
        &[
            "2026-11-13 00:00 +00:00",
            "2026-11-20 00:00 +00:00",
            "2026-11-27 00:00 +00:00",
            "2026-12-04 00:00 +00:00",
            "2026-12-11 00:00 +00:00",
            "2026-12-13 00:00 +00:00",
        ],
    );
}

#[test]
fn an_expression_that_never_comes_has_no_next_and_says_so_soon() {
    for expr in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
        assert_eq!(cron(expr, "Europe/Berlin").next_after(1_795_000_000_000), None);
    }
}

#[test]
fn forward_and_backward_searches_agree_minute_by_minute_on_the_days_of_change() {
    let days = [
        ("Europe/Berlin", "2026-03-29T00:00"),
        ("Europe/Berlin", "2026-10-25T00:00"),
        ("America/New_York", "2026-11-01T00:00"),
        ("Australia/Lord_Howe", "2026-04-05T00:00"),
        ("Australia/Lord_Howe", "2026-10-04T00:00"),
        ("America/Santiago", "2026-09-05T22:00"),
        ("Africa/Cairo", "2026-10-29T22:00"),
    ];
    let exprs = [
        "*/7 * * * *",
        "0 * * * *",
        "30 * * * *",
        "0 */2 * * *",
        "5,50 * * * *",
        "* 2 * * *",
        "10,40 1-3 * * *",
        "30 2 * * *",
    ];
    for (zone, midnight) in days {
        let begin = format!("{midnight}[{zone}]").parse::<jiff::Zoned>().unwrap();
        let begin = millis(begin.timestamp()).unwrap();
        for expr in exprs {
            let schedule = cron(expr, zone);
            let (mut at, mut occurrences) = (begin - 86_400_000, Vec::new());
            while at <= begin + 2 * 86_400_000 {
                let next = schedule.next_after(at).unwrap();
                assert!(next > at, "{expr} in {zone} does not go on from {at}");
                let before = schedule.latest_until(next - 1);
                let last = occurrences.last().copied().or(before);
                assert_eq!(before, last, "{expr} in {zone} just before {next}");
                at = next;
                occurrences.push(at);
            }
            assert!(occurrences.is_sorted());
            for minute in (0..30 * 60).step_by(5) {
                let now = begin + minute * 60_000 + 30_500;
                let next = occurrences.iter().find(|at| **at > now).copied();
                let last = occurrences.iter().rfind(|at| **at <= now).copied();
                assert_eq!(schedule.next_after(now), next, "{expr} in {zone} after {now}");
                assert_eq!(schedule.latest_until(now), last, "{expr} in {zone} until {now}");
            }
        }
    }
}

#[test]
fn intervals_are_counted_from_their_anchor() {
    let every = |anchor_ms| Schedule::Every { every_ms: 1_000, anchor_ms: Some(anchor_ms) };
    assert_eq!(every(250).next_after(0), Some(250));
    assert_eq!(every(250).next_after(250), Some(1_250));
    assert_eq!(every(250).next_after(1_249), Some(1_250));
    assert_eq!(every(250).latest_until(249), None);
    assert_eq!(every(250).latest_until(1_249), Some(250));
    assert_eq!(every(250).count_between(0, 3_250, 2), 4);
    assert_eq!(every(250).count_between(250, 1_249, 2), 0);
    assert_eq!(every(u64::MAX).next_after(5), Some(u64::MAX));
    assert_eq!(every(0).next_after(u64::MAX), None);
}

#[test]
fn occurrences_of_an_expression_are_counted_up_to_a_bound() {
    let hourly = cron("0 * * * *", "UTC");
    assert_eq!(hourly.count_between(0, 3_600_000 * 5, 100), 5);
    assert_eq!(hourly.count_between(0, 3_600_000 * 500, 100), 100);
}

#[test]
fn moments_are_read_with_an_offset_or_in_utc() {
    for (text, expected) in [
        ("2026-11-22T18:43:42.123Z", Some(1_795_373_022_123)),
        ("2026-11-22T19:43:42.123+01:00", Some(1_795_373_022_123)),
        ("2026-11-22T18:43:42.123", Some(1_795_373_022_123)),
        ("2026-11-22T18:43", Some(1_795_372_980_000)),
        ("2026-11-22", Some(1_795_305_600_000)),
        ("tomorrow", None),
        ("1960-01-01T00:00:00Z", None),
    ] {
        assert_eq!(parse_moment(text), expected, "{text}");
    }
}

#[test]
fn a_schedule_is_read_back_as_it_was_kept() {
    for schedule in [
        Schedule::At(5),
        Schedule::Every { every_ms: 1_000, anchor_ms: Some(7) },
        cron("*/5 9-17 * * MON-FRI", "Europe/Berlin"),
    ] {
        let json = serde_json::to_string(&schedule.text()).unwrap();
        assert_eq!(Schedule::read(&serde_json::from_str(&json).unwrap()), Ok(schedule));
    }
}
