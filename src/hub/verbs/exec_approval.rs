//! `exec.approval.*` and `exec.approvals.*`: agents ask before they run something, people decide.
//!
//! Owns when a request is decided without asking: because the same was always allowed, because
//! nobody is there who could decide, because its time is over, or because who asked is gone
//! (`docs/protocol.md`, "Approvals").

use std::sync::Arc;

use crate::base::ids::{AllowedId, ApprovalId, ConnId, RequestId};
use crate::base::limits::{ECHO_CHARS_MAX, RUN_RETRY_AFTER, RUN_WAITERS_MAX};
use crate::base::time::{Moment, millis};
use crate::hub::approvals::{Waiter, denied};
use crate::hub::audit::{Actor, AuditKind, audit, text};
use crate::hub::commits;
use crate::hub::effect::{DiagnosticValue, Effect};
use crate::hub::policy::WithoutApprover;
use crate::hub::{Hub, refusals};
use crate::protocol::approvals::{
    Approval, ApprovalAsk, ApprovalReply, ApprovalRequest, Decision, Resolution,
};
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::event::Event;
use crate::protocol::reply::Reply;
use crate::protocol::safe_text::echo;
use crate::protocol::scope::{Role, ScopeSet};

/// What becomes of a request.
enum Outcome {
    Now(ApprovalReply),
    /// When everything so far is on disk.
    Stored(ApprovalReply),
    Later,
}

impl Hub {
    /// Answers a request of this family.
    pub(in crate::hub) fn approval_request(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        request: ApprovalRequest,
        effects: &mut Vec<Effect>,
    ) {
        let outcome = match request {
            ApprovalRequest::Request(ask) => self.approval_asked(now, conn, &id, ask, effects),
            ApprovalRequest::WaitDecision(approval) => self.wait_decision(conn, &id, &approval),
            ApprovalRequest::Resolve { id, decision } => {
                self.approval_resolve(now, conn, &id, decision, effects)
            }
            ApprovalRequest::List => {
                let (pending, allowed, truncated) = self.approvals.list();
                Ok(Outcome::Now(ApprovalReply::List { pending, allowed, truncated }))
            }
            ApprovalRequest::Remove(allowed) => Ok(Outcome::Stored(self.disallow(allowed))),
        };
        let result = match outcome {
            Ok(Outcome::Later) => return,
            Ok(Outcome::Stored(reply)) if self.commits.is_healthy() => {
                let reply = Reply::Approvals(Box::new(reply));
                return self.commits.wait(commits::Waiter::Reply { conn, id, reply });
            }
            Ok(Outcome::Stored(_)) => Err(refusals::stored_later()),
            Ok(Outcome::Now(reply)) => Ok(Reply::Approvals(Box::new(reply))),
            Err(error) => Err(error),
        };
        self.respond(conn, id, result.map_err(Box::new), effects);
    }

    fn approval_asked(
        &mut self,
        now: Moment,
        conn: ConnId,
        request: &RequestId,
        ask: ApprovalAsk,
        effects: &mut Vec<Effect>,
    ) -> Result<Outcome, ProtocolError> {
        if let Some(known) = ask.id.as_ref().and_then(|id| self.approvals.get(id)) {
            if known.command != ask.command {
                let message = "this id was used for another request for approval";
                return Err(ProtocolError::new(ErrorCode::Conflict, message));
            }
            let known = Arc::clone(known);
            return self.await_decision(conn, request, known, ask.two_phase, effects);
        }
        let timeout = ask.timeout.unwrap_or(self.policy.approvals.timeout);
        let fallback = || ApprovalId::new(format!("ap-{}", self.entropy.hex_128()));
        let mut approval = Approval {
            id: ask.id.unwrap_or_else(fallback),
            command: ask.command,
            created_at_ms: now.unix_ms,
            expires_at_ms: now.after(timeout).unix_ms,
            resolution: None,
        };
        if let Some(resolution) = self.decided_without_asking(now, &approval) {
            approval.resolution = Some(resolution);
            let what = resolution_members(&approval);
            effects.push(audit(AuditKind::ApprovalResolved, self.actor(conn), what));
            return Ok(Outcome::Now(ApprovalReply::Decided(Arc::new(approval))));
        }
        self.writable(approval.command.bytes())?;
        if let Some(lack) = self.approvals.lack_of_room(approval.command.agent.as_ref()) {
            let error = ProtocolError::new(ErrorCode::ResourceExhausted, lack);
            return Err(error.retry_after(millis(RUN_RETRY_AFTER)));
        }
        if !ask.two_phase {
            self.check_waits(conn)?;
        }
        let approval = Arc::new(approval);
        let due = now.at + timeout;
        if let Some(forgotten) = self.approvals.insert(Arc::clone(&approval), conn, due) {
            self.commits.mark_approval(forgotten);
        }
        self.commits.mark_approval(approval.id.clone());
        effects.push(Effect::Broadcast(Event::ApprovalRequested(Arc::clone(&approval))));
        let what = approval_members(&approval);
        effects.push(audit(AuditKind::ApprovalRequested, self.actor(conn), what));
        self.await_decision(conn, request, approval, ask.two_phase, effects)
    }

