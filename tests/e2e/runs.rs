//! Operators and agents talk: over real sockets, past a lost connection and past a restart.

use serde_json::{Value, json};

use crate::kit::{Client, Device, Gateway};

/// The next request for an agent, as the agent sees it.
#[track_caller]
fn asked(agent: &mut Client) -> Value {
    let event = agent.event("agent.request");
    assert_eq!(event.get("seq"), None, "what is for one peer has no number");
    event["payload"].clone()
}

fn update(agent: &mut Client, run: &Value, state: &str, text: &str) {
    agent.ask("run.update", json!({ "runId": run, "state": state, "text": text }));
}

#[test]
fn an_operator_and_an_agent_have_a_conversation() {
    let gateway = Gateway::start();
    let mut operator = gateway.operator();
    let mut agent = gateway.agent("agent1", &Device::new());
    let send = json!({
        "sessionKey": "agent1:chat", "message": "Is it green?", "idempotencyKey": "k",
        "attachments": [{ "type": "image", "content": "AA==" }],
    });
    let started = operator.ask("chat.send", send.clone());
    assert_eq!((&started["runId"], &started["status"]), (&json!("k"), &json!("started")));
    let request = asked(&mut agent);
    assert_eq!(request["message"], "Is it green?");
    assert_eq!(request["attachments"], json!([{ "type": "image", "content": "AA==" }]));
    assert_eq!(operator.ask("chat.send", send.clone())["status"], "in_flight");
    let waits = operator.send_request("agent.wait", json!({ "runId": "k", "timeoutMs": 60_000 }));
    update(&mut agent, &request["runId"], "delta", "It ");
    update(&mut agent, &request["runId"], "final", "It is.");
    let chats = operator.payloads("chat", 2);
    assert_eq!(chats[0]["message"]["content"], "It ");
    assert_eq!(
        (&chats[1]["state"], &chats[1]["message"]["content"]),
        (&json!("final"), &json!("It is."))
    );
    let message = operator.event("chat.message")["payload"].clone();
    assert_eq!((&message["from_agent"], &message["content"]), (&json!("agent1"), &json!("It is.")));
    let waited = operator.response(&waits)["payload"].clone();
    assert_eq!((&waited["status"], &waited["text"]), (&json!("ok"), &json!("It is.")));
    assert_eq!(operator.ask("chat.send", send)["status"], "ok");
    let history = operator.ask("chat.history", json!({ "sessionKey": "agent1:chat" }));
    let said: Vec<_> =
        history["messages"].as_array().unwrap().iter().map(|m| &m["content"]).collect();
    assert_eq!(said, ["Is it green?", "It is."]);
    let steps: Vec<_> = operator.payloads("agent", 4).iter().map(|p| p["stream"].clone()).collect();
    assert_eq!(steps, ["lifecycle", "assistant", "assistant", "lifecycle"]);
}

#[test]
fn agent_is_answered_twice_and_a_failure_carries_a_body() {
    let gateway = Gateway::start();
    let mut operator = gateway.operator();
    let mut agent = gateway.agent("agent1", &Device::new());
    let ask = json!({ "agentId": "agent1", "message": "hello", "idempotencyKey": "k" });
    let id = operator.send_request("agent", ask);
    assert_eq!(operator.response(&id)["payload"]["status"], "accepted");
    let request = asked(&mut agent);
    assert_eq!(request["sessionKey"], "agent1:main");
    update(&mut agent, &request["runId"], "final", "done");
    let last = operator.response(&id);
    assert_eq!(last["result"]["result"]["payloads"], json!([{ "text": "done" }]));
    let id = operator.send_request("agent", json!({ "agentId": "agent1", "message": "more" }));
    let run = operator.response(&id)["payload"]["runId"].clone();
    assert_eq!(asked(&mut agent)["runId"], run);
    agent.leave();
    let failed = operator.response(&id);
    assert_eq!(failed["ok"], false);
    assert_eq!(failed["error"]["message"], "agent disconnected: agent1");
    assert_eq!(failed["payload"]["status"], "error");
    let error = operator.ask_in_vain("agent", json!({ "agentId": "agent1", "message": "hello" }));
    assert_eq!((&error["code"], &error["retryable"]), (&json!("UNAVAILABLE"), &json!(true)));
}

