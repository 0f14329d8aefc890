//! `kill -9` at random moments under load: nothing that was answered is lost, nothing comes
//! twice, and no cursor is ever used for two entries.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::Message;

use crate::kit::{Client, Device, Gateway, Heard, PATIENCE, Rng, entries, number_from_env};

const WRITERS: usize = 8;

/// Requests that one writer has on the wire: some are always unanswered when the end comes.
const IN_PROGRESS: usize = 8;

/// What is known of all rounds so far.
#[derive(Default)]
struct Ledger {
    /// Messages whose report was answered.
    answered: HashSet<String>,
    /// Every cursor that was ever seen, live or in the journal, and its entry's message.
    messages_by_cursor: HashMap<u64, String>,
    /// Messages found in the journal so far, up to `read_to`.
    journal: HashSet<String>,
    read_to: u64,
}

impl Ledger {
    fn note(&mut self, entry: &Value) {
        let cursor = cursor_of(entry);
        let message = entry["message"].as_str().unwrap();
        let known = self.messages_by_cursor.entry(cursor).or_insert_with(|| message.to_owned());
        assert_eq!(known, message, "cursor {cursor} was used twice");
    }

    /// Reads what the journal holds after the last look, and checks it against the answers.
    fn read_journal(&mut self, operator: &mut Client) {
        loop {
            let params = json!({ "cursor": self.read_to, "limit": 5_000, "maxBytes": 1_000_000 });
            let page = operator.ask("logs.tail", params);
            assert_eq!(page["reset"], false, "the journal was trimmed: {}", page["cursor"]);
            for entry in page["entries"].as_array().unwrap() {
                self.note(entry);
                let cursor = cursor_of(entry);
                assert!(cursor > self.read_to, "{cursor} after {}", self.read_to);
                self.read_to = cursor;
                let message = entry["message"].as_str().unwrap().to_owned();
                let duplicate = !self.journal.insert(message);
                assert!(!duplicate, "twice in the journal: {entry}");
            }
            if page["truncated"] == false {
                break;
            }
        }
        let lost: Vec<_> = self.answered.difference(&self.journal).take(5).collect();
        assert!(lost.is_empty(), "answered but not in the journal: {lost:?}");
    }
}

fn cursor_of(entry: &Value) -> u64 {
    let cursor = &entry["cursor"];
    cursor.as_u64().unwrap_or_else(|| panic!("no cursor: {entry}"))
}

/// Reports until the connection ends; returns the messages whose report was answered.
fn write_until_the_end(mut agent: Client, name: &str, round: u64) -> Vec<String> {
    let mut waiting = HashMap::new();
    let mut answered = Vec::new();
    let mut next = 0_u64;
    let deadline = Instant::now() + PATIENCE;
    loop {
        while waiting.len() < IN_PROGRESS {
            let messages = [format!("{round}.{name}.{next}a"), format!("{round}.{name}.{next}b")];
            let id = format!("w-{next}");
            let params = entries(messages.iter().map(String::as_str));
            let frame =
                json!({ "type": "req", "id": id, "method": "logs.append", "params": params });
            next += 1;
            if agent.try_send(Message::text(frame.to_string())).is_err() {
                break;
            }
            waiting.insert(id, messages);
        }
        match agent.hear(deadline).expect("the gateway answers or ends") {
            Heard::Frame(frame) if frame["type"] == "res" => {
                assert_eq!(frame["ok"], true, "{frame}");
                let messages = waiting.remove(frame["id"].as_str().unwrap()).unwrap();
                answered.extend(messages);
            }
            Heard::Frame(_) | Heard::Ping => {}
            Heard::Closed(..) | Heard::Gone(_) => return answered,
        }
    }
}

/// Listens until the connection ends; returns the log entries heard.
fn listen_until_the_end(mut operator: Client) -> Vec<Value> {
    let heard = operator.listen_for(PATIENCE);
    let frames = heard.into_iter().filter_map(|heard| match heard {
        Heard::Frame(frame) if frame["event"] == "log" => Some(frame["payload"].clone()),
        _ => None,
    });
    frames.collect()
}

#[test]
fn kill_at_any_moment_loses_nothing_that_was_answered() {
    let rounds = number_from_env("OPENCLAW_CRASH_ROUNDS", 50);
    let mut rng = Rng::announced();
    let names: Vec<_> = (0..WRITERS).map(|n| format!("writer{n}")).collect();
    let devices: Vec<_> = (0..WRITERS).map(|_| Device::new()).collect();
    let config = "[gateway.limits]\njournalEntries = 2000000\njournalBytes = 1000000000";
    let mut gateway = Gateway::setup().config(config).start();
    let mut ledger = Ledger::default();
    for round in 0..rounds {
        let operator = gateway.operator();
        let agents: Vec<_> =
            names.iter().zip(&devices).map(|(name, device)| gateway.agent(name, device)).collect();
        let life = Duration::from_millis(rng.between(1, 150));
        std::thread::scope(|scope| {
            let listener = scope.spawn(move || listen_until_the_end(operator));
            let writers: Vec<_> = agents
                .into_iter()
                .zip(&names)
                .map(|(agent, name)| scope.spawn(move || write_until_the_end(agent, name, round)))
                .collect();
            std::thread::sleep(life);
            gateway.kill_9();
            for writer in writers {
                ledger.answered.extend(writer.join().unwrap());
            }
            for entry in listener.join().unwrap() {
                ledger.note(&entry);
            }
        });
        gateway.start_again();
        ledger.read_journal(&mut gateway.operator());
    }
    let answered = ledger.answered.len();
    eprintln!("{rounds} rounds, {answered} answered, {} kept", ledger.journal.len());
    assert!(answered > 0, "nothing was ever answered: the test tests nothing");
    // Once more from the start: what an earlier round showed must still be there.
    let mut whole = Ledger { answered: ledger.answered, ..Ledger::default() };
    whole.read_journal(&mut gateway.operator());
    assert_eq!(whole.journal, ledger.journal);
}
