//! One of each thing that we send about runs and approvals.

use std::sync::Arc;

use openclaw_gateway::base::ids::{AgentName, AllowedId, ApprovalId, RunId, UserName};
use openclaw_gateway::protocol::approvals::{
    AllowedCommand, Approval, ApprovalReply, CommandAsked, Decision, Resolution,
};
use openclaw_gateway::protocol::event::Event;
use openclaw_gateway::protocol::reply::Reply;
use openclaw_gateway::protocol::run::{
    AgentRequest, ChatMessage, ChatRole, ChatUpdate, RequestKind, RunProgress, RunState, RunStep,
};
use openclaw_gateway::protocol::run_calls::{RunOutcome, RunProgressed, RunReply};

use crate::samples::{NOW, session};

fn run() -> RunId {
    RunId::new("8f14e45f")
}

fn request(kind: RequestKind, message: &str) -> AgentRequest {
    let is_message = kind == RequestKind::Message;
    AgentRequest {
        run: run(),
        session: session("agent1:chat"),
        kind,
        message: message.into(),
        model: is_message.then(|| "claude-opus-4".into()),
        label: None,
        attachments: is_message.then(|| {
            r#"[{"type":"image","mimeType":"image/png","fileName":"a.png","content":"iVBORw0KGgo="}]"#
                .into()
        }),
    }
}

fn chat(seq: u64, state: RunState, text: Option<&str>, error: Option<&str>) -> Event {
    let usage = (state == RunState::Final).then(|| r#"{"input":1200,"output":345}"#.into());
    Event::Chat(Arc::new(ChatUpdate {
        run: run(),
        session: session("agent1:chat"),
        seq,
        state,
        text: text.map(Into::into),
        usage,
        error: error.map(Into::into),
        at_ms: NOW,
    }))
}

fn progress(seq: u64, step: RunStep) -> Event {
    let (run, session) = (run(), session("agent1:chat"));
    Event::RunProgress(Arc::new(RunProgress { run, session, seq, step, at_ms: NOW }))
}

fn message(id: u64, role: ChatRole, content: &str) -> Arc<ChatMessage> {
    Arc::new(ChatMessage {
        id,
        session: session("agent1:chat"),
        run: run(),
        role,
        agent: AgentName::new("agent1"),
        user: UserName::new("default"),
        content: content.into(),
        at_ms: NOW,
    })
}

fn approval(resolution: Option<Resolution>) -> Arc<Approval> {
    Arc::new(Approval {
        id: ApprovalId::new("ap-1"),
        command: CommandAsked {
            command: "rm -r build".into(),
            cwd: Some("/srv/project".into()),
            host: Some("gateway".into()),
            resolved_path: Some("/usr/bin/rm".into()),
            agent: Some(AgentName::new("agent1")),
            session: Some(session("agent1:chat")),
        },
        created_at_ms: NOW,
        expires_at_ms: NOW + 120_000,
        resolution,
    })
}

fn decided() -> Arc<Approval> {
    let by = Some(UserName::new("ann"));
    approval(Some(Resolution { decision: Decision::AllowOnce, reason: None, by, at_ms: NOW }))
}

fn denied() -> Arc<Approval> {
    let reason = Some("nobody decided in time".into());
    approval(Some(Resolution { decision: Decision::Deny, reason, by: None, at_ms: NOW }))
}

/// The events.
pub(crate) fn run_events() -> Vec<Event> {
    vec![
        Event::AgentRequest(Box::new(request(RequestKind::Message, "Is the build green?"))),
        Event::AgentRequest(Box::new(request(RequestKind::Control, "abort"))),
        chat(2, RunState::Delta, Some("It is "), None),
        chat(4, RunState::Final, Some("It is green."), None),
        chat(4, RunState::Error, None, Some("no model answers")),
        chat(4, RunState::Aborted, None, Some("aborted")),
        Event::ChatMessage(message(NOW, ChatRole::Assistant, "It is green.")),
        progress(1, RunStep::Started),
        progress(2, RunStep::Said("It is ".into())),
        progress(4, RunStep::Ended { aborted: false }),
        progress(4, RunStep::Ended { aborted: true }),
        progress(4, RunStep::Failed("no model answers".into())),
        Event::ApprovalRequested(approval(None)),
        Event::ApprovalResolved(decided()),
    ]
}

fn outcome(state: RunState) -> RunOutcome {
    let is_final = state == RunState::Final;
    RunOutcome {
        run: run(),
        session: session("agent1:chat"),
        state,
        text: is_final.then(|| "It is green.".into()),
        error: (!is_final).then(|| "agent disconnected: agent1".into()),
        timed_out: false,
        usage: is_final.then(|| r#"{"input":1200,"output":345}"#.into()),
        started_at_ms: NOW,
        ended_at_ms: NOW + 2_500,
    }
}

/// The replies, with the ids of their requests.
pub(crate) fn run_replies() -> Vec<(&'static str, Reply)> {
    let open =
        |progressed| RunReply::Open { run: run(), session: session("agent1:chat"), progressed };
    let runs = [
        ("chat-1", open(RunProgressed::Started)),
        ("chat-1", open(RunProgressed::InFlight)),
        ("chat-1", RunReply::Ended(outcome(RunState::Final))),
        ("agent-1", RunReply::Accepted { run: run(), session: session("agent1:chat"), at_ms: NOW }),
        ("agent-1", RunReply::AgentEnded(outcome(RunState::Final))),
        ("agent-1", RunReply::AgentEnded(outcome(RunState::Error))),
        ("wait-1", RunReply::Waited(outcome(RunState::Final))),
        ("wait-1", RunReply::Waited(outcome(RunState::Error))),
        ("wait-1", RunReply::StillOpen { run: run(), started_at_ms: NOW }),
        (
            "history-1",
            RunReply::History {
                session: session("agent1:chat"),
                messages: vec![
                    message(NOW, ChatRole::User, "Is the build green?"),
                    message(NOW + 1, ChatRole::Assistant, "It is green."),
                ],
                has_more: false,
            },
        ),
        ("abort-1", RunReply::Aborting(vec![run()])),
        ("send-1", RunReply::Controlled(Box::new(request(RequestKind::Control, "pause")))),
    ];
    let allowed = AllowedCommand {
        id: AllowedId::new("al-5f2c8d1e0b7a4c3d9e6f102a3b4c5d6e"),
        agent: AgentName::new("agent1"),
        command: "make test".into(),
        cwd: Some("/srv/project".into()),
        host: None,
        by: UserName::new("ann"),
        created_at_ms: NOW,
    };
    let approvals = [
        ("approval-1", ApprovalReply::Decided(decided())),
        ("approval-1", ApprovalReply::Decided(denied())),
        ("approval-2", ApprovalReply::Accepted(approval(None))),
        ("resolve-1", ApprovalReply::Resolved(decided())),
        (
            "allowed-1",
            ApprovalReply::List {
                pending: vec![approval(None)],
                allowed: vec![Arc::new(allowed.clone())],
                truncated: false,
            },
        ),
        ("allowed-2", ApprovalReply::Removed { id: allowed.id, removed: true }),
    ];
    let runs = runs.map(|(id, reply)| (id, Reply::Runs(Box::new(reply))));
    let approvals = approvals.map(|(id, reply)| (id, Reply::Approvals(Box::new(reply))));
    runs.into_iter().chain(approvals).collect()
}