    /// What is decided before anybody is asked.
    fn decided_without_asking(&self, now: Moment, approval: &Approval) -> Option<Resolution> {
        if let Some(allowed) = self.approvals.allowing(&approval.command) {
            return Some(Resolution {
                decision: Decision::AllowAlways,
                reason: Some("always allowed".into()),
                by: Some(allowed.by.clone()),
                at_ms: now.unix_ms,
            });
        }
        let denies = self.policy.approvals.without_approver == WithoutApprover::Deny;
        (denies && !self.has_approver()).then(|| {
            denied("no approver is connected (gateway.approvals.withoutApprover is \"deny\")", now)
        })
    }

    fn has_approver(&self) -> bool {
        self.clients.iter().any(|(_, client)| {
            let grant = &client.grant;
            !client.closing
                && grant.role == Role::Operator
                && grant.scopes.contains(ScopeSet::APPROVALS)
        })
    }

    fn wait_decision(
        &mut self,
        conn: ConnId,
        request: &RequestId,
        id: &ApprovalId,
    ) -> Result<Outcome, ProtocolError> {
        let agent = self.clients.get(conn).and_then(|client| client.grant.agent.as_ref());
        // Another agent's request is none of this agent's business.
        let known = self
            .approvals
            .get(id)
            .filter(|known| agent.is_none() || known.command.agent.as_ref() == agent)
            .cloned()
            .ok_or_else(|| no_such_approval(id))?;
        self.await_decision(conn, request, known, false, &mut Vec::new())
    }

