//! Effects in words, where no name has to be remembered from line to line.

use std::fmt::Write as _;

use openclaw_gateway::hub::audit::AuditEvent;
use openclaw_gateway::hub::effect::{Diagnostic, DiagnosticValue};
use openclaw_gateway::hub::records::Change;
use openclaw_gateway::protocol::agent_status::AgentLine;
use openclaw_gateway::protocol::cron::{CronJob, CronNews, CronReply, CronRun};
use openclaw_gateway::protocol::devices::DeviceReply;
use openclaw_gateway::protocol::reply::Reply;
use openclaw_gateway::protocol::session::Session;
use openclaw_gateway::protocol::spawn::{SpawnReply, SpawnShown};

use crate::describe_runs::{describe_approval_reply, describe_run_reply};

pub(crate) fn describe_reply(reply: &Reply) -> String {
    match reply {
        Reply::Empty => "ok".to_owned(),
        Reply::LogsAppended { first, last } => format!("appended {}..={}", first.0, last.0),
        Reply::LogsTail(page) => {
            let cursors: Vec<_> = page.entries.iter().map(|e| e.cursor.0.to_string()).collect();
            let mut text = format!("entries [{}] cursor {}", cursors.join(" "), page.cursor.0);
            if page.truncated {
                text.push_str(" truncated");
            }
            if page.reset {
                text.push_str(" reset");
            }
            text
        }
        Reply::Status(status) => format!(
            "status {} operators {} agents {} entries, store {}",
            status.operators,
            status.agents,
            status.journal_entries,
            if status.store_healthy { "healthy" } else { "failing" }
        ),
        Reply::Presence(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|entry| match entry.rtt_micros {
                    Some(rtt) => format!("{} {rtt} us", entry.host),
                    None => entry.host.clone(),
                })
                .collect();
            format!("presence {}", entries.join(", "))
        }
        Reply::SessionsList(page) => {
            let rows: Vec<_> = page.rows.iter().map(|row| row.key.as_str()).collect();
            let more = if page.next.is_some() { " and more" } else { "" };
            format!("sessions [{}] of {}{more}", rows.join(" "), page.total)
        }
        Reply::SessionsGet { session, .. } => format!("session {}", describe_session(session)),
        Reply::SessionChanged { session, .. } => format!("changed {}", describe_session(session)),
        Reply::SessionDeleted { key, deleted } => format!("deleted {key}: {deleted}"),
        Reply::SessionsUsage { totals, .. } => format!(
            "{} sessions, {} tokens, {} messages, {} billionths",
            totals.sessions, totals.total_tokens, totals.message_count, totals.cost_nanos
        ),
        Reply::AgentsList(lines) => {
            let line = |line: &AgentLine| {
                let sign = if line.connected { '+' } else { '-' };
                format!("{sign}{} {} {:?}", line.status.name, line.status.id, line.status.status)
            };
            format!("agents {}", lines.iter().map(line).collect::<Vec<_>>().join(", "))
        }
        Reply::NodeList { agents, .. } => {
            let names: Vec<_> = agents.iter().filter_map(|entry| entry.agent.clone()).collect();
            format!("nodes [{}]", names.join(" "))
        }
        Reply::Config(config) => format!("config of {}", config.version),
        Reply::ChannelsStatus(_) => "no channels".to_owned(),
        Reply::ModelsList => "no models".to_owned(),
        Reply::LastHeartbeat(ts) => format!("last heartbeat {ts:?}"),
        Reply::Devices(reply) => describe_device_reply(reply),
        Reply::Cron(reply) => describe_cron_reply(reply),
        Reply::Runs(reply) => describe_run_reply(reply),
        Reply::Approvals(reply) => describe_approval_reply(reply),
        Reply::Spawn(reply) => describe_spawn_reply(reply),
    }
}

fn describe_cron_reply(reply: &CronReply) -> String {
    match reply {
        CronReply::List { jobs, total, .. } => {
            let jobs: Vec<_> = jobs.iter().map(|job| describe_job(job)).collect();
            format!("jobs [{}] of {total}", jobs.join(", "))
        }
        CronReply::Status(status) => {
            format!("cron {} jobs, {} running", status.jobs, status.running)
        }
        CronReply::Runs(runs) => {
            let runs: Vec<_> = runs.iter().map(|run| describe_run(run)).collect();
            format!("runs [{}]", runs.join(", "))
        }
        CronReply::Job(job) => format!("job {}", describe_job(job)),
        CronReply::Removed(_, removed) => format!("removed: {removed}"),
        CronReply::Started(_, number) => format!("started {number}"),
        CronReply::NotStarted(_, reason) => format!("not started: {reason}"),
    }
}

