//! What `docs/protocol.md` shows of programs, runs, approvals and jobs has exactly the members that a
//! real gateway sends.
//!
//! Operator and agent play what the page tells of; every response and event of it is then looked
//! for among what they heard. `documented` does the same for the rest of the page.

use serde_json::{Value, json};

use crate::documented::{difference, frames};
use crate::kit::{Client, Device, Gateway, PATIENCE, eventually};

/// The methods whose requests and responses are looked at here.
const METHODS: [&str; 25] = [
    "spawn",
    "sessions_spawn",
    "spawn.list",
    "spawn.logs",
    "spawn.cancel",
    "sessions_kill",
    "chat.send",
    "agent",
    "agent.wait",
    "sessions.send",
    "chat.history",
    "chat.abort",
    "run.update",
    "exec.approval.request",
    "exec.approval.waitDecision",
    "exec.approval.resolve",
    "exec.approvals.list",
    "exec.approvals.remove",
    "cron.add",
    "cron.list",
    "cron.status",
    "cron.runs",
    "cron.run",
    "cron.update",
    "cron.remove",
];

const EVENTS: [&str; 8] = [
    "spawn_result",
    "agent.request",
    "chat",
    "chat.message",
    "agent",
    "exec.approval.requested",
    "exec.approval.resolved",
    "cron",
];

const CONFIG: &str = "[gateway.spawn]\nallowedCommands = [\"sleep\", \"true\", \"no-such-program\"]\n\
    allowedDirs = [\"/\"]\n[gateway.agents]\ndefault = \"agent1\"\n\
    [gateway.agents.agent1]\ncommand = \"sleep\"\nargs = [\"60\"]\n";

/// The frames of the page, each with what it is about: the event's name, or the method of the last
/// request before. Apart: those of this module, and all others.
pub(crate) fn chapters() -> (Vec<(String, Value)>, Vec<Value>) {
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    let mut method = String::new();
    for frame in frames() {
        if let Some(asked) = frame["method"].as_str() {
            asked.clone_into(&mut method);
        }
        let event = frame["event"].as_str();
        let is_here = match event {
            Some(event) => EVENTS.contains(&event),
            None => METHODS.contains(&method.as_str()),
        };
        match is_here {
            true => here.push((event.unwrap_or(&method).to_owned(), frame)),
            false => elsewhere.push(frame),
        }
    }
    (here, elsewhere)
}

/// Responses with their methods, events with their names.
#[derive(Default)]
struct Heard(Vec<(String, Value)>);

impl Heard {
    fn note(&mut self, what: &str, frame: Value) -> Value {
        self.0.push((what.to_owned(), frame.clone()));
        frame
    }

    #[track_caller]
    fn ask(&mut self, who: &mut Client, method: &str, params: Value) -> Value {
        let response = who.request(method, params);
        assert_eq!(response["ok"], true, "{method}: {response}");
        self.note(method, response)["payload"].clone()
    }

    #[track_caller]
    fn answer(&mut self, who: &mut Client, method: &str, id: &str) -> Value {
        let response = who.response(id);
        self.note(method, response)
    }

    #[track_caller]
    fn event(&mut self, who: &mut Client, name: &str) -> Value {
        let event = who.event(name);
        self.note(name, event)["payload"].clone()
    }

    /// What has come and nobody waited for.
    fn rest(&mut self, who: &mut Client) {
        for event in who.take_events() {
            let name = event["event"].as_str().unwrap().to_owned();
            self.note(&name, event);
        }
    }

    /// Waits for a spawn to be told to be so.
    #[track_caller]
    fn spawn_is(&mut self, who: &mut Client, spawn: &Value, status: &str) {
        loop {
            let told = self.event(who, "spawn_result");
            if told["spawnId"] == spawn["spawnId"] && told["status"] == status {
                return;
            }
        }
    }
}

