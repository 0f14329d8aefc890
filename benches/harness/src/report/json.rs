//! The shape of `report.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bench::{Check, Part, Row, Series, verdict};
use crate::stats::{median, spread};

/// A whole run.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    /// What it ran on and of what versions.
    pub(crate) machine: BTreeMap<String, String>,
    pub(crate) is_quick: bool,
    pub(crate) runs: usize,
    pub(crate) rows: Vec<RowReport>,
}

/// One row of the table of targets.
#[derive(Serialize, Deserialize)]
pub(crate) struct RowReport {
    pub(crate) number: u32,
    pub(crate) title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
    pub(crate) parts: Vec<PartReport>,
}

/// Measurements that belong together.
#[derive(Serialize, Deserialize)]
pub(crate) struct PartReport {
    pub(crate) title: String,
    pub(crate) series: Vec<SeriesReport>,
    pub(crate) checks: Vec<CheckReport>,
    pub(crate) notes: Vec<String>,
}

/// What one contender's runs gave under one name.
#[derive(Serialize, Deserialize)]
pub(crate) struct SeriesReport {
    pub(crate) contender: String,
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) numbers: Numbers,
}

/// A number that was held against its target.
#[derive(Serialize, Deserialize)]
pub(crate) struct CheckReport {
    pub(crate) name: String,
    pub(crate) relation: String,
    pub(crate) target: f64,
    pub(crate) unit: String,
    pub(crate) verdict: String,
    #[serde(flatten)]
    pub(crate) numbers: Numbers,
}

/// Runs, with their middle and their spread.
#[derive(Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) median: Option<f64>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) runs: Vec<f64>,
}

pub(super) fn row(row: &Row) -> RowReport {
    RowReport {
        number: row.number,
        title: row.title.to_owned(),
        failure: row.failure.clone(),
        parts: row.parts.iter().map(part).collect(),
    }
}

fn part(part: &Part) -> PartReport {
    PartReport {
        title: part.title.clone(),
        series: part.series.iter().map(series).collect(),
        checks: part.checks.iter().map(check).collect(),
        notes: part.notes.clone(),
    }
}

fn series(series: &Series) -> SeriesReport {
    SeriesReport {
        contender: series.contender.name().to_owned(),
        name: series.name.to_owned(),
        numbers: numbers(&series.values),
    }
}

fn check(check: &Check) -> CheckReport {
    CheckReport {
        name: check.name.clone(),
        relation: if check.is_upper { "≤" } else { "≥" }.to_owned(),
        target: check.target,
        unit: check.unit.to_owned(),
        verdict: verdict(check).to_owned(),
        numbers: numbers(&check.values),
    }
}

fn numbers(values: &[f64]) -> Numbers {
    let (min, max) = spread(values);
    let of_some = |value: f64| (!values.is_empty()).then_some(value);
    Numbers {
        median: of_some(median(values)),
        min: of_some(min),
        max: of_some(max),
        runs: values.to_vec(),
    }
}
