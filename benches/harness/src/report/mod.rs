//! What is left of a run: `report.json` for programs, `report.md` for people, plots as SVG.
//!
//! The JSON holds everything; the other two are made of it, also later: `--render FILE`.

mod json;
mod machine;
mod markdown;
mod plot;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::bench::{Bench, Row};

/// Writes all of it into a directory.
pub(crate) fn write(out: &Path, bench: &Bench, rows: &[Row]) -> Result<()> {
    let report = json::Report {
        machine: machine::describe(&bench.places),
        is_quick: bench.is_quick,
        runs: bench.runs,
        rows: rows.iter().map(json::row).collect(),
    };
    let text = serde_json::to_string_pretty(&report)?;
    fs::write(out.join("report.json"), text + "\n")?;
    for row in &report.rows {
        if let Some(svg) = plot::row(row) {
            fs::write(out.join(format!("row-{:02}.svg", row.number)), svg)?;
        }
    }
    fs::write(out.join("report.md"), markdown::whole(&report))?;
    Ok(())
}

/// The part of a report that `docs/performance.md` holds, as Markdown.
pub(crate) fn render(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let report: json::Report = serde_json::from_str(&text)?;
    Ok(markdown::summary(&report))
}