#[test]
fn a_run_survives_the_operator_and_its_end_the_gateway() {
    let mut gateway = Gateway::start();
    let device = Device::new();
    let mut agent = gateway.agent("agent1", &device);
    let mut operator = gateway.operator();
    for key in ["finished", "open"] {
        let ask = json!({ "sessionKey": "agent1:chat", "message": key, "idempotencyKey": key });
        operator.ask("chat.send", ask);
    }
    operator.leave();
    let (finished, _open) = (asked(&mut agent), asked(&mut agent));
    update(&mut agent, &finished["runId"], "final", "the result");
    let mut operator = gateway.operator();
    let waited = operator.ask("agent.wait", json!({ "runId": "finished", "timeoutMs": 60_000 }));
    assert_eq!((&waited["status"], &waited["text"]), (&json!("ok"), &json!("the result")));
    let waited = operator.ask("agent.wait", json!({ "runId": "open", "timeoutMs": 0 }));
    assert_eq!(waited["status"], "timeout");
    gateway.kill_9();
    gateway.start_again();
    let mut operator = gateway.operator();
    let waited = operator.ask("agent.wait", json!({ "runId": "finished" }));
    assert_eq!((&waited["status"], &waited["text"]), (&json!("ok"), &json!("the result")));
    let waited = operator.ask("agent.wait", json!({ "runId": "open" }));
    assert_eq!(waited["error"], "the gateway was restarted");
    let history = operator.ask("chat.history", json!({ "sessionKey": "agent1:chat" }));
    assert_eq!(history["messages"].as_array().unwrap().len(), 3);
}

#[test]
fn an_operator_with_many_runs_is_not_held_up_by_them() {
    let gateway = Gateway::start();
    let mut operator = gateway.operator();
    let mut agent = gateway.agent("agent1", &Device::new());
    // More than the requests that may be in progress.
    let asks: Vec<_> = (0..80)
        .map(|_| operator.send_request("agent", json!({ "agentId": "agent1", "message": "x" })))
        .collect();
    for id in &asks {
        assert_eq!(operator.response(id)["payload"]["status"], "accepted");
    }
    let first = asked(&mut agent)["runId"].clone();
    let waits: Vec<_> = (0..33)
        .map(|_| {
            operator.send_request("agent.wait", json!({ "runId": first, "timeoutMs": 60_000 }))
        })
        .collect();
    let refused = operator.response(&waits[32]);
    assert_eq!(refused["error"]["code"], "RESOURCE_EXHAUSTED");
    operator.ask("ping", json!({}));
    update(&mut agent, &first, "final", "done");
    for id in &waits[..32] {
        assert_eq!(operator.response(id)["payload"]["status"], "ok");
    }
}

#[test]
fn an_agent_asks_before_it_runs_something() {
    let mut gateway = Gateway::start();
    let device = Device::new();
    let mut operator = gateway.operator();
    let mut agent = gateway.agent("agent1", &device);
    let ask = json!({ "command": "make", "cwd": "/src" });
    let id = agent.send_request("exec.approval.request", ask.clone());
    let requested = operator.event("exec.approval.requested")["payload"].clone();
    assert_eq!(requested["request"]["agentId"], "agent1");
    let resolve = json!({ "id": requested["id"], "decision": "allow-always" });
    operator.ask("exec.approval.resolve", resolve);
    assert_eq!(agent.response(&id)["payload"]["decision"], "allow-always");
    operator.event("exec.approval.resolved");
    gateway.kill_9();
    gateway.start_again();
    let mut agent = gateway.agent("agent1", &device);
    let again = agent.ask("exec.approval.request", ask.clone());
    assert_eq!(again["reason"], "always allowed");
    let mut operator = gateway.operator();
    let list = operator.ask("exec.approvals.list", json!({}));
    let allowed = json!({ "id": list["allowed"][0]["id"] });
    assert_eq!(operator.ask("exec.approvals.remove", allowed)["removed"], true);
    let open = json!({ "id": "mine", "command": "make" });
    agent.send_request("exec.approval.request", open.clone());
    operator.event("exec.approval.requested");
    // The answer to this means that everything before it is on disk.
    operator.ask("exec.approvals.remove", json!({ "id": "none" }));
    gateway.kill_9();
    gateway.start_again();
    let mut agent = gateway.agent("agent1", &device);
    let denied = agent.ask("exec.approval.request", open);
    assert_eq!(
        (&denied["decision"], &denied["reason"]),
        (&json!("deny"), &json!("the gateway was restarted"))
    );
}