/// A job by its name and how it stands.
pub(crate) fn describe_job(job: &CronJob) -> String {
    let state = &job.state;
    let mut text = format!("{}{}", if job.enabled { "" } else { "-" }, job.name);
    if let Some(status) = state.last_status {
        write!(text, " {}", status.as_str()).unwrap();
    }
    if state.consecutive_errors > 0 {
        write!(text, " {} errors", state.consecutive_errors).unwrap();
    }
    match state.next_run_at_ms {
        Some(at_ms) => write!(text, " next {}", at(at_ms)).unwrap(),
        None => text.push_str(" never"),
    }
    text
}

/// A run: its number, status, trigger if unusual, occurrence, and how many stand together.
pub(crate) fn describe_run(run: &CronRun) -> String {
    let mut text = format!("#{} {} {}", run.number, run.status.as_str(), at(run.occurrence_ms));
    if run.count > 1 {
        write!(text, " to {} x{}", at(run.last_occurrence_ms), run.count).unwrap();
    }
    if run.trigger.as_str() != "schedule" {
        write!(text, " {}", run.trigger.as_str()).unwrap();
    }
    if let Some(error) = &run.error {
        write!(text, " ({error})").unwrap();
    }
    text
}

pub(crate) fn describe_news(news: &CronNews) -> String {
    let mut text = format!("cron {}", news.action);
    if let Some(number) = news.number {
        write!(text, " #{number}").unwrap();
    }
    if let Some(status) = news.status {
        write!(text, " {}", status.as_str()).unwrap();
    }
    if let Some(run_at_ms) = news.run_at_ms {
        write!(text, " at {}", at(run_at_ms)).unwrap();
    }
    if let Some(error) = &news.error {
        write!(text, " ({error})").unwrap();
    }
    if let Some(next) = news.next_run_at_ms {
        write!(text, " next {}", at(next)).unwrap();
    }
    text
}

/// A moment in seconds since the simulation began, in words if it is long ago or far ahead.
pub(crate) fn at(unix_ms: u64) -> String {
    let since = unix_ms.cast_signed() - 1_795_000_000_000;
    if since.abs() < 100_000_000 {
        format!("{}s", since as f64 / 1_000.0)
    } else {
        openclaw_gateway::base::time::utc(unix_ms)
    }
}

fn describe_spawn_reply(reply: &SpawnReply) -> String {
    match reply {
        SpawnReply::Spawned(shown) => format!("spawned {}", describe_spawn(shown)),
        SpawnReply::TemplateSpawned { shown, session } => {
            format!("spawned {} in {session}", describe_spawn(shown))
        }
        SpawnReply::Cancelled(shown) => format!("cancelling {}", describe_spawn(shown)),
        SpawnReply::SessionKilled { session, spawns } => format!("killing {spawns} of {session}"),
        SpawnReply::List(lines) => {
            let lines: Vec<_> = lines.iter().map(|line| describe_spawn(&line.shown)).collect();
            format!("spawns [{}]", lines.join("; "))
        }
    }
}

pub(crate) fn describe_spawn(shown: &SpawnShown) -> String {
    let mut text = format!("{} {} {}", shown.request, shown.spawn, shown.status);
    if let Some(pid) = shown.pid {
        write!(text, " pid {pid}").unwrap();
    }
    if let Some(exit) = shown.exit {
        write!(text, " {exit:?}").unwrap();
    }
    if let Some(error) = &shown.error {
        write!(text, " {error:?}").unwrap();
    }
    text
}

fn describe_device_reply(reply: &DeviceReply) -> String {
    match reply {
        DeviceReply::List(list) => {
            let pending: Vec<_> =
                list.pending.iter().filter_map(|pairing| pairing["deviceId"].as_str()).collect();
            let devices: Vec<_> = list
                .devices
                .iter()
                .map(|device| {
                    let state = if device.is_revoked { "revoked" } else { "approved" };
                    let here = if device.is_connected { " here" } else { "" };
                    format!("{} {state}{here} {} tokens", device.id, device.tokens.len())
                })
                .collect();
            format!("pending [{}] devices [{}]", pending.join(", "), devices.join(", "))
        }
        DeviceReply::Approved { device, .. } => {
            format!("approved {} {} [{}]", device.id, device.role, device.scopes)
        }
        DeviceReply::Rejected { device, .. } => format!("rejected {device}"),
        DeviceReply::Removed { device, .. } => format!("removed {device}"),
        DeviceReply::Forgotten(device) => format!("forgotten {device}"),
        DeviceReply::Code { code, .. } => format!("code of {}", code.expose().len()),
        DeviceReply::Rotated { device, role, bearer, .. } => {
            let given = if bearer.is_some() { "given" } else { "kept" };
            format!("rotated {device} {role}, token {given}")
        }
        DeviceReply::TokensRevoked { device, role, .. } => {
            format!("tokens of {device} {role} revoked")
        }
        DeviceReply::RateLimitCleared(count) => format!("cleared {count}"),
    }
}

