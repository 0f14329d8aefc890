//! The schedule of the real binary: `kill -9` at any moment, also while jobs run, and each occurrence
//! has run once or is on record with the reason why it did not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::{Client, Device, Gateway, Heard, PATIENCE, Rng, eventually, number_from_env};

const CONFIG: &str = "[gateway.spawn]\nallowedCommands = [\"sh\"]\nallowedDirs = [\"/\"]\nleftoverGraceSeconds = 0\n";

/// The shortest interval of a job.
const EVERY_MS: u64 = 1_000;

/// Jobs of one kind; each comes at another moment of the second.
const JOBS: u64 = 4;

fn add(operator: &mut Client, name: &str, anchor_ms: u64, missed: &str, payload: Value) -> Job {
    let schedule = json!({ "kind": "every", "everyMs": EVERY_MS, "anchorMs": anchor_ms });
    let ask = json!({ "name": name, "schedule": schedule, "missed": missed, "payload": payload });
    let job = operator.ask("cron.add", ask);
    let first_ms = job["state"]["nextRunAtMs"].as_u64().unwrap();
    Job { id: job["id"].as_str().unwrap().to_owned(), name: name.to_owned(), first_ms }
}

/// A job, and when it comes first.
struct Job {
    id: String,
    name: String,
    first_ms: u64,
}

impl Job {
    /// The history, oldest first.
    fn runs(&self, operator: &mut Client) -> Vec<Value> {
        let mut runs = operator.ask("cron.runs", json!({ "id": self.id }))["runs"].clone();
        let runs = runs.as_array_mut().unwrap();
        runs.reverse();
        runs.clone()
    }

    /// Each occurrence so far stands in the history once. Returns how the runs ended.
    fn check_history(&self, operator: &mut Client) -> BTreeMap<String, usize> {
        let runs = self.runs(operator);
        let mut told = BTreeSet::new();
        let mut ends = BTreeMap::new();
        for run in &runs {
            let first = run["occurrenceAtMs"].as_u64().unwrap();
            let last = run["lastOccurrenceAtMs"].as_u64().unwrap_or(first);
            assert_eq!(run["count"], (last - first) / EVERY_MS + 1, "{run}");
            for occurrence in (first..=last).step_by(usize::try_from(EVERY_MS).unwrap()) {
                assert!(told.insert(occurrence), "{occurrence} twice: {runs:#?}");
            }
            *ends.entry(run["status"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        // The first round may have been too short for it.
        let Some(last) = told.last() else { return ends };
        let count = u64::try_from(told.len()).unwrap();
        let all = (last - self.first_ms) / EVERY_MS + 1;
        assert_eq!(count, all, "an occurrence of {} is missing: {runs:#?}", self.name);
        ends
    }
}

/// An agent that answers until the gateway is gone; the runs that it was given.
fn answer_until_the_end(mut agent: Client) -> Vec<String> {
    let mut given = Vec::new();
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let event = match agent.hear(deadline).expect("the gateway speaks or ends") {
            Heard::Frame(frame) if frame["event"] == "agent.request" => frame,
            Heard::Frame(_) | Heard::Ping => continue,
            Heard::Closed(..) | Heard::Gone(_) => return given,
        };
        let run = event["payload"]["runId"].as_str().unwrap().to_owned();
        let update = json!({ "runId": run, "state": "final", "text": "done" });
        let frame = json!({ "type": "req", "id": run, "method": "run.update", "params": update });
        let _gone = agent.try_send(tungstenite::Message::text(frame.to_string()));
        given.push(run);
    }
}

/// How many lines a job's programs have written.
fn lines(file: &std::path::Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

#[test]
fn kill_at_any_moment_runs_each_occurrence_once_or_says_why_not() {
    // The history keeps 50 entries of each job, and here it is looked at as a whole.
    let rounds = number_from_env("OPENCLAW_CRASH_ROUNDS", 10).min(15);
    let mut rng = Rng::announced();
    let device = Device::new();
    let mut gateway = Gateway::setup().config(CONFIG).start();
    let mut operator = gateway.operator();
    let begin_ms = u64::try_from(crate::kit::unix_ms()).unwrap() + EVERY_MS;
    let files: Vec<_> = (0..JOBS).map(|n| gateway.dir().join(format!("lines-{n}"))).collect();
    let (mut programs, mut others) = (Vec::new(), Vec::new());
    for number in 0..JOBS {
        let at_ms = begin_ms + number * EVERY_MS / JOBS;
        let missed = if number % 2 == 0 { "run-once" } else { "skip" };
        // It takes so long between its line and its end that one of them runs at any moment.
        let script = format!("echo >> {:?}; exec sleep 0.4", files[number as usize]);
        let program = json!({ "kind": "spawn", "command": "sh", "args": ["-c", script] });
        programs.push(add(&mut operator, &format!("program {number}"), at_ms, missed, program));
        let turn = json!({ "kind": "agentTurn", "agentId": "agent1", "message": "go on" });
        others.push(add(&mut operator, &format!("turn {number}"), at_ms, missed, turn));
    }
    let note = json!({ "kind": "systemEvent", "text": "noted" });
    others.push(add(&mut operator, "note", begin_ms, "run-once", note));
    drop(operator);
    let mut given = BTreeSet::new();
    for _ in 0..rounds {
        let agent = gateway.agent("agent1", &device);
        let life = Duration::from_millis(rng.between(100, 1_800));
        let heard = std::thread::scope(|scope| {
            let answering = scope.spawn(move || answer_until_the_end(agent));
            std::thread::sleep(life);
            gateway.kill_9();
            answering.join().unwrap()
        });
        for run in heard {
            assert!(given.insert(run.clone()), "{run} was given twice");
        }
        gateway.start_again();
        let mut operator = gateway.operator();
        for job in programs.iter().chain(&others) {
            job.check_history(&mut operator);
        }
    }
    let mut operator = gateway.operator();
    let mut cut_short = 0;
    for (job, file) in programs.iter().zip(&files) {
        let disable = json!({ "id": job.id, "enabled": false });
        operator.ask("cron.update", disable);
        let ends = eventually("the last program ends", PATIENCE, || {
            let ends = job.check_history(&mut operator);
            (!ends.contains_key("running")).then_some(ends)
        });
        let of = |status: &str| ends.get(status).copied().unwrap_or_default();
        // One that was cut short may have written its line or not; any other wrote one.
        let lines = lines(file);
        assert!(of("ok") <= lines && lines <= of("ok") + of("error"), "{lines} lines: {ends:?}");
        cut_short += of("error");
    }
    for job in &others {
        for run in job.runs(&mut operator).iter().filter(|run| run["status"] == "ok") {
            let was_given = given.contains(run["runId"].as_str().unwrap());
            assert!(was_given || job.name == "note", "{run}");
        }
    }
    let noted = operator.ask("logs.tail", json!({ "cursor": 0, "limit": 5_000, "source": "cron" }));
    let noted = noted["entries"].as_array().unwrap().len();
    let ends = others.last().unwrap().check_history(&mut operator);
    assert!(noted.abs_diff(ends["ok"]) <= 1, "{noted} entries, and {ends:?}");
    eprintln!("{rounds} rounds, {} turns, {cut_short} programs cut short", given.len());
    assert!(!given.is_empty() && cut_short > 0, "nothing ran when the gateway was killed");
}
