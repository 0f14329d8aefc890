//! One bar chart for each row: the server's CPU time per unit of work, or what else the row has.

use std::fmt::Write;

use super::json::{RowReport, SeriesReport};

/// What is plotted, the first of these that a row has.
const NAMES: [&str; 5] = ["CPU µs", "KiB per connection", "start ms", "p99 µs", "per s"];
const BAR: f64 = 22.0;
const LABEL: f64 = 250.0;
const WIDTH: f64 = 420.0;

/// The chart as SVG; `None` if the row has nothing to plot.
pub(super) fn row(row: &RowReport) -> Option<String> {
    let has = |name: &&str| row.parts.iter().flat_map(|p| &p.series).any(|s| s.name == **name);
    let name = NAMES.iter().find(|name| has(name))?;
    let bars: Vec<(String, &SeriesReport)> = row
        .parts
        .iter()
        .flat_map(|part| part.series.iter().map(move |series| (part, series)))
        .filter(|(_, series)| series.name == **name)
        .map(|(part, series)| (format!("{} {}", series.contender, part.title), series))
        .collect();
    let longest = bars.iter().filter_map(|(_, s)| s.numbers.max).fold(0.0, f64::max);
    let scale = if longest > 0.0 { WIDTH / longest } else { 0.0 };
    let height = BAR * (bars.len() as f64 + 2.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"16\" font-weight=\"bold\">{}. {}: {name}</text>\n",
        LABEL + WIDTH + 80.0,
        row.number,
        row.title
    );
    for (index, (label, series)) in bars.iter().enumerate() {
        let numbers = &series.numbers;
        let (Some(median), Some(min), Some(max)) = (numbers.median, numbers.min, numbers.max)
        else {
            continue;
        };
        let y = BAR * (index as f64 + 1.2);
        let middle = y + BAR * 0.4;
        let fill = if label.starts_with("gateway") { "#1f6feb" } else { "#8c959f" };
        // Writing to a string cannot fail.
        let _written = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{LABEL}\" y=\"{y}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{fill}\"/>\
             <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"black\"/>\
             <text x=\"{:.1}\" y=\"{}\">{median:.2}</text>",
            LABEL - 6.0,
            y + 14.0,
            median * scale,
            BAR * 0.8,
            LABEL + min * scale,
            LABEL + max * scale,
            LABEL + max * scale + 6.0,
            y + 14.0
        );
    }
    svg.push_str("</svg>\n");
    Some(svg)
}
