//! What a line of the audit file looks like (`docs/protocol.md`, "Audit"). Pure. Characters that could
//! steer a terminal are escaped, as in diagnostics.

use std::fmt::Display;

use crate::base::limits::AUDIT_VALUE_BYTES_MAX;
use crate::base::time::utc;
use crate::hub::audit::AuditEvent;
use crate::hub::effect::DiagnosticValue;
use crate::shell::diagnostics::push_quoted;

/// Who came by the control socket.
const OWNER: &str = "control socket";

/// An event: time, name, who, then what and why. With its end.
pub(super) fn event(event: &AuditEvent, unix_ms: u64) -> String {
    let mut line = Line::new(event.kind.name(), unix_ms);
    let actor = &event.actor;
    if let Some(conn) = actor.conn {
        line.text("conn", &conn.to_string());
    }
    match actor.address {
        _ if actor.is_owner => line.text("peer", OWNER),
        Some(address) => line.text("peer", &address.to_string()),
        None => {}
    }
    if let Some(device) = &actor.device {
        line.text("device", device.as_str());
    }
    if let Some(user) = &actor.user {
        line.text("user", user.as_str());
    }
    for (name, value) in &event.what {
        match value {
            DiagnosticValue::Text(text) => line.text(name, text),
            DiagnosticValue::Number(number) => line.value(name, number),
            DiagnosticValue::Bool(truth) => line.value(name, truth),
        }
    }
    line.end()
}

/// So many lines are missing before this one.
pub(super) fn lost(lines: u64, unix_ms: u64) -> String {
    let mut line = Line::new("audit.lost", unix_ms);
    line.value("lines", lines);
    line.end()
}

struct Line(String);

impl Line {
    fn new(event: &str, unix_ms: u64) -> Self {
        Self(format!(r#"{{"time":"{}","event":"{event}""#, utc(unix_ms)))
    }

    fn text(&mut self, name: &str, text: &str) {
        let end = text.floor_char_boundary(AUDIT_VALUE_BYTES_MAX);
        self.0.push_str(&format!(r#","{name}":"#));
        push_quoted(&mut self.0, &text[..end]);
    }

    fn value(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!(r#","{name}":{value}"#));
    }

    fn end(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}
