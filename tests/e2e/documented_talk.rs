//! The samples of `docs/protocol.md` about spawns, runs and approvals: each has the members of
//! something that a real gateway sends in a scene that has them all. `documented` plays the rest.

use serde_json::{Value, json};

use crate::documented::{difference, frames};
use crate::kit::{Client, Device, Gateway, PATIENCE, eventually};

const METHODS: [&str; 6] = ["spawn", "chat.", "agent.wait", "sessions_", "sessions.send", "exec."];
const RESPONSES: [&str; 13] = [
    "spawn-",
    "spawns-",
    "task-",
    "cancel-",
    "kill-",
    "chat-",
    "wait-",
    "send-",
    "history-",
    "abort-",
    "approval-",
    "resolve-",
    "allowed-",
];
const EVENTS: [&str; 5] = ["spawn_result", "agent.request", "chat", "agent", "exec."];

/// Whether a frame of the page is played here.
pub(crate) fn is_about(frame: &Value) -> bool {
    let begins = |member: &str, with: &[&str]| {
        frame[member].as_str().is_some_and(|text| with.iter().any(|with| text.starts_with(with)))
    };
    match frame["type"].as_str() {
        Some("req") => {
            begins("method", &METHODS)
                || frame["method"] == "agent"
                || frame["method"] == "run.update"
        }
        Some("res") => begins("id", &RESPONSES) || frame["id"] == "agent-1",
        _ => begins("event", &EVENTS) && frame["event"] != "agent.status",
    }
}

/// Who speaks, and what they were answered.
struct Scene {
    gateway: Gateway,
    desk: Client,
    agent: Client,
    sent: Vec<Value>,
}

impl Scene {
    fn new() -> Self {
        let config = "[gateway.spawn]\nallowedCommands = [\"sh\", \"pyhton\"]\n\
                      [gateway.agents]\ndefault = \"agent1\"\n\
                      [gateway.agents.agent1]\ncommand = \"sh\"\nargs = [\"-c\", \"exec sleep 1000\"]\n";
        let gateway = Gateway::setup().config(config).start();
        let agent = gateway.agent("agent1", &Device::new());
        let desk = gateway.operator();
        Self { gateway, desk, agent, sent: Vec::new() }
    }

    /// What an operator asks; the body of the answer.
    #[track_caller]
    fn ask(&mut self, method: &str, params: Value) -> Value {
        let response = self.desk.request(method, params);
        let body = response["payload"].clone();
        self.sent.push(response);
        body
    }

    /// A request that is answered later, once more or at all.
    fn later(&mut self, id: &str) -> Value {
        let response = self.desk.response(id);
        self.sent.push(response.clone());
        response["payload"].clone()
    }

    fn spawns(&mut self) {
        let sleep =
            json!({ "command": "sh", "args": ["-c", "exec sleep 1000"], "session": "agent1:chat" });
        let spawn = self.ask("spawn", sleep.clone());
        self.ask("spawn.list", Value::Null);
        self.ask("spawn.cancel", json!({ "id": spawn["spawnId"], "graceMs": 5_000 }));
        self.ask("spawn", json!({ "command": "pyhton" }));
        self.ask("sessions_spawn", json!({ "task": "Write", "label": "notes" }));
        self.ask("spawn", sleep);
        self.ask("sessions_kill", json!({ "sessionKey": "agent1:chat" }));
        self.ask("spawn", json!({ "command": "sh", "args": ["-c", "exit 0"] }));
        eventually("it has exited", PATIENCE, || {
            let list = self.desk.ask("spawn.list", Value::Null);
            list.to_string().contains("\"completed\"").then_some(())
        });
    }

