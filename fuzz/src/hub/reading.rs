//! What an operator reads, so that it can be compared over a restart.
//!
//! Leaves out what a restart may change: who is connected, what waits, and moments that are kept
//! to the hour. Called by `ending`.

use std::collections::BTreeMap;

use openclaw_gateway::base::ids::ConnId;
use serde_json::Value;

use super::super::kit::peers;
use super::world::World;

/// Method, parameters, and the member of the answer that stays what it is.
const READS: [(&str, &str, &str); 6] = [
    ("sessions.list", r#"{"limit":1000}"#, "sessions"),
    ("logs.tail", r#"{"limit":5000,"maxBytes":1000000}"#, "entries"),
    ("exec.approvals.list", "{}", "allowed"),
    ("chat.history", r#"{"sessionKey":"a1:chat"}"#, "messages"),
    ("cron.list", "{}", "jobs"),
    ("device.pair.list", "{}", "devices"),
];
/// What is kept of a device.
const OF_DEVICES: [&str; 4] = ["deviceId", "publicKey", "role", "scopes"];

impl World {
    /// What the owner is shown; nothing if nobody is let in any more.
    pub(super) fn read(&mut self) -> Option<BTreeMap<&'static str, Value>> {
        self.connect_anyway(peers::owner());
        let (owner, conn) = self.conns.last_key_value()?;
        let owner: ConnId = *owner;
        conn.grant.as_ref().filter(|grant| grant.is_owner && !conn.is_closing)?;
        let mut shown = BTreeMap::new();
        for (method, params, member) in READS {
            self.last_answer = b"null".to_vec();
            self.request(owner, method, params);
            let answer: Value = serde_json::from_slice(&self.last_answer).expect("JSON");
            let mut kept = answer["payload"][member].clone();
            for device in kept.as_array_mut().into_iter().flatten().filter(|_| member == "devices")
            {
                let all = device.as_object_mut().expect("a device");
                all.retain(|name, _| OF_DEVICES.contains(&name.as_str()));
            }
            if member == "devices" {
                let list = kept.as_array_mut().expect("devices");
                list.sort_by_key(|device| device["deviceId"].as_str().map(str::to_owned));
            }
            shown.insert(method, kept);
        }
        Some(shown)
    }
}