    /// Answers with the decision, now or when it is made.
    fn await_decision(
        &mut self,
        conn: ConnId,
        request: &RequestId,
        approval: Arc<Approval>,
        two_phase: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<Outcome, ProtocolError> {
        if let Some(decided) = self.approvals.decision(&approval.id) {
            return Ok(Outcome::Now(ApprovalReply::Decided(Arc::clone(decided))));
        }
        if !two_phase {
            self.begin_wait(conn)?;
        }
        let waiter = Waiter { conn, id: request.clone(), again: two_phase };
        if !self.approvals.wait(&approval.id, waiter, RUN_WAITERS_MAX) {
            if !two_phase {
                self.clients.waited(conn);
            }
            let error = "too many requests wait for this decision";
            let error = ProtocolError::new(ErrorCode::ResourceExhausted, error);
            return Err(error.retry_after(millis(RUN_RETRY_AFTER)));
        }
        if two_phase {
            let reply = Reply::Approvals(Box::new(ApprovalReply::Accepted(approval)));
            self.respond(conn, request.clone(), Ok(reply), effects);
        }
        Ok(Outcome::Later)
    }

    fn approval_resolve(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: &ApprovalId,
        decision: Decision,
        effects: &mut Vec<Effect>,
    ) -> Result<Outcome, ProtocolError> {
        let known = self.approvals.get(id).ok_or_else(|| no_such_approval(id))?;
        if let Some(resolution) = &known.resolution {
            if resolution.decision == decision && resolution.by.is_some() {
                return Ok(Outcome::Stored(ApprovalReply::Resolved(Arc::clone(known))));
            }
            let why = resolution.reason.as_deref().map(|reason| format!(", because {reason}"));
            let was = resolution.decision.as_str();
            let message = format!("already decided: {was}{}", why.unwrap_or_default());
            return Err(ProtocolError::new(ErrorCode::Conflict, message));
        }
        let allows = decision == Decision::AllowAlways && known.command.agent.is_some();
        if allows && !self.approvals.has_room_to_allow() {
            let message = "too many commands are always allowed; allow this one once, or withdraw \
                           others with exec.approvals.remove";
            return Err(ProtocolError::new(ErrorCode::ResourceExhausted, message));
        }
        let Some(client) = self.clients.get(conn) else { return Ok(Outcome::Later) };
        let by = Some(client.grant.user.clone());
        let resolution = Resolution { decision, reason: None, by, at_ms: now.unix_ms };
        let decided = self.decide_approval(now, id, resolution, self.actor(conn), effects);
        let decided = decided.ok_or_else(|| no_such_approval(id))?;
        if allows && let Some(allowed) = self.approvals.allow(now, &decided) {
            self.commits.mark_allowed(allowed);
        }
        Ok(Outcome::Stored(ApprovalReply::Resolved(decided)))
    }

    /// Ends an open request and tells everybody; those who wait are answered once it is on disk.
    fn decide_approval(
        &mut self,
        now: Moment,
        id: &ApprovalId,
        resolution: Resolution,
        by: Actor,
        effects: &mut Vec<Effect>,
    ) -> Option<Arc<Approval>> {
        let decided = self.approvals.resolve(now, id, resolution)?;
        self.commits.mark_approval(id.clone());
        effects.push(Effect::Broadcast(Event::ApprovalResolved(Arc::clone(&decided))));
        effects.push(audit(AuditKind::ApprovalResolved, by, resolution_members(&decided)));
        if self.commits.is_healthy() {
            self.commits.wait(commits::Waiter::Decision(id.clone()));
        } else {
            self.decision_told(id, effects);
        }
        Some(decided)
    }

    /// A decision is as durable as it will be: everyone who waits is answered.
    pub(in crate::hub) fn decision_told(&mut self, id: &ApprovalId, effects: &mut Vec<Effect>) {
        let Some((decided, waiters)) = self.approvals.tell(id) else { return };
        for Waiter { conn, id, again } in waiters {
            let reply = Reply::Approvals(Box::new(ApprovalReply::Decided(Arc::clone(&decided))));
            if again {
                self.respond_again(conn, id, reply, effects);
            } else {
                self.clients.waited(conn);
                self.respond(conn, id, Ok(reply), effects);
            }
        }
    }

    /// Ends the requests whose time is over.
    pub(in crate::hub) fn expire_approvals(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let mut forgotten = Vec::new();
        while let Some(id) = self.approvals.expire(now.at, &mut forgotten) {
            let reason = if self.has_approver() {
                "nobody decided in time"
            } else {
                "nobody decided in time, and no approver is connected"
            };
            self.decide_approval(now, &id, denied(reason, now), Actor::default(), effects);
        }
        for id in forgotten {
            self.commits.lazily(crate::hub::records::Change::DeleteApproval(id));
        }
    }

    /// A connection is gone: what it asked for is denied.
    pub(in crate::hub) fn approvals_left(
        &mut self,
        now: Moment,
        conn: ConnId,
        effects: &mut Vec<Effect>,
    ) {
        let reason = if self.stopping.is_some() {
            "the gateway was stopped"
        } else {
            "who asked has disconnected"
        };
        for id in self.approvals.of(conn) {
            self.decide_approval(now, &id, denied(reason, now), Actor::default(), effects);
        }
    }

    fn disallow(&mut self, id: AllowedId) -> ApprovalReply {
        let removed = self.approvals.withdraw(&id);
        if removed {
            self.commits.mark_allowed(id.clone());
        }
        ApprovalReply::Removed { id, removed }
    }
}

/// What an audit line says of a request. Not the command itself, which may hold a secret: the
/// program that it comes to, if the agent named that.
fn approval_members(approval: &Approval) -> Vec<(&'static str, DiagnosticValue)> {
    let command = &approval.command;
    let mut members = vec![text("approval", &approval.id)];
    members.extend(command.agent.as_ref().map(|agent| text("agent", agent)));
    members.extend(command.session.as_ref().map(|session| text("session", session)));
    let program = command.resolved_path.as_deref().map(|path| echo(path, ECHO_CHARS_MAX));
    members.extend(program.map(|program| text("program", program)));
    members
}

/// The same with how it was decided.
fn resolution_members(approval: &Approval) -> Vec<(&'static str, DiagnosticValue)> {
    let mut members = approval_members(approval);
    if let Some(resolution) = &approval.resolution {
        members.push(text("decision", resolution.decision.as_str()));
        members.extend(resolution.reason.as_deref().map(|reason| text("reason", reason)));
    }
    members
}

fn no_such_approval(id: &ApprovalId) -> ProtocolError {
    let id = echo(id.as_str(), ECHO_CHARS_MAX);
    ProtocolError::new(ErrorCode::NotFound, format!("no such request for approval: {id}"))
}
