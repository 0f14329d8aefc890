//! The syntax of a cron expression, so that a malformed one is refused with the column.
//!
//! Owns which forms are taken. Knows no calendar. Called by `expression`.

use std::fmt;

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where, in characters, from 1.
    pub column: usize,
    /// A phrase that continues "at column N: ".
    pub problem: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is malformed at column {}: {}", self.column, self.problem)
    }
}

/// A well-formed expression.
pub(super) struct Fields {
    /// The five fields in numbers.
    pub(super) numeric: String,
    /// Whether the minute or the hour begins with `*`.
    pub(super) is_interval: bool,
}

struct Field {
    name: &'static str,
    min: u16,
    max: u16,
    names: &'static [&'static str],
    first_name: u16,
    /// Which of the forms with letters it takes.
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    DayOfMonth,
    DayOfWeek,
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[], first_name: 0, kind: Kind::Plain },
    Field { name: "hour", min: 0, max: 23, names: &[], first_name: 0, kind: Kind::Plain },
    Field {
        name: "day of the month",
        min: 1,
        max: 31,
        names: &[],
        first_name: 0,
        kind: Kind::DayOfMonth,
    },
    Field { name: "month", min: 1, max: 12, names: &MONTHS, first_name: 1, kind: Kind::Plain },
    Field {
        name: "day of the week",
        min: 0,
        max: 7,
        names: &DAYS,
        first_name: 0,
        kind: Kind::DayOfWeek,
    },
];

const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A piece of the expression: its text and the byte at which it begins.
#[derive(Clone, Copy)]
struct Piece<'a> {
    at: usize,
    text: &'a str,
}

/// A problem at a byte.
type Problem = (usize, String);

/// Checks an expression and writes it in numbers.
pub(super) fn read(text: &str) -> Result<Fields, Malformed> {
    fields(text).map_err(|(at, problem)| {
        let column = text.get(..at).map_or(0, |before| before.chars().count()).saturating_add(1);
        Malformed { column, problem }
    })
}

fn fields(text: &str) -> Result<Fields, Problem> {
    let pieces = split(text, |c| c == ' ' || c == '\t', 0);
    let mut pieces = pieces.into_iter().filter(|piece| !piece.text.is_empty());
    let mut numeric = String::with_capacity(text.len());
    let mut is_interval = false;
    for (index, field) in FIELDS.iter().enumerate() {
        let Some(piece) = pieces.next() else {
            let problem = format!("the field \"{}\" is missing; there must be five", field.name);
            return Err((text.trim_end().len(), problem));
        };
        if index == 0 && piece.text.starts_with('@') {
            return nickname(piece, pieces.next());
        }
        is_interval |= index < 2 && piece.text.starts_with('*');
        if index > 0 {
            numeric.push(' ');
        }
        list(&mut numeric, piece, field)?;
    }
    match pieces.next() {
        None => Ok(Fields { numeric, is_interval }),
        Some(more) => Err((more.at, "there is a sixth field; there must be five".to_owned())),
    }
}

fn nickname(piece: Piece<'_>, more: Option<Piece<'_>>) -> Result<Fields, Problem> {
    if let Some(more) = more {
        return Err((more.at, format!("nothing may follow {}", piece.text)));
    }
    let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(piece.text));
    let Some((_, meaning)) = known else {
        let names: Vec<_> = NICKNAMES.iter().map(|(name, _)| *name).collect();
        return Err((piece.at, format!("must be one of {}", names.join(", "))));
    };
    // As its five fields would be: only `@hourly` has a `*` among the first two.
    let is_interval = meaning.starts_with("0 *");
    Ok(Fields { numeric: (*meaning).to_owned(), is_interval })
}

fn list(out: &mut String, piece: Piece<'_>, field: &Field) -> Result<(), Problem> {
    let is_alone = !piece.text.contains(',');
    for (index, element) in split(piece.text, |c| c == ',', piece.at).into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        self::element(out, element, field, is_alone)?;
    }
    Ok(())
}

