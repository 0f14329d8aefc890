//! The parameters of `events.publish` (`docs/protocol.md`, "events.publish").
//!
//! Owns which events a peer may publish and what is overwritten in them: an agent speaks only as
//! itself. The payload is encoded here, once, on the connection's thread. Called by `request`.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::base::limits::{LOG_EXTRA_DEPTH_MAX, PUBLISHED_BYTES_MAX};
use crate::protocol::event::PublishedKind;
use crate::protocol::fields::{Invalid, Object, decode};
use crate::protocol::json::push_str;
use crate::protocol::members::{self, Members};
use crate::protocol::readable;
use crate::protocol::request::{EventsPublish, Idempotency};
use crate::protocol::speaker::Speaker;

/// The known parameters.
pub(in crate::protocol) const PARAMS: [&str; 3] = ["event", "payload", "idempotencyKey"];

/// Members that say who speaks: always there, from the connection.
const SPEAKER: [&str; 2] = ["agentId", "source"];
/// Members that say who speaks, too: from the connection, where they are used.
const SPEAKER_IF_USED: [&str; 4] = ["agent", "agentName", "from_agent", "name"];
/// Members that name a session, which must be the speaker's own.
const SESSION: [&str; 4] = ["session", "sessionKey", "sessionId", "conversation_id"];

/// Reads the parameters. `agent` is the agent that reports; `None` for an operator,
/// whose payload is passed on as it is.
pub(in crate::protocol) fn read(
    params: &Object<'_, 3>,
    agent: Option<Speaker<'_>>,
    idempotency: Option<Idempotency>,
) -> Result<EventsPublish, Invalid> {
    let event = params.required("event", usize::MAX)?;
    let Some(kind) = PublishedKind::parse(&event) else {
        let names: Vec<_> = PublishedKind::ALL.iter().map(|kind| kind.name()).collect();
        let must = format!("must be one of {}", names.join(", "));
        return Err(params.invalid("event", must));
    };
    let json = params.raw("payload").map_or("", RawValue::get);
    if !json.starts_with('{') {
        return Err(params.invalid("payload", "must be an object"));
    }
    if PUBLISHED_BYTES_MAX < json.len() {
        let must = format!("must be at most {PUBLISHED_BYTES_MAX} bytes of JSON");
        return Err(params.invalid("payload", must));
    }
    let unreadable = |error| params.invalid("payload", format!("is not readable JSON: {error}"));
    readable::check(json, LOG_EXTRA_DEPTH_MAX).map_err(unreadable)?;
    let members = members::read(json).map_err(unreadable)?;
    let payload = write(kind, &members, agent)
        .map_err(|(name, must)| params.invalid("payload", format!("{name} {must}")))?;
    Ok(EventsPublish { kind, payload, idempotency })
}

/// The payload as it is passed on; the error names a member and what it must be.
fn write<'m>(
    kind: PublishedKind,
    members: &'m Members<'_>,
    agent: Option<Speaker<'_>>,
) -> Result<Arc<str>, (&'m str, String)> {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    let mut separator: &[u8] = b"";
    let mut member = |name: &str, value: &dyn Fn(&mut Vec<u8>)| {
        out.extend_from_slice(separator);
        separator = b",";
        push_str(&mut out, name);
        out.push(b':');
        value(&mut out);
    };
    for (name, raw) in members {
        let name = name.as_str();
        if let Some(agent) = agent {
            if SPEAKER.contains(&name) {
                continue;
            }
            if SPEAKER_IF_USED.contains(&name) && !(name == "name" && kind.names_a_tool()) {
                member(name, &|out| push_str(out, agent.agent.as_str()));
                continue;
            }
            if SESSION.contains(&name) && raw.get() != "null" {
                let key = decode(raw).map_err(|must| (name, must.to_owned()))?;
                agent.check(&key).map_err(|must| (name, must))?;
            }
        }
        member(name, &|out| out.extend_from_slice(readable::compact(raw.get()).as_bytes()));
    }
    if let Some(agent) = agent {
        for name in SPEAKER {
            member(name, &|out| push_str(out, agent.agent.as_str()));
        }
    }
    out.push(b'}');
    // Lossless: all of it was written from `str`.
    Ok(Arc::from(&*String::from_utf8_lossy(&out)))
}