    fn runs(&mut self) {
        let send = json!({
            "sessionKey": "agent1:chat", "message": "Is it green?", "idempotencyKey": "k",
            "model": "claude-opus-4",
            "attachments": [
                { "type": "image", "mimeType": "image/png", "fileName": "a.png", "content": "AA==" }
            ],
        });
        let wait = json!({ "runId": "k", "timeoutMs": 0 });
        self.ask("chat.send", send.clone());
        self.ask("chat.send", send.clone());
        self.ask("agent.wait", wait.clone());
        let asked = self.agent.event("agent.request");
        self.sent.push(asked);
        let usage = json!({ "input": 1200, "output": 345 });
        self.agent.ask("run.update", json!({ "runId": "k", "state": "delta", "text": "It " }));
        self.agent.ask(
            "run.update",
            json!({ "runId": "k", "state": "final", "text": "It is.", "usage": usage }),
        );
        self.ask("chat.send", send.clone());
        self.ask("agent.wait", wait);
        self.ask("chat.history", json!({ "sessionKey": "agent1:chat" }));
        let control = json!({ "type": "control", "action": "pause" });
        self.ask("sessions.send", json!({ "sessionKey": "agent1:chat", "message": control }));
        for (key, state) in [("ok", "final"), ("no", "error"), ("gone", "")] {
            let ask = json!({ "agentId": "agent1", "message": "x", "idempotencyKey": key });
            let id = self.desk.send_request("agent", ask);
            self.later(&id);
            match state {
                "" => {
                    let abort = json!({ "sessionKey": "agent1:main", "runId": key });
                    self.ask("chat.abort", abort);
                    self.agent.ask("run.update", json!({ "runId": key, "state": "aborted" }));
                }
                _ => {
                    let update = json!({
                        "runId": key, "state": state, "text": "done", "usage": usage,
                        "errorMessage": if state == "error" { "no model answers" } else { "" },
                    });
                    self.agent.ask("run.update", update);
                }
            }
            self.later(&id);
        }
        let (key, update) = ("bare", json!({ "runId": "bare", "state": "error" }));
        let ask = json!({ "agentId": "agent1", "message": "x", "idempotencyKey": key });
        let id = self.desk.send_request("agent", ask);
        self.later(&id);
        self.agent.ask("run.update", update);
        self.later(&id);
        self.ask("agent.wait", json!({ "runId": key, "timeoutMs": 0 }));
    }

    fn approvals(&mut self) {
        let request = |id: &str| {
            json!({
                "id": id, "command": "rm -r build", "cwd": "/srv/project", "host": "gateway",
                "resolvedPath": "/usr/bin/rm", "sessionKey": "agent1:chat",
            })
        };
        for (id, decision) in [("ap-1", "allow-once"), ("ap-2", "allow-always")] {
            let mut params = request(id);
            params["command"] = json!(format!("make {id}"));
            if decision == "allow-always" {
                params.as_object_mut().unwrap().remove("host");
            }
            let asked = self.agent.send_request("exec.approval.request", params);
            self.desk.event("exec.approval.requested");
            self.ask("exec.approval.resolve", json!({ "id": id, "decision": decision }));
            self.sent.push(self.agent.response(&asked));
        }
        let mut late = request("ap-3");
        late["timeoutMs"] = json!(1);
        self.sent.push(self.agent.request("exec.approval.request", late));
        let mut two = request("ap-4");
        two["twoPhase"] = json!(true);
        self.sent.push(self.agent.request("exec.approval.request", two));
        let list = self.ask("exec.approvals.list", Value::Null);
        self.ask("exec.approvals.remove", json!({ "id": list["allowed"][0]["id"] }));
    }
}

#[test]
fn samples_of_spawns_runs_and_approvals_have_the_members_of_something_sent() {
    let mut scene = Scene::new();
    scene.runs();
    scene.approvals();
    scene.spawns();
    let mut sent = std::mem::take(&mut scene.sent);
    sent.extend(scene.desk.take_events());
    sent.extend(scene.agent.take_events());
    drop(scene.gateway);
    let mut problems = String::new();
    let mut compared = 0;
    for frame in frames().iter().filter(|frame| frame["type"] != "req" && is_about(frame)) {
        // Refusals have a test for each row of their table.
        if frame["ok"] == false && frame.get("payload").is_none() {
            continue;
        }
        compared += 1;
        if sent.iter().any(|sent| difference(frame, sent).is_none()) {
            continue;
        }
        let alike = sent.iter().filter(|sent| sent["event"] == frame["event"]);
        let nearest = alike.filter_map(|sent| difference(frame, sent)).min_by_key(String::len);
        problems += &format!("{frame}\n{}\n", nearest.unwrap_or_default());
    }
    assert!(problems.is_empty(), "{problems}");
    assert!(compared > 35, "{compared} samples");
}
