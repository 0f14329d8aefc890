//! Every frame that `docs/protocol.md` shows has exactly the members that a real gateway sends.
//!
//! The requests of the page are sent in its order, and what comes back is compared with the samples
//! by name and kind of every member, however deep; lists count as one of all their items.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::documented_talk;
use crate::kit::{Client, Connect, Device, Gateway, PATIENCE, SECRET, eventually};

/// What no gateway can be made to send in a moment: `slow_peer` provokes it. And the refusals,
/// which have a test for each row of their table.
const ELSEWHERE: [&str; 1] = ["log.gap"];
const REFUSED: [&str; 2] = ["spawn-1", "mc-1"];

pub(crate) fn frames() -> Vec<Value> {
    let page = include_str!("../../docs/protocol.md");
    let blocks = page.split("```json\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    blocks.map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// The members of a value, each with its path and its kind.
fn shape(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, into: &mut BTreeSet<String>) {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(items) => {
                items.iter().for_each(|item| walk(item, &format!("{path}[]"), into));
                "list"
            }
            Value::Object(members) => {
                for (name, member) in members {
                    walk(member, &format!("{path}.{name}"), into);
                }
                "object"
            }
        };
        into.insert(format!("{path} {kind}"));
    }
    let mut found = BTreeSet::new();
    walk(value, "", &mut found);
    found
}

/// How the two differ, if they do.
pub(crate) fn difference(shown: &Value, sent: &Value) -> Option<String> {
    let (page, gateway) = (shape(shown), shape(sent));
    let invented: Vec<_> = page.difference(&gateway).collect();
    let missing: Vec<_> = gateway.difference(&page).collect();
    (page != gateway)
        .then(|| format!("only on the page: {invented:?}\nonly sent: {missing:?}\nsent: {sent}\n"))
}

/// Everybody who speaks.
struct Cast {
    gateway: Gateway,
    desk: Client,
    desk_device: Device,
    agent: Client,
    agent_device: Device,
    owner: Client,
}

impl Cast {
    fn assemble() -> Self {
        let gateway = Gateway::setup()
            .config("[gateway.heartbeat]\nintervalSeconds = 1\nmissedMax = 10")
            .start();
        let (desk_device, agent_device) = (Device::new(), Device::new());
        let mut desk = gateway.dial().open();
        desk.admitted(&Connect::mission_control(&desk_device));
        let agent = gateway.agent("agent1", &agent_device);
        let owner = gateway.owner();
        Self { gateway, desk, desk_device, agent, agent_device, owner }
    }

    /// A device that waits for approval; its request.
    fn waiting(&self, device: &Device) -> String {
        let connect = Connect::mission_control(device);
        let refusal = self.gateway.dial().open().refused(&connect);
        refusal.error["details"]["requestId"].as_str().unwrap().to_owned()
    }

    /// Sends a request of the page, about things that are there; returns its response.
    fn play(&mut self, request: &Value) -> Value {
        let method = request["method"].as_str().unwrap();
        let mut params = request.get("params").cloned().unwrap_or(Value::Null);
        match (method, request["id"].as_str().unwrap()) {
            ("device.pair.list", _) => drop(self.waiting(&Device::new())),
            ("device.pair.approve", _) => {
                let device = Device::new();
                let small = Connect::mission_control(&device).secret(SECRET);
                let mut known = self.gateway.dial().open();
                known.admitted(&small.with("/scopes", json!(["operator.read"])));
                params["requestId"] = json!(self.waiting(&device));
                // It stays connected until it is approved.
                let response = self.desk.request(method, params);
                known.leave();
                return response;
            }
            ("device.pair.reject", _) => params["requestId"] = json!(self.waiting(&Device::new())),
            ("device.pair.remove" | "device.pair.forget", _) => {
                let device = Device::new();
                drop(self.gateway.agent(&format!("for-{}", &method[12..]), &device));
                params["deviceId"] = json!(device.id());
            }
            (_, "rotate-2") => params["deviceId"] = json!(self.agent_device.id()),
            ("device.token.rotate" | "device.token.revoke", _) => {
                params["deviceId"] = json!(self.desk_device.id());
            }
            _ => {}
        }
        let speaker = match method {
            "logs.append" | "session.update" | "session.usage" | "agent.status"
            | "events.publish" => &mut self.agent,
            "device.pair.forget" | "device.pair.code" => &mut self.owner,
            _ => &mut self.desk,
        };
        let mut response = speaker.request(method, params);
        for body in ["payload", "result"] {
            // The page shows the paired operator alone; the agent has its members elsewhere.
            if let Some(paired) =
                response.pointer_mut(&format!("/{body}/paired")).and_then(Value::as_array_mut)
            {
                paired.retain(|device| device["role"] == "operator");
            }
        }
        response
    }
}

