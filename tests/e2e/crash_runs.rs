//! `kill -9` at random moments while operators and an agent talk: no run is lost, given to its agent
//! twice or left open, and no end or decision that was heard is another one afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::Message;

use crate::kit::{Client, Device, Gateway, Heard, PATIENCE, Rng, number_from_env};

/// Messages that the operator has on the way: some are always unanswered when the end comes.
const IN_PROGRESS: usize = 8;

/// What is known of all rounds so far.
#[derive(Default)]
struct Ledger {
    /// Messages that were sent: whether each was accepted.
    sent: BTreeMap<String, bool>,
    /// How runs ended, as far as that was heard: the status and the text.
    ended: BTreeMap<String, (Value, Value)>,
    /// The runs that the agent was given.
    given: BTreeSet<String>,
    /// What was decided about requests for approval, as far as somebody heard it.
    decided: BTreeMap<String, Value>,
    /// How many of these were heard in answers, not after a restart.
    heard: usize,
}

impl Ledger {
    fn note_end(&mut self, run: &str, waited: &Value) {
        let end = (waited["status"].clone(), waited["text"].clone());
        assert!(end.0 == "ok" || end.0 == "error", "still open: {run} {waited}");
        let known = self.ended.entry(run.to_owned()).or_insert_with(|| end.clone());
        assert_eq!(*known, end, "{run} ended twice");
    }

    fn note_decision(&mut self, approval: &str, decision: &Value) {
        let known = self.decided.entry(approval.to_owned()).or_insert_with(|| decision.clone());
        assert_eq!(known, decision, "{approval} was decided twice");
    }
}

/// A peer that asks much at a time, and what it asked.
struct Asker {
    client: Client,
    asked: BTreeMap<String, (&'static str, String)>,
    next: u64,
}

impl Asker {
    fn new(client: Client) -> Self {
        Self { client, asked: BTreeMap::new(), next: 0 }
    }

    /// Asks; nothing happens when the gateway is gone, which the next `hear` will tell.
    fn ask(&mut self, method: &'static str, about: &str, params: Value) {
        let id = format!("a-{}", self.next);
        self.next += 1;
        let frame = json!({ "type": "req", "id": id, "method": method, "params": params });
        if self.client.try_send(Message::text(frame.to_string())).is_ok() {
            self.asked.insert(id, (method, about.to_owned()));
        }
    }