fn programs(heard: &mut Heard, operator: &mut Client) {
    let sleep = json!({ "command": "sleep", "args": ["60"], "session": "agent1:chat" });
    let first = heard.ask(operator, "spawn", sleep.clone());
    heard.spawn_is(operator, &first, "running");
    heard.ask(operator, "spawn.list", Value::Null);
    heard.ask(operator, "spawn.logs", json!({ "id": first["spawnId"] }));
    heard.ask(operator, "spawn.cancel", json!({ "id": first["spawnId"], "graceMs": 0 }));
    heard.spawn_is(operator, &first, "cancelled");
    heard.ask(operator, "spawn", sleep);
    heard.ask(operator, "sessions_kill", json!({ "sessionKey": "agent1:chat" }));
    let good = heard.ask(operator, "spawn", json!({ "command": "true" }));
    heard.spawn_is(operator, &good, "completed");
    heard.ask(operator, "spawn", json!({ "command": "no-such-program" }));
    heard.ask(operator, "sessions_spawn", json!({ "task": "Write the release notes" }));
}

fn update(heard: &mut Heard, agent: &mut Client, run: &str, more: Value) {
    let mut params = json!({ "runId": run });
    params.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    heard.ask(agent, "run.update", params);
}

fn conversations(heard: &mut Heard, gateway: &Gateway, operator: &mut Client, agent: &mut Client) {
    let send = |key: &str| {
        json!({
            "sessionKey": "agent1:chat", "message": "Is the build green?", "idempotencyKey": key,
            "attachments": [
                { "type": "image", "mimeType": "image/png", "fileName": "a.png", "content": "AA==" }
            ],
        })
    };
    let last = json!({ "state": "final", "text": "It is.", "usage": { "input": 1, "output": 2 } });
    heard.ask(operator, "chat.send", send("k1"));
    heard.event(agent, "agent.request");
    heard.ask(operator, "chat.send", send("k1"));
    heard.ask(operator, "agent.wait", json!({ "runId": "k1", "timeoutMs": 1 }));
    let pause = json!({ "type": "control", "action": "pause" });
    heard.ask(operator, "sessions.send", json!({ "sessionKey": "agent1:chat", "message": pause }));
    heard.event(agent, "agent.request");
    update(heard, agent, "k1", json!({ "state": "delta", "text": "It " }));
    update(heard, agent, "k1", last.clone());
    heard.ask(operator, "chat.send", send("k1"));
    heard.ask(operator, "agent.wait", json!({ "runId": "k1", "timeoutMs": 5_000 }));
    heard.ask(operator, "chat.history", json!({ "sessionKey": "agent1:chat" }));

    heard.ask(operator, "chat.send", send("k2"));
    heard.event(agent, "agent.request");
    heard.ask(operator, "chat.abort", json!({ "sessionKey": "agent1:chat", "runId": "k2" }));
    update(heard, agent, "k2", json!({ "state": "aborted" }));
    heard.ask(operator, "chat.send", send("k3"));
    heard.event(agent, "agent.request");
    update(heard, agent, "k3", json!({ "state": "error", "errorMessage": "no model answers" }));
    heard.ask(operator, "agent.wait", json!({ "runId": "k3", "timeoutMs": 5_000 }));

    let ask = |name: &str| json!({ "message": "Is it green?", "agentId": name });
    let mut keyed = ask("agent1");
    for (name, value) in [("idempotencyKey", json!("k4")), ("model", json!("claude-opus-4"))] {
        keyed[name] = value;
    }
    keyed["attachments"] = send("k4")["attachments"].clone();
    let id = operator.send_request("agent", keyed);
    heard.answer(operator, "agent", &id);
    update(heard, agent, "k4", last);
    heard.answer(operator, "agent", &id);
    let leaves = gateway.agent("agent2", &Device::new());
    let id = operator.send_request("agent", ask("agent2"));
    heard.answer(operator, "agent", &id);
    leaves.leave();
    assert_eq!(heard.answer(operator, "agent", &id)["ok"], false);
}

