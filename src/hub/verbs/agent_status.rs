//! `agent.status` and `agents.list`: what agents say about themselves.
//!
//! A status is seen at once and answered when on disk. That an agent is gone is said for it.

use std::sync::Arc;

use crate::base::ids::AgentName;
use crate::base::limits::AGENTS_MAX;
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::answers::Answer;
use crate::hub::effect::Effect;
use crate::hub::reports::{Asked, From};
use crate::protocol::agent_status::{AgentLine, AgentStatus};
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::event::Event;
use crate::protocol::reply::Reply;
use crate::protocol::request::AgentReport;

/// What is said for an agent whose last connection has ended.
const OFFLINE: &str = "offline";

impl Hub {
    pub(in crate::hub) fn agent_status(
        &mut self,
        now: Moment,
        from: From,
        report: AgentReport,
        effects: &mut Vec<Effect>,
    ) {
        let asked = Asked { from, method: "agent.status" };
        let idempotency = report.idempotency.clone();
        self.report(now, asked, idempotency, effects, |hub, effects| {
            hub.writable(0)?;
            let number = report.id.unwrap_or_default();
            let status = hub.agents.reported(report, now.unix_ms).map_err(|holder| {
                let message = format!("id {number} belongs to the agent {holder}");
                ProtocolError::new(ErrorCode::Conflict, message)
            })?;
            let status = Arc::new(status);
            hub.commits.touch_agent(&status.name, hub.agents.get(&status.name));
            if let Some(displaced) = hub.agents.put(Arc::clone(&status)) {
                hub.commits.touch_agent(&displaced.name, Some(&displaced));
            }
            effects.push(Effect::Broadcast(Event::AgentStatus(status)));
            Ok(Answer::Done)
        });
    }

    /// An agent's connection has ended, or its program. Its last word stays on record; that it is
    /// gone is told, when nothing of it is left.
    pub(in crate::hub) fn agent_left(
        &self,
        now: Moment,
        name: &AgentName,
        effects: &mut Vec<Effect>,
    ) {
        let is_there = self.clients.has_agent(name) || self.spawns.has_agent(name);
        if is_there || self.clients.is_empty() {
            return;
        }
        let Some(last) = self.agents.get(name).filter(|last| last.status != OFFLINE) else {
            return;
        };
        let status = AgentStatus {
            status: OFFLINE.to_owned(),
            last_seen_ms: now.unix_ms,
            ..AgentStatus::clone(last)
        };
        effects.push(Effect::Broadcast(Event::AgentStatus(Arc::new(status))));
    }

    /// Every agent that has said something or, up to `AGENTS_MAX` more, is connected; by name.
    pub(in crate::hub) fn agents_list(&self, now: Moment) -> Reply {
        let known = self.agents.iter().map(|status| AgentLine {
            connected: self.clients.has_agent(&status.name),
            status: AgentStatus::clone(status),
        });
        let silent = self.clients.agent_names().filter(|name| self.agents.get(name).is_none());
        let silent = silent.take(AGENTS_MAX).map(|name| AgentLine {
            status: AgentStatus {
                name: name.clone(),
                id: self.agents.id_of(name),
                status: String::new(),
                last_activity: None,
                last_seen_ms: now.unix_ms,
            },
            connected: true,
        });
        let mut lines: Vec<_> = known.chain(silent).collect();
        lines.sort_by(|a, b| a.status.name.cmp(&b.status.name));
        Reply::AgentsList(lines)
    }
}
