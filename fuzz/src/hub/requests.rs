//! The requests that peers send, as text: they pass the parser, as on a connection's thread.

use super::super::bytes::Bytes;
use super::world::World;

/// Every method with parameters. What begins with `$` is filled in from the input, see `fill`.
pub(crate) const TABLE: [(&str, &str); 81] = [
    ("status", "{}"),
    ("system-presence", "{}"),
    ("logs.tail", r#"{"cursor":$small,"limit":5}"#),
    ("logs.tail", r#"{"level":"warn","session":$key,"maxBytes":100}"#),
    (
        "logs.append",
        r#"{"entries":[{"level":$level,"message":$text,"session":$key}],"idempotencyKey":$once}"#,
    ),
    (
        "logs.append",
        r#"{"entries":[{"level":"info","message":$long},{"level":"warn","message":$text}]}"#,
    ),
    (
        "session.update",
        r#"{"key":$key,"totalTokens":$count,"label":$text,"active":$bool,"cost":$cost,"idempotencyKey":$once}"#,
    ),
    (
        "session.update",
        r#"{"key":$key,"inputTokens":$count,"outputTokens":$count,"messageCount":$small,"model":$text}"#,
    ),
    (
        "session.usage",
        r#"{"key":$key,"inputTokens":$count,"outputTokens":$count,"cost":$cost,"idempotencyKey":$once}"#,
    ),
    ("session.usage", r#"{"key":$key,"inputTokens":1,"outputTokens":2,"messages":1}"#),
    ("agent.status", r#"{"name":$name,"status":"busy","id":$small,"idempotencyKey":$once}"#),
    ("agent.status", r#"{"name":$name,"status":$text,"last_activity":$text}"#),
    (
        "events.publish",
        r#"{"event":"notification","payload":{"title":$text},"idempotencyKey":$once}"#,
    ),
    ("sessions.list", r#"{"limit":3}"#),
    ("sessions.list", r#"{"agent":$name,"activeWithinMs":$count}"#),
    ("sessions.get", r#"{"key":$key}"#),
    ("sessions.usage", "{}"),
    ("sessions.patch", r#"{"key":$key,"label":$text,"thinking":"high"}"#),
    ("sessions.reset", r#"{"key":$key}"#),
    ("sessions.delete", r#"{"key":$key}"#),
    ("logs.subscribe", r#"{"level":$level,"session":$key}"#),
    ("logs.subscribe", "{}"),
    ("agents.list", "{}"),
    ("node.list", "{}"),
    ("config.get", "{}"),
    ("last-heartbeat", "{}"),
    ("device.pair.list", "{}"),
    ("device.pair.approve", r#"{"requestId":$pairing}"#),
    ("device.pair.approve", r#"{"requestId":$pairing}"#),
    ("device.pair.reject", r#"{"requestId":$pairing}"#),
    ("device.pair.remove", r#"{"deviceId":$device}"#),
    ("device.token.rotate", r#"{"deviceId":$device}"#),
    ("device.token.revoke", r#"{"deviceId":$device}"#),
    ("device.pair.forget", r#"{"deviceId":$device}"#),
    ("device.pair.code", "{}"),
    ("auth.rateLimit.clear", "{}"),
    (
        "spawn",
        r#"{"command":"p","args":[$text],"session":$key,"reports":true,"timeoutMs":$wait,"idempotencyKey":$once}"#,
    ),
    ("spawn", r#"{"command":"p"}"#),
    (
        "spawn",
        r#"{"command":"p","stdin":$long,"env":{"A":$text},"cwd":"/","idempotencyKey":$once}"#,
    ),
    ("spawn", r#"{"command":"forbidden"}"#),
    (
        "sessions_spawn",
        r#"{"task":"do {model}","agentId":$name,"label":$text,"idempotencyKey":$once}"#,
    ),
    ("sessions_spawn", r#"{"task":"do it","model":"m","runTimeoutSeconds":$small}"#),
    ("spawn.list", "{}"),
    ("spawn.logs", r#"{"id":$spawn,"limit":5}"#),
    ("spawn.cancel", r#"{"id":$spawn}"#),
    ("spawn.cancel", r#"{"id":$spawn,"graceMs":$wait}"#),
    ("sessions_kill", r#"{"sessionKey":$key}"#),
    ("chat.send", r#"{"sessionKey":$key,"message":"m","idempotencyKey":$run}"#),
    (
        "chat.send",
        r#"{"sessionKey":$key,"message":$text,"timeoutMs":$wait,"attachments":[{"a":1}]}"#,
    ),
    ("agent", r#"{"message":"m","agentId":$name,"idempotencyKey":$run}"#),
    ("agent", r#"{"message":"m","sessionKey":$key,"model":$text,"timeoutMs":$wait}"#),
    ("agent.wait", r#"{"runId":$run,"timeoutMs":$wait}"#),
    ("sessions.send", r#"{"sessionKey":$key,"message":{"text":"m"},"idempotencyKey":$run}"#),
    ("sessions.send", r#"{"sessionKey":$key,"message":{"type":"control","action":"pause"}}"#),
    ("chat.history", r#"{"sessionKey":$key,"limit":3}"#),
    ("chat.abort", r#"{"sessionKey":$key}"#),
    ("chat.abort", r#"{"runId":$run}"#),
    ("run.update", r#"{"runId":$run,"state":$state,"text":$text}"#),
    ("run.update", r#"{"runId":$run,"state":"delta","text":$long}"#),
    ("run.update", r#"{"runId":$run,"state":$state,"errorMessage":$text,"usage":{"a":1}}"#),
    (
        "exec.approval.request",
        r#"{"id":$approval,"command":"rm","agentId":$name,"timeoutMs":$wait,"twoPhase":$bool}"#,
    ),
    ("exec.approval.request", r#"{"command":"ls","cwd":"/","sessionKey":$key}"#),
    ("exec.approval.waitDecision", r#"{"id":$approval}"#),
    ("exec.approval.resolve", r#"{"id":$approval,"decision":$decision}"#),
    ("exec.approvals.list", "{}"),
    ("exec.approvals.remove", r#"{"id":$allowed}"#),
    ("models.list", "{}"),
    ("channels.status", "{}"),
    ("cron.add", r#"{"name":"j","schedule":$schedule,"payload":$payload}"#),
    (
        "cron.add",
        r#"{"name":"once","enabled":$bool,"deleteAfterRun":true,"missed":$missed,"schedule":$schedule,"payload":$payload}"#,
    ),
    ("cron.add", r#"{"name":"k","schedule":$schedule,"payload":$payload,"idempotencyKey":$once}"#),
    ("cron.update", r#"{"id":$job,"patch":{"schedule":$schedule,"name":$text}}"#),
    ("cron.update", r#"{"id":$job,"enabled":$bool,"missed":$missed,"payload":$payload}"#),
    ("cron.list", r#"{"includeDisabled":$bool,"limit":2}"#),
    ("cron.status", "{}"),
    ("cron.runs", r#"{"id":$job,"limit":3}"#),
    ("cron.run", r#"{"id":$job}"#),
    ("cron.run", r#"{"id":$job,"mode":"due"}"#),
    ("cron.run", r#"{"id":$job,"idempotencyKey":$once}"#),
    ("cron.remove", r#"{"id":$job}"#),
    ("cron.remove", r#"{"id":$job}"#),
];

/// When jobs come. What comes once comes a minute after the clock that the world begins with, or
/// an hour; a name's time zone has a change of clocks near.
pub(crate) const SCHEDULES: [&str; 8] = [
    r#"{"kind":"every","everyMs":1000}"#,
    r#"{"kind":"every","everyMs":60000}"#,
    r#"{"kind":"every","everyMs":3600000,"anchorMs":1795000000000}"#,
    r#"{"kind":"at","atMs":1795000060000}"#,
    r#"{"kind":"at","at":"2026-11-18T12:06:40Z"}"#,
    r#"{"kind":"cron","expr":"* * * * *"}"#,
    r#"{"kind":"cron","expr":"30 2 * * *","tz":"Europe/Berlin"}"#,
    r#"{"kind":"cron","expr":"0 0 29 2 *"}"#,
];
/// What jobs do.
pub(crate) const PAYLOADS: [&str; 6] = [
    r#"{"kind":"systemEvent","text":"hello"}"#,
    r#"{"kind":"agentTurn","agentId":"a1","message":"m"}"#,
    r#"{"kind":"agentTurn","sessionKey":"agent:a2:main","message":"m","timeoutSeconds":3}"#,
    r#"{"kind":"spawn","command":"p","reports":true,"timeoutMs":3000}"#,
    r#"{"kind":"spawn","command":"forbidden"}"#,
    r#"{"kind":"agentTurn","message":"for whom?"}"#,
];

const KEYS: [&str; 5] = ["a1:chat", "agent:a2:main", "a1:x", "b:1", "lonely"];
const COUNTS: [&str; 6] =
    ["0", "1", "1000", "9007199254740991", "9007199254740990", "4503599627370496"];

/// A request's method and parameters.
pub(super) fn read(world: &World, bytes: &mut Bytes<'_>) -> (&'static str, String) {
    let (method, params) = bytes.pick(&TABLE);
    (method, fill(params, |name| value(name, world, bytes)))
}

/// Puts a value where each `$name` stands.
pub(crate) fn fill(params: &str, mut value: impl FnMut(&str) -> String) -> String {
    let mut filled = String::new();
    let mut rest = params;
    while let Some((before, after)) = rest.split_once('$') {
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        filled.push_str(before);
        filled.push_str(&value(name));
        rest = after;
    }
    filled + rest
}

fn value(name: &str, world: &World, bytes: &mut Bytes<'_>) -> String {
    match name {
        "key" => quoted(bytes.pick(&KEYS)),
        "name" => quoted(bytes.pick(&["a1", "a2", "b"])),
        "device" => quoted(bytes.pick(&super::steps::DEVICES)),
        "pairing" | "allowed" | "job" => quoted(world.known(name, bytes)),
        // The id of the request that asked for it will do, too.
        "spawn" => match bytes.below(8) {
            0 => quoted(&format!("r{}", bytes.byte())),
            _ => quoted(world.known("spawn", bytes)),
        },
        // Both are chosen by who asks, if at all.
        "run" | "approval" => match bytes.below(8) {
            number @ 0..3 => quoted(&format!("{name}-{number}")),
            3 => "\"\"".to_owned(),
            _ => quoted(world.known(name, bytes)),
        },
        "state" => quoted(bytes.pick(&["final", "delta", "error", "aborted"])),
        "decision" => quoted(bytes.pick(&["allow-once", "allow-always", "deny"])),
        "schedule" => bytes.pick(&SCHEDULES).to_owned(),
        "payload" => bytes.pick(&PAYLOADS).to_owned(),
        "missed" => quoted(bytes.pick(&["skip", "run-once"])),
        "wait" => bytes.pick(&["0", "1", "500", "3000", "60000"]).to_owned(),
        "level" => quoted(bytes.pick(&["debug", "info", "warn", "error"])),
        "text" => quoted(bytes.pick(&["", "x", "\u{e9}", "some words"])),
        "long" => quoted(&"long ".repeat(bytes.below(200))),
        "once" => match bytes.below(4) {
            0 => "null".to_owned(),
            number => quoted(&format!("once-{number}")),
        },
        "count" => bytes.pick(&COUNTS).to_owned(),
        "cost" => bytes.pick(&["0", "0.1", "1e-9", "1000000000"]).to_owned(),
        "bool" => bytes.pick(&["true", "false"]).to_owned(),
        _ => (1 + bytes.below(9)).to_string(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}