#[test]
fn every_sample_has_the_members_that_a_real_gateway_sends() {
    let mut frames = frames();
    frames.retain(|frame| !documented_talk::is_about(frame));
    let is_request = |frame: &Value| frame["type"] == "req" && frame["method"] != "connect";
    let mut cast = Cast::assemble();

    // What the samples take to be there: a session with settings, another one, a round trip.
    let other = json!({ "key": "agent1:other" });
    cast.agent.ask("session.update", other);
    let begin = ["session.update", "session.usage", "sessions.patch"];
    for method in begin {
        let request = frames.iter().find(|frame| frame["method"] == method).unwrap();
        assert_eq!(cast.play(request)["ok"], true, "{request}");
    }
    eventually("a round trip is measured", PATIENCE, || {
        cast.agent.listen_for(std::time::Duration::from_millis(100));
        cast.desk.listen_for(std::time::Duration::from_millis(100));
        let presence = cast.owner.ask("system-presence", Value::Null).to_string();
        presence.contains("rttMs").then_some(())
    });

    let mut compared = 0;
    let mut responses: BTreeMap<String, Value> = BTreeMap::new();
    let mut newcomer = cast.gateway.dial().open();
    let hello = newcomer.admitted(&Connect::mission_control(&cast.desk_device));
    responses.insert("mc-1".to_owned(), hello);
    let mut problems = String::new();
    for frame in &frames {
        let id = frame["id"].as_str().unwrap_or_default();
        if is_request(frame) {
            responses.insert(id.to_owned(), cast.play(frame));
        } else if frame["type"] == "res" && (frame["ok"] == true || !REFUSED.contains(&id)) {
            let mut sent = responses[id].clone();
            sent["id"] = json!(id);
            assert_eq!(sent["ok"], frame["ok"], "{id}: {sent}");
            problems.extend(difference(frame, &sent));
            compared += 1;
        }
    }
    assert!(compared > 25, "{compared} responses");
    let events: Vec<_> = frames.iter().filter(|frame| frame["type"] == "event").collect();
    compare_events(&mut cast, &events, &mut problems);
    assert!(problems.is_empty(), "{problems}");
}

fn compare_events(cast: &mut Cast, shown: &[&Value], problems: &mut String) {
    for event in shown {
        let payload = &event["payload"];
        if payload.get("agentId").is_some() {
            let mut payload = payload.clone();
            payload
                .as_object_mut()
                .unwrap()
                .retain(|name, _| name != "agentId" && name != "source");
            let params = json!({ "event": event["event"], "payload": payload });
            cast.agent.ask("events.publish", params);
        }
    }
    let mut bare = cast.gateway.dial().open();
    let mut sent = vec![json!({
        "type": "event", "event": "connect.challenge", "payload": bare.challenge()
    })];
    let secret = Connect::backend().with("/scopes", json!([]));
    let params = secret.params("unused");
    bare.send_text(
        &json!({"type": "req", "id": "c", "method": "connect", "params": params}).to_string(),
    );
    assert_eq!(bare.response("c")["ok"], true);
    sent.push(bare.event("tick"));
    cast.gateway.terminate();
    cast.desk.closed();
    sent.extend(cast.desk.take_events());
    let mut compared = 0;
    for event in shown.iter().filter(|event| !ELSEWHERE.contains(&event["event"].as_str().unwrap()))
    {
        let fits = |sent: &&Value| sent["event"] == event["event"] && shape(sent) == shape(event);
        if !sent.iter().any(|sent| fits(&sent)) {
            let alike = sent.iter().rfind(|sent| sent["event"] == event["event"]);
            problems.extend(difference(event, alike.unwrap_or(&Value::Null)));
        }
        compared += 1;
    }
    assert!(compared >= 14, "{compared} events");
}