/// A session by its sums: `a1:s in+out=total tokens, messages, billionths`.
pub(crate) fn describe_session(session: &Session) -> String {
    let Session { key, input_tokens, output_tokens, total_tokens, message_count, cost, .. } =
        session;
    format!("{key} {input_tokens}+{output_tokens}={total_tokens}, {message_count}, {}", cost.0)
}

pub(crate) fn describe_change(change: &Change) -> String {
    match change {
        Change::ReserveCursors(cursor) => format!("reserve {}", cursor.0),
        Change::AppendLog(record) => format!("append {}", record.cursor.0),
        Change::TrimJournal(cursor) => format!("trim {}", cursor.0),
        Change::DeleteLogs(first, last) => format!("delete logs {} to {}", first.0, last.0),
        Change::PutDevice(device) => format!("put device {}", device.id),
        Change::DeleteDevice(id) => format!("delete device {id}"),
        Change::PutToken(token) => format!("put token of {}", token.device),
        Change::DeleteToken(_) => "delete token".to_owned(),
        Change::PutAnswer(answer) => format!("put answer {}", answer.key.key),
        Change::DeleteAnswer(key) => format!("delete answer {}", key.key),
        Change::PutSession(session) => format!("put session {}", describe_session(session)),
        Change::DeleteSession(key) => format!("delete session {key}"),
        Change::PutAgent(agent) => format!("put agent {}", agent.name),
        Change::PutSpawn(spawn) => format!("put spawn {} {}", spawn.id, spawn.status),
        Change::DeleteSpawn(id) => format!("delete spawn {id}"),
        Change::DeleteAgent(name) => format!("delete agent {name}"),
        Change::PutCronJob(job) => format!("put job {}", describe_job(job)),
        Change::DeleteCronJob(_) => "delete job".to_owned(),
        Change::PutCronRun(run) => format!("put run {}", describe_run(run)),
        Change::DeleteCronRun(_, number) => format!("delete run #{number}"),
        Change::PutRun(run) => {
            let end = run.end.as_ref().map_or("open", |end| end.state.as_str());
            format!("put run {} {end}", run.id)
        }
        Change::DeleteRun(id) => format!("delete run {id}"),
        Change::PutMessage(message) => format!("put message {:?}", message.content),
        Change::DeleteMessage(_) => "delete message".to_owned(),
        Change::PutApproval(approval) => format!("put approval {}", approval.id),
        Change::DeleteApproval(id) => format!("delete approval {id}"),
        Change::PutAllowed(command) => format!("put allowed {:?}", command.command),
        Change::DeleteAllowed(id) => format!("delete allowed {id}"),
    }
}

pub(crate) fn describe_diagnostic(line: &Diagnostic) -> String {
    format!("{} {:?}{}", line.level, line.msg, describe_members(&line.fields))
}

pub(crate) fn describe_audit(event: &AuditEvent) -> String {
    let actor = &event.actor;
    let mut text = event.kind.name().to_owned();
    if let Some(conn) = actor.conn {
        write!(text, " {conn}").unwrap();
    }
    if let Some(address) = actor.address {
        write!(text, " at {address}").unwrap();
    }
    if actor.is_owner {
        text.push_str(" owner");
    }
    if let Some(device) = &actor.device {
        write!(text, " device {device}").unwrap();
    }
    if let Some(user) = &actor.user {
        write!(text, " of {user}").unwrap();
    }
    text + ":" + &describe_members(&event.what)
}

fn describe_members(members: &[(&'static str, DiagnosticValue)]) -> String {
    let mut text = String::new();
    for (name, value) in members {
        match value {
            DiagnosticValue::Text(value) => write!(text, " {name}={value}").unwrap(),
            DiagnosticValue::Number(value) => write!(text, " {name}={value}").unwrap(),
            DiagnosticValue::Bool(value) => write!(text, " {name}={value}").unwrap(),
        }
    }
    text
}
