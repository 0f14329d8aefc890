//! `report.md`, and the summary of it that `docs/performance.md` holds.

use std::fmt::Write;

use super::json::{Numbers, Report, RowReport};
use super::plot;

/// The whole report.
pub(super) fn whole(report: &Report) -> String {
    let mut out = String::from("# Benchmark\n\n");
    out.push_str("How to read this: docs/performance.md.\n\n");
    out.push_str(&summary(report));
    for row in &report.rows {
        details(&mut out, row);
    }
    out
}

/// The machine, and each number that has a target.
pub(super) fn summary(report: &Report) -> String {
    let mut out = String::new();
    for (name, value) in &report.machine {
        line(&mut out, format_args!("- {name}: {value}"));
    }
    let kind = if report.is_quick { "quick, coarse" } else { "full" };
    line(&mut out, format_args!("- benchmark: {kind}, {} alternating runs\n", report.runs));
    out.push_str(
        "| # | work | number | median | spread | target | |\n|---|---|---|---|---|---|---|\n",
    );
    for row in &report.rows {
        for part in &row.parts {
            let work = if part.title.is_empty() {
                row.title.clone()
            } else {
                format!("{}: {}", row.title, part.title)
            };
            for check in &part.checks {
                let space = if check.unit.is_empty() { "" } else { " " };
                let unit = format!("{space}{}", check.unit);
                line(
                    &mut out,
                    format_args!(
                        "| {} | {work} | {} | {}{} | {} | {} {} | {} |",
                        row.number,
                        check.name,
                        check.numbers.median.map_or_else(|| "–".to_owned(), shown),
                        unit,
                        range(&check.numbers),
                        check.relation,
                        shown(check.target),
                        check.verdict
                    ),
                );
            }
        }
        if let Some(failure) = &row.failure {
            line(
                &mut out,
                format_args!(
                    "| {} | {} | failed: {} | | | | |",
                    row.number,
                    row.title,
                    failure.replace(['\n', '|'], " ")
                ),
            );
        }
    }
    out
}

fn details(out: &mut String, row: &RowReport) {
    line(out, format_args!("\n## {}. {}\n", row.number, row.title));
    if plot::row(row).is_some() {
        line(out, format_args!("![row {}](row-{:02}.svg)\n", row.number, row.number));
    }
    for part in &row.parts {
        if !part.title.is_empty() {
            line(out, format_args!("### {}\n", part.title));
        }
        out.push_str("| who | what | median | spread |\n|---|---|---|---|\n");
        for series in &part.series {
            line(
                out,
                format_args!(
                    "| {} | {} | {} | {} |",
                    series.contender,
                    series.name,
                    series.numbers.median.map_or_else(|| "–".to_owned(), shown),
                    range(&series.numbers)
                ),
            );
        }
        out.push('\n');
        for note in &part.notes {
            line(out, format_args!("{note}\n"));
        }
    }
}

fn range(numbers: &Numbers) -> String {
    match (numbers.min, numbers.max) {
        (Some(min), Some(max)) => format!("{}..{}", shown(min), shown(max)),
        _ => String::new(),
    }
}

/// Some three digits are what such numbers are worth.
fn shown(value: f64) -> String {
    match value.abs() {
        v if v >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let mut grouped = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _written = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn numbers_have_three_digits_and_thousands_are_grouped() {
        for (value, expected) in [
            (0.0, "0.00"),
            (0.00256, "0.0026"),
            (0.123, "0.12"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1_234.0, "1,234"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(shown(value), expected);
        }
    }
}
