//! When jobs come, as the gateway computes it: what `make cron-oracle` holds against another
//! implementation.
//!
//! Reads lines of JSON, `["EXPRESSION","ZONE",AFTER,UNTIL]` with Unix milliseconds, and answers
//! each with two lists: the occurrences after the first moment and up to the second, found from
//! the beginning on, and the same found from the end back.

use std::error::Error;
use std::io::{self, BufRead, Write};

use openclaw_gateway::protocol::schedule::{Expression, Schedule, Zone};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (expr, zone, after, until): (String, String, u64, u64) = serde_json::from_str(&line)?;
        let expression = Expression::parse(&expr).map_err(|error| format!("{expr}: {error}"))?;
        let zone = Some(Zone::find(&zone)?);
        let schedule = Schedule::Cron { expression: Box::new(expression), zone };
        let found = [forwards(&schedule, after, until), backwards(&schedule, after, until)];
        serde_json::to_writer(&mut out, &found)?;
        writeln!(out)?;
    }
    Ok(())
}

fn forwards(schedule: &Schedule, after: u64, until: u64) -> Vec<u64> {
    let next = |at: &u64| schedule.next_after(*at).filter(|next| *next <= until);
    std::iter::successors(next(&after), next).collect()
}

fn backwards(schedule: &Schedule, after: u64, until: u64) -> Vec<u64> {
    let latest = |until: u64| schedule.latest_until(until).filter(|latest| *latest > after);
    let before = |at: &u64| latest(at.checked_sub(1)?);
    let mut found: Vec<_> = std::iter::successors(latest(until), before).collect();
    found.reverse();
    found
}