fn approvals(heard: &mut Heard, operator: &mut Client, agent: &mut Client) {
    const REQUEST: &str = "exec.approval.request";
    let id = agent.send_request(REQUEST, json!({ "command": "make test", "cwd": "/srv" }));
    let always = heard.event(operator, "exec.approval.requested")["id"].clone();
    let decision = json!({ "id": always, "decision": "allow-always" });
    heard.ask(operator, "exec.approval.resolve", decision);
    heard.answer(agent, REQUEST, &id);
    let id = agent.send_request(
        REQUEST,
        json!({
            "id": "ap-1", "command": "rm -r build", "cwd": "/srv", "host": "gateway",
            "resolvedPath": "/usr/bin/rm", "sessionKey": "agent1:chat", "timeoutMs": 120_000,
        }),
    );
    heard.event(operator, "exec.approval.requested");
    let list = heard.ask(operator, "exec.approvals.list", Value::Null);
    let once = json!({ "id": "ap-1", "decision": "allow-once" });
    heard.ask(operator, "exec.approval.resolve", once);
    heard.answer(agent, REQUEST, &id);
    heard.ask(agent, "exec.approval.waitDecision", json!({ "id": "ap-1" }));
    heard.ask(agent, REQUEST, json!({ "command": "rm", "timeoutMs": 1 }));
    let two_phases = json!({ "command": "rm -r build", "twoPhase": true });
    let id = agent.send_request(REQUEST, two_phases);
    heard.answer(agent, REQUEST, &id);
    let allowed = json!({ "id": list["allowed"][0]["id"] });
    heard.ask(operator, "exec.approvals.remove", allowed);
}

/// A job that runs at once, and one that is still running when its next occurrences come.
fn jobs(heard: &mut Heard, operator: &mut Client) {
    let stand_up = heard.ask(
        operator,
        "cron.add",
        json!({
            "name": "Stand-up",
            "schedule": { "kind": "cron", "expr": "30 9 * * MON-FRI", "tz": "Europe/Berlin" },
            "payload": { "kind": "systemEvent", "text": "Stand-up in five minutes" },
        }),
    );
    heard.ask(operator, "cron.run", json!({ "id": stand_up["id"] }));
    while heard.event(operator, "cron")["action"] != "finished" {}
    heard.ask(operator, "cron.list", Value::Null);
    heard.ask(operator, "cron.status", Value::Null);
    heard.ask(operator, "cron.remove", json!({ "id": stand_up["id"] }));

    heard.rest(operator);
    let slow = heard.ask(
        operator,
        "cron.add",
        json!({
            "name": "Slow",
            "schedule": { "kind": "every", "everyMs": 1_000 },
            "payload": { "kind": "spawn", "command": "sleep", "args": ["60"] },
        }),
    );
    let spawn = loop {
        let told = heard.event(operator, "spawn_result");
        if told["status"] == "running" {
            break told;
        }
    };
    heard.ask(operator, "cron.run", json!({ "id": slow["id"] }));
    let history = |heard: &mut Heard, operator: &mut Client, member: &str| {
        eventually(member, PATIENCE, || {
            let runs = heard.ask(operator, "cron.runs", json!({ "id": slow["id"] }));
            runs["runs"].as_array().unwrap().iter().any(|run| !run[member].is_null()).then_some(())
        });
    };
    history(heard, operator, "lastOccurrenceAtMs");
    heard.ask(operator, "spawn.cancel", json!({ "id": spawn["spawnId"], "graceMs": 0 }));
    history(heard, operator, "endedAtMs");
    heard.ask(operator, "cron.remove", json!({ "id": slow["id"] }));
}

#[test]
fn samples_of_programs_runs_approvals_and_jobs_have_the_members_that_are_sent() {
    let gateway = Gateway::setup().config(CONFIG).start();
    let mut operator = gateway.operator();
    let mut agent = gateway.agent("agent1", &Device::new());
    let mut heard = Heard::default();
    programs(&mut heard, &mut operator);
    conversations(&mut heard, &gateway, &mut operator, &mut agent);
    approvals(&mut heard, &mut operator, &mut agent);
    jobs(&mut heard, &mut operator);
    heard.rest(&mut operator);
    heard.rest(&mut agent);

    let (mut compared, mut problems) = (0, String::new());
    for (what, shown) in chapters().0.iter().filter(|(_, frame)| frame["type"] != "req") {
        let alike = || heard.0.iter().filter(|(name, _)| name == what).map(|(_, frame)| frame);
        let differences: Option<Vec<_>> = alike().map(|sent| difference(shown, sent)).collect();
        // One without a difference makes this `None`.
        let nearest = differences.map(|found| found.into_iter().min_by_key(String::len));
        if let Some(nearest) = nearest {
            let nearest = nearest.as_deref().unwrap_or("nothing alike was heard");
            problems += &format!("{shown}\n{nearest}\n");
        }
        compared += 1;
    }
    assert!(compared > 35, "{compared} frames");
    assert!(problems.is_empty(), "{problems}");
}