fn element(
    out: &mut String,
    element: Piece<'_>,
    field: &Field,
    is_alone: bool,
) -> Result<(), Problem> {
    let Piece { at, text } = element;
    if text.is_empty() {
        return Err((at, format!("a value of the {} is missing", field.name)));
    }
    let Some((base, step)) = text.split_once('/') else {
        return unstepped(out, element, field, is_alone);
    };
    let base = Piece { at, text: base };
    match base.text {
        "*" => out.push('*'),
        text if text.contains('-') => range(out, base, field)?,
        _ => return Err((at, "a step needs * or a range before it".to_owned())),
    }
    let step_at = at.saturating_add(base.text.len()).saturating_add(1);
    match digits(step) {
        Some(step) if 1 <= step && step <= field.max => {
            out.push('/');
            out.push_str(&step.to_string());
            Ok(())
        }
        _ => Err((step_at, format!("a step must be a number from 1 to {}", field.max))),
    }
}

fn unstepped(
    out: &mut String,
    element: Piece<'_>,
    field: &Field,
    is_alone: bool,
) -> Result<(), Problem> {
    let Piece { at, text } = element;
    if text == "*" || (text == "?" && field.kind != Kind::Plain) {
        if !is_alone {
            return Err((at, format!("{text} already means every {}", field.name)));
        }
        out.push('*');
        return Ok(());
    }
    if special(out, element, field)? {
        return Ok(());
    }
    if text.contains('-') {
        return range(out, element, field);
    }
    out.push_str(&value(element, field)?.to_string());
    Ok(())
}

/// `L`, `LW` and `15W` of the day of the month; `5L` and `5#2` of the day of the week.
fn special(out: &mut String, element: Piece<'_>, field: &Field) -> Result<bool, Problem> {
    let Piece { at, text } = element;
    let upper = text.to_ascii_uppercase();
    let of = |length: usize| Piece { at, text: text.get(..length).unwrap_or_default() };
    match field.kind {
        Kind::Plain => Ok(false),
        Kind::DayOfMonth => {
            if upper == "L" || upper == "LW" {
                out.push_str(&upper);
                return Ok(true);
            }
            let Some(day) = upper.strip_suffix('W') else { return Ok(false) };
            out.push_str(&format!("{}W", value(of(day.len()), field)?));
            Ok(true)
        }
        Kind::DayOfWeek => {
            if let Some((day, nth)) = upper.split_once('#') {
                let weekday = value(of(day.len()), field)?;
                let nth_at = at.saturating_add(day.len()).saturating_add(1);
                if !matches!(nth, "1" | "2" | "3" | "4" | "5" | "L") {
                    return Err((nth_at, "after # must stand a number from 1 to 5".to_owned()));
                }
                out.push_str(&format!("{weekday}#{nth}"));
                return Ok(true);
            }
            let Some(day) = upper.strip_suffix('L').filter(|day| !day.is_empty()) else {
                return Ok(false);
            };
            out.push_str(&format!("{}L", value(of(day.len()), field)?));
            Ok(true)
        }
    }
}

fn range(out: &mut String, element: Piece<'_>, field: &Field) -> Result<(), Problem> {
    let Piece { at, text } = element;
    let Some((first, last)) = text.split_once('-') else { return Ok(()) };
    let last_at = at.saturating_add(first.len()).saturating_add(1);
    let first = value(Piece { at, text: first }, field)?;
    let last_piece = Piece { at: last_at, text: last };
    let last = match value(last_piece, field)? {
        // A week that ends with Sunday.
        0 if field.kind == Kind::DayOfWeek && first > 0 => 7,
        last => last,
    };
    if last < first {
        return Err((last_at, "a range may not go backwards".to_owned()));
    }
    out.push_str(&format!("{first}-{last}"));
    Ok(())
}

