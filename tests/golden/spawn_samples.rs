//! Spawns as the page shows them.

use std::sync::Arc;

use openclaw_gateway::base::ids::{AgentName, RequestId, SessionKey, SpawnId};
use openclaw_gateway::protocol::event::Event;
use openclaw_gateway::protocol::reply::Reply;
use openclaw_gateway::protocol::spawn::{Exit, SpawnLine, SpawnReply, SpawnShown, SpawnStatus};

use crate::samples::NOW;

fn running(request: &str, spawn: &str) -> SpawnShown {
    SpawnShown {
        spawn: SpawnId::new(spawn),
        request: RequestId::new(request),
        status: SpawnStatus::Running,
        pid: Some(12_345),
        completed_at_ms: None,
        exit: None,
        error: None,
    }
}

fn one() -> SpawnShown {
    running("spawn-1", "sp-90ab12cd34ef5678")
}

pub(crate) fn spawn_events() -> Vec<Event> {
    let (status, exit) = (SpawnStatus::Completed, Some(Exit::Code(0)));
    let completed = SpawnShown { status, completed_at_ms: Some(NOW), exit, ..one() };
    [one(), completed].map(|shown| Event::SpawnResult(Arc::new(shown))).into()
}

pub(crate) fn spawn_replies() -> Vec<(&'static str, Reply)> {
    let agent = SpawnId::new("sp-0123456789abcdef");
    let failed = SpawnShown {
        status: SpawnStatus::Failed,
        pid: None,
        error: Some("pyhton is not found in the gateway's PATH".to_owned()),
        ..running("spawn-2", "sp-fedcba9876543210")
    };
    let line = SpawnLine {
        shown: one(),
        command: "python".to_owned(),
        agent: AgentName::new("agent1"),
        session: SessionKey::new("agent1:chat"),
        label: None,
        created_at_ms: NOW,
        started_at_ms: Some(NOW + 4),
    };
    let template = SpawnReply::TemplateSpawned {
        shown: running("task-1", agent.as_str()),
        session: SessionKey::new(format!("agent1:{agent}")),
    };
    let session = SessionKey::new("agent1:chat");
    [
        ("spawn-1", SpawnReply::Spawned(one())),
        ("spawn-2", SpawnReply::Spawned(failed)),
        ("task-1", template),
        ("spawns-1", SpawnReply::List(vec![line])),
        ("cancel-1", SpawnReply::Cancelled(one())),
        ("kill-1", SpawnReply::SessionKilled { session, spawns: 1 }),
    ]
    .map(|(id, reply)| (id, Reply::Spawn(Box::new(reply))))
    .into()
}