    /// The next frame, with what it answers; `None` when the gateway is gone.
    fn hear(&mut self, deadline: Instant) -> Option<(Value, Option<(&'static str, String)>)> {
        loop {
            match self.client.hear(deadline).expect("the gateway speaks or ends") {
                Heard::Frame(frame) => {
                    let id = frame["id"].as_str().unwrap_or_default();
                    let asked = self.asked.remove(id);
                    return Some((frame, asked));
                }
                Heard::Ping => {}
                Heard::Closed(..) | Heard::Gone(_) => return None,
            }
        }
    }
}

fn send(key: &str) -> Value {
    json!({ "sessionKey": "agent1:chat", "message": key, "idempotencyKey": key })
}

fn approval(id: &str) -> Value {
    json!({ "id": id, "command": format!("make {id}") })
}

/// Sends messages and asks for their ends, decides about requests, until the gateway is gone.
/// Messages that no answer came to in the rounds before are repeated first.
fn operate_until_the_end(operator: Client, round: u64, mut again: Vec<String>) -> Ledger {
    let mut ledger = Ledger::default();
    let mut operator = Asker::new(operator);
    let deadline = Instant::now() + PATIENCE;
    let mut number = 0_u64;
    loop {
        let talking =
            operator.asked.values().filter(|(method, _)| *method != "exec.approval.resolve");
        for _ in talking.count()..IN_PROGRESS {
            let key = again.pop().unwrap_or_else(|| {
                number += 1;
                format!("{round}-{number}")
            });
            operator.ask("chat.send", &key, send(&key));
            ledger.sent.insert(key, false);
        }
        let Some((frame, asked)) = operator.hear(deadline) else { return ledger };
        let body = &frame["payload"];
        if frame["event"] == "exec.approval.requested" {
            let id = body["id"].as_str().unwrap();
            let decision = if id.ends_with('1') { "deny" } else { "allow-once" };
            let resolve = json!({ "id": id, "decision": decision });
            operator.ask("exec.approval.resolve", id, resolve);
        }
        let Some((method, about)) = asked else { continue };
        assert_eq!(frame["ok"], true, "{method} {about}: {frame}");
        match method {
            "chat.send" => {
                ledger.sent.insert(about.clone(), true);
                let wait = json!({ "runId": about, "timeoutMs": 60_000 });
                operator.ask("agent.wait", &about, wait);
            }
            "agent.wait" => ledger.note_end(&about, body),
            "exec.approval.resolve" => ledger.note_decision(&about, &body["decision"]),
            other => panic!("nobody asked {other}"),
        }
        operator.client.forget_events();
    }
}

/// Answers each message, and asks for approval at every fourth, until the gateway is gone.
fn work_until_the_end(agent: Client) -> Ledger {
    let mut ledger = Ledger::default();
    let mut agent = Asker::new(agent);
    let deadline = Instant::now() + PATIENCE;
    while let Some((frame, asked)) = agent.hear(deadline) {
        let body = &frame["payload"];
        if frame["event"] == "agent.request" {
            let run = body["runId"].as_str().unwrap();
            assert!(ledger.given.insert(run.to_owned()), "{run} was given twice");
            let text = format!("answer to {run}");
            agent.ask("run.update", run, json!({ "runId": run, "state": "final", "text": text }));
            if ledger.given.len().is_multiple_of(4) {
                agent.ask("exec.approval.request", run, approval(run));
            }
        }
        if let Some(("exec.approval.request", id)) = asked {
            ledger.note_decision(&id, &body["decision"]);
        }
        agent.client.forget_events();
    }
    ledger
}

/// After the restart: what was accepted has ended, as was heard; what was decided stays so.
fn look_back(gateway: &Gateway, device: &Device, ledger: &mut Ledger, round: &Ledger) {
    let mut operator = gateway.operator();
    for (key, _) in round.sent.iter().filter(|(_, accepted)| **accepted) {
        let waited = operator.ask("agent.wait", json!({ "runId": key, "timeoutMs": 0 }));
        ledger.note_end(key, &waited);
    }
    let mut agent = gateway.agent("agent1", device);
    for id in round.decided.keys() {
        let body = agent.ask("exec.approval.request", approval(id));
        ledger.note_decision(id, &body["decision"]);
    }
    agent.leave();
}

/// The history has each message once, and its answer if there is one.
fn check_history(operator: &mut Client, ledger: &Ledger) {
    let (mut asked, mut answered) = (BTreeMap::new(), BTreeMap::new());
    let mut before = Value::Null;
    loop {
        let ask = json!({ "sessionKey": "agent1:chat", "limit": 1_000, "before": before });
        let page = operator.ask("chat.history", ask);
        let messages = page["messages"].as_array().unwrap();
        for message in messages {
            let run = message["runId"].as_str().unwrap().to_owned();
            let is_question = message["role"] == "user";
            let of_role = if is_question { &mut asked } else { &mut answered };
            let twice = of_role.insert(run, message["content"].clone());
            assert_eq!(twice, None, "twice in the history: {message}");
        }
        if page["hasMore"] != true {
            break;
        }
        before = messages[0]["id"].clone();
    }
    for (run, content) in &asked {
        let answer = answered.get(run);
        match ledger.ended.get(run) {
            Some((status, text)) if status == "ok" => assert_eq!(answer, Some(text), "{run}"),
            Some(_) => assert_eq!(answer, None, "{run} failed and has an answer"),
            // Never accepted, and perhaps on disk all the same.
            None => {}
        }
        assert_eq!(content, run);
    }
    assert!(!asked.is_empty(), "there is no history");
}

#[test]
fn kill_at_any_moment_ends_every_run_and_every_request_for_approval_once() {
    let rounds = number_from_env("OPENCLAW_CRASH_ROUNDS", 20);
    let mut rng = Rng::announced();
    let device = Device::new();
    let mut gateway = Gateway::start();
    let mut ledger = Ledger::default();
    let mut unanswered = Vec::new();
    for round in 0..rounds {
        let agent = gateway.agent("agent1", &device);
        let operator = gateway.operator();
        let again = std::mem::take(&mut unanswered);
        let life = Duration::from_millis(rng.between(1, 250));
        let mut heard = std::thread::scope(|scope| {
            let operating = scope.spawn(move || operate_until_the_end(operator, round, again));
            let working = scope.spawn(move || work_until_the_end(agent));
            std::thread::sleep(life);
            gateway.kill_9();
            let mut heard = operating.join().unwrap();
            let worked = working.join().unwrap();
            heard.given = worked.given;
            for (id, decision) in worked.decided {
                heard.note_decision(&id, &decision);
            }
            heard
        });
        for run in std::mem::take(&mut heard.given) {
            assert!(ledger.given.insert(run.clone()), "{run} was given in two rounds");
        }
        for (run, (status, text)) in &heard.ended {
            ledger.note_end(run, &json!({ "status": status, "text": text }));
        }
        for (id, decision) in &heard.decided {
            ledger.note_decision(id, decision);
        }
        ledger.heard += heard.ended.len() + heard.decided.len();
        gateway.start_again();
        look_back(&gateway, &device, &mut ledger, &heard);
        unanswered = heard.sent.into_iter().filter(|(_, is)| !is).map(|(key, _)| key).collect();
    }
    check_history(&mut gateway.operator(), &ledger);
    let failed = ledger.ended.values().filter(|(status, _)| status == "error").count();
    eprintln!(
        "{rounds} rounds, {} runs ended, {failed} of them with their gateway, {} decisions",
        ledger.ended.len(),
        ledger.decided.len()
    );
    assert!(ledger.heard > 0 && failed > 0, "nothing was under way when the gateway was killed");
    assert!(!ledger.decided.is_empty(), "nothing was decided");
}