/// A number within the field, or one of its names.
fn value(piece: Piece<'_>, field: &Field) -> Result<u16, Problem> {
    let named = field.names.iter().position(|name| name.eq_ignore_ascii_case(piece.text));
    if let Some(index) = named.and_then(|index| u16::try_from(index).ok()) {
        return Ok(field.first_name.saturating_add(index));
    }
    match digits(piece.text) {
        Some(number) if field.min <= number && number <= field.max => Ok(number),
        _ => {
            let names = match field.kind {
                _ if field.names.is_empty() => "",
                Kind::DayOfWeek => " or a name such as MON",
                Kind::Plain | Kind::DayOfMonth => " or a name such as JAN",
            };
            let Field { name, min, max, .. } = field;
            Err((piece.at, format!("the {name} must be a number from {min} to {max}{names}")))
        }
    }
}

/// A number of digits alone, which `u16::parse` is not: it takes a sign.
fn digits(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn split(text: &str, separator: impl Fn(char) -> bool, from: usize) -> Vec<Piece<'_>> {
    let mut at = from;
    let mut pieces = Vec::new();
    for part in text.split(separator) {
        pieces.push(Piece { at, text: part });
        at = at.saturating_add(part.len()).saturating_add(1);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = read(text).map(|fields| fields.numeric);
        assert_eq!(found.unwrap_or_else(|error| error.to_string()), expected, "{text:?}");
    }

    #[test]
    fn well_formed_expressions_are_written_in_numbers() {
        check("*/15 0-23/2 1,15 jan-Mar mon-FRI", "*/15 0-23/2 1,15 1-3 1-5");
        check("  5\t4 * * SAT-SUN ", "5 4 * * 6-7");
        check("0 0 L * ?", "0 0 L * *");
        check("0 0 lw,15W * 5L,tue#2", "0 0 LW,15W * 5L,2#2");
        check("@Daily", "0 0 * * *");
        check("05 00 * * 7", "5 0 * * 7");
    }

    #[test]
    fn malformed_expressions_are_refused_with_the_column() {
        for (text, expected) in [
            ("", "1: the field \"minute\" is missing; there must be five"),
            ("* * * *", "8: the field \"day of the week\" is missing; there must be five"),
            ("* * * * * *", "11: there is a sixth field; there must be five"),
            ("60 * * * *", "1: the minute must be a number from 0 to 59"),
            ("0 24 * * *", "3: the hour must be a number from 0 to 23"),
            ("0 0 32 * *", "5: the day of the month must be a number from 1 to 31"),
            ("0 0 1,2,x * *", "9: the day of the month must be a number from 1 to 31"),
            ("0 0 1 13 *", "7: the month must be a number from 1 to 12 or a name such as JAN"),
            (
                "0 0 1 * MONDAY",
                "9: the day of the week must be a number from 0 to 7 or a name such as MON",
            ),
            ("0 9-5 * * *", "5: a range may not go backwards"),
            ("0 */0 * * *", "5: a step must be a number from 1 to 23"),
            ("*/x * * * *", "3: a step must be a number from 1 to 59"),
            ("5/15 * * * *", "1: a step needs * or a range before it"),
            ("1,,2 * * * *", "3: a value of the minute is missing"),
            ("*,5 * * * *", "1: * already means every minute"),
            ("? * * * *", "1: the minute must be a number from 0 to 59"),
            ("+5 * * * *", "1: the minute must be a number from 0 to 59"),
            ("0 0 * * 1#6", "11: after # must stand a number from 1 to 5"),
            ("ü 0 * * *", "1: the minute must be a number from 0 to 59"),
            ("0 ü,é * * *", "3: the hour must be a number from 0 to 23"),
            ("0 1,é * * *", "5: the hour must be a number from 0 to 23"),
            (
                "@reboot",
                "1: must be one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, \
                 @annually",
            ),
            ("@daily 5", "8: nothing may follow @daily"),
        ] {
            check(text, &format!("is malformed at column {expected}"));
        }
    }
}
