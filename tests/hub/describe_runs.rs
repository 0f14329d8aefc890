//! Runs and approvals in words.

use openclaw_gateway::protocol::approvals::{Approval, ApprovalReply};
use openclaw_gateway::protocol::event::Event;
use openclaw_gateway::protocol::run::{RequestKind, RunStep};
use openclaw_gateway::protocol::run_calls::{RunOutcome, RunReply};

pub(crate) fn describe_run_reply(reply: &RunReply) -> String {
    match reply {
        RunReply::Open { run, session, progressed } => {
            format!("{run} {progressed:?} in {session}")
        }
        RunReply::Ended(outcome) => format!("ended {}", describe_outcome(outcome)),
        RunReply::Accepted { run, session, .. } => format!("{run} accepted in {session}"),
        RunReply::AgentEnded(outcome) => format!("agent ended {}", describe_outcome(outcome)),
        RunReply::Waited(outcome) => format!("waited {}", describe_outcome(outcome)),
        RunReply::StillOpen { run, .. } => format!("{run} still open"),
        RunReply::History { session, messages, has_more } => {
            let lines: Vec<_> = messages
                .iter()
                .map(|message| format!("{}: {}", message.role.as_str(), message.content))
                .collect();
            let more = if *has_more { " and older" } else { "" };
            format!("history of {session} [{}]{more}", lines.join(", "))
        }
        RunReply::Aborting(runs) => {
            let runs: Vec<_> = runs.iter().map(ToString::to_string).collect();
            format!("aborting [{}]", runs.join(", "))
        }
        RunReply::Controlled(request) => format!("passed on {:?}", request.message),
    }
}

fn describe_outcome(outcome: &RunOutcome) -> String {
    let mut text = format!("{} {}", outcome.run, outcome.state.as_str());
    if let Some(said) = &outcome.text {
        text.push_str(&format!(" {said:?}"));
    }
    if let Some(error) = &outcome.error {
        text.push_str(&format!(" because {error:?}"));
    }
    if outcome.timed_out {
        text.push_str(" (timeout)");
    }
    text
}

pub(crate) fn describe_approval_reply(reply: &ApprovalReply) -> String {
    match reply {
        ApprovalReply::Accepted(approval) => format!("{} accepted", approval.id),
        ApprovalReply::Decided(approval) => format!("decided {}", describe_approval(approval)),
        ApprovalReply::Resolved(approval) => format!("resolved {}", describe_approval(approval)),
        ApprovalReply::List { pending, allowed, truncated } => {
            let pending: Vec<_> = pending.iter().map(|one| one.id.to_string()).collect();
            let allowed: Vec<_> = allowed
                .iter()
                .map(|one| {
                    let cwd = one.cwd.as_deref().unwrap_or("anywhere");
                    format!("{} {:?} in {cwd} by {}", one.agent, one.command, one.by)
                })
                .collect();
            let more = if *truncated { " and more" } else { "" };
            format!("pending [{}] allowed [{}]{more}", pending.join(", "), allowed.join(", "))
        }
        ApprovalReply::Removed { removed, .. } => format!("removed: {removed}"),
    }
}

fn describe_approval(approval: &Approval) -> String {
    let Some(resolution) = &approval.resolution else { return format!("{} open", approval.id) };
    let mut text = format!("{} {}", approval.id, resolution.decision.as_str());
    if let Some(reason) = &resolution.reason {
        text.push_str(&format!(" because {reason:?}"));
    }
    if let Some(by) = &resolution.by {
        text.push_str(&format!(" by {by}"));
    }
    text
}

/// An event of a run or of an approval: its kind and its words.
pub(crate) fn describe_run_event(event: &Event) -> (&'static str, String) {
    match event {
        Event::AgentRequest(request) => {
            let kind = match request.kind {
                RequestKind::Message => "asked",
                RequestKind::Control => "told",
            };
            let text =
                format!("{} {kind} {:?} in {}", request.run, request.message, request.session);
            ("AgentRequest", text)
        }
        Event::Chat(update) => {
            let mut text = format!("chat {} {} {}", update.run, update.seq, update.state.as_str());
            if let Some(said) = &update.text {
                text.push_str(&format!(" {said:?}"));
            }
            if let Some(error) = &update.error {
                text.push_str(&format!(" because {error:?}"));
            }
            ("Chat", text)
        }
        Event::ChatMessage(message) => {
            ("ChatMessage", format!("message {:?} of {}", message.content, message.agent))
        }
        Event::RunProgress(progress) => {
            let step = match &progress.step {
                RunStep::Started => "started".to_owned(),
                RunStep::Said(text) => format!("said {text:?}"),
                RunStep::Ended { aborted: false } => "ended".to_owned(),
                RunStep::Ended { aborted: true } => "given up".to_owned(),
                RunStep::Failed(error) => format!("failed: {error}"),
            };
            ("Progress", format!("agent {} {} {step}", progress.run, progress.seq))
        }
        Event::ApprovalRequested(approval) => {
            ("Approval", format!("requested {} {:?}", approval.id, approval.command.command))
        }
        Event::ApprovalResolved(approval) => ("Approval", describe_approval(approval)),
        other => ("Other", other.name().to_owned()),
    }
}
