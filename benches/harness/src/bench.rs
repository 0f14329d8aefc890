//! The runner: alternating runs of the contenders of a row, their samples, and the ratios that
//! are held against the targets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::servers::{Contender, Places, Server, Setup};
use crate::stats::{median, spread};
use crate::stop;

/// What all rows need to know.
pub(crate) struct Bench {
    pub(crate) places: Places,
    pub(crate) runs: usize,
    pub(crate) is_quick: bool,
}

impl Bench {
    pub(crate) fn start(&self, contender: Contender, setup: &Setup) -> Result<Server> {
        self.places.start(contender, setup)
    }

    /// A measuring time, shorter in the quick benchmark.
    pub(crate) fn seconds(&self, full: f64) -> Duration {
        Duration::from_secs_f64(if self.is_quick { full / 4.0 } else { full })
    }

    /// How long a server is used before it is measured. Node compiles what is hot, which takes it
    /// seconds on a busy machine; in the quick benchmark its numbers are therefore too high.
    pub(crate) fn warm_up(&self, contender: Contender) -> Duration {
        match contender {
            Contender::Node | Contender::Reference => self.seconds(4.0),
            _ => self.seconds(0.5),
        }
    }
}

/// What one run of one contender gave: numbers by name, the unit in the name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(Vec<(&'static str, f64)>);

impl Sample {
    pub(crate) fn put(mut self, name: &'static str, value: f64) -> Self {
        self.0.push((name, value));
        self
    }

    /// Units of work per second.
    pub(crate) fn rate(self, units: u64, time: Duration) -> Self {
        self.put("per s", units as f64 / time.as_secs_f64())
    }

    /// The server's CPU time per unit of work.
    pub(crate) fn per_unit(self, cpu: Duration, units: u64) -> Self {
        self.put("CPU µs", cpu.as_secs_f64() * 1e6 / units.max(1) as f64)
    }
}

/// The values of one contender's runs under one name.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) contender: Contender,
    pub(crate) name: &'static str,
    pub(crate) values: Vec<f64>,
}

/// What was held against a target.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) name: String,
    /// `≤` or `≥`, and the number.
    pub(crate) is_upper: bool,
    pub(crate) target: f64,
    pub(crate) unit: &'static str,
    /// One for each run; none if a contender is absent.
    pub(crate) values: Vec<f64>,
}

impl Check {
    /// `None` if it could not be measured.
    pub(crate) fn passes(&self) -> Option<bool> {
        let value = median(&self.values);
        let passes = if self.is_upper { value <= self.target } else { value >= self.target };
        (!self.values.is_empty()).then_some(passes)
    }
}

/// Measurements that belong together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) title: String,
    pub(crate) series: Vec<Series>,
    pub(crate) checks: Vec<Check>,
    pub(crate) notes: Vec<String>,
}

/// One row of the table while it is measured.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) number: u32,
    pub(crate) title: &'static str,
    pub(crate) parts: Vec<Part>,
    /// How often each contender is measured at most, for rows that take long.
    pub(crate) runs_max: usize,
    /// Why it was not measured to its end.
    pub(crate) failure: Option<String>,
}

impl Row {
    pub(crate) fn new(number: u32, title: &'static str) -> Self {
        Self { number, title, parts: Vec::new(), runs_max: usize::MAX, failure: None }
    }

    /// Begins a further part; the first needs no title.
    pub(crate) fn part(&mut self, title: String) {
        self.parts.push(Part { title, ..Part::default() });
    }

    fn current(&mut self) -> &mut Part {
        if self.parts.is_empty() {
            self.part(String::new());
        }
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }

    /// Says something that the numbers do not.
    pub(crate) fn note(&mut self, note: String) {
        self.current().notes.push(note);
    }

    /// Measures all contenders in turn, `bench.runs` times.
    pub(crate) fn alternate(
        &mut self,
        bench: &Bench,
        contenders: &[Contender],
        mut measure: impl FnMut(Contender) -> Result<Sample>,
    ) -> Result<()> {
        let mut samples: BTreeMap<(usize, &'static str), Vec<f64>> = BTreeMap::new();
        let mut order: Vec<(usize, &'static str)> = Vec::new();
        for &contender in contenders {
            if let Some(absence) = bench.places.absence(contender) {
                self.note(absence);
            }
        }
        for run in 0..bench.runs.min(self.runs_max) {
            for (place, &contender) in contenders.iter().enumerate() {
                stop::check()?;
                if bench.places.absence(contender).is_some() {
                    continue;
                }
                let start = Instant::now();
                let sample = match measure(contender).with_context(|| contender.name()) {
                    Ok(sample) => sample,
                    Err(error) if contender.is_peer() && !stop::is_asked() => {
                        self.note(format!("{error:#}").replace('\n', " "));
                        eprintln!("  row {}: left out from now on: {error:#}", self.number);
                        bench.places.leave_out(contender, "it failed before".to_owned());
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let shown: Vec<_> =
                    sample.0.iter().map(|(name, value)| format!("{value:.2} {name}")).collect();
                eprintln!(
                    "  row {} run {}: {:12} {} ({:.1} s)",
                    self.number,
                    run + 1,
                    contender.name(),
                    shown.join(", "),
                    start.elapsed().as_secs_f64()
                );
                for (name, value) in sample.0 {
                    let values = samples.entry((place, name)).or_default();
                    if values.is_empty() {
                        order.push((place, name));
                    }
                    values.push(value);
                }
            }
        }
        for key in order {
            let values = samples.remove(&key).unwrap_or_default();
            self.current().series.push(Series {
                contender: contenders[key.0],
                name: key.1,
                values,
            });
        }
        Ok(())
    }

    /// What the runs of the current part gave under one name.
    pub(crate) fn values(&mut self, (contender, name): (Contender, &str)) -> Vec<f64> {
        let series = &self.current().series;
        let found = series.iter().find(|s| s.contender == contender && s.name == name);
        found.map(|series| series.values.clone()).unwrap_or_default()
    }

    fn ratio(&mut self, over: (Contender, &str), under: (Contender, &str)) -> Vec<f64> {
        let (over, under) = (self.values(over), self.values(under));
        over.iter().zip(&under).map(|(over, under)| over / under).collect()
    }

    /// The ratio of two series, run by run, is to be at most this.
    pub(crate) fn at_most(
        &mut self,
        name: &str,
        target: f64,
        over: (Contender, &str),
        under: (Contender, &str),
    ) {
        let values = self.ratio(over, under);
        self.check(name, true, target, "", values);
    }

    /// The ratio of two series, run by run, is to be at least this.
    pub(crate) fn at_least(
        &mut self,
        name: &str,
        target: f64,
        over: (Contender, &str),
        under: (Contender, &str),
    ) {
        let values = self.ratio(over, under);
        self.check(name, false, target, "", values);
    }

    /// Any other numbers that are held against a target.
    pub(crate) fn check(
        &mut self,
        name: &str,
        is_upper: bool,
        target: f64,
        unit: &'static str,
        values: Vec<f64>,
    ) {
        let check = Check { name: name.to_owned(), is_upper, target, unit, values };
        let (min, max) = spread(&check.values);
        eprintln!(
            "  row {}: {} = {:.2} ({min:.2}..{max:.2}) {} {target}: {}",
            self.number,
            check.name,
            median(&check.values),
            if is_upper { "≤" } else { "≥" },
            verdict(&check)
        );
        self.current().checks.push(check);
    }
}

/// One word for a check.
pub(crate) fn verdict(check: &Check) -> &'static str {
    match check.passes() {
        Some(true) => "PASS",
        Some(false) => "MISS",
        None => "not measured",
    }
}
