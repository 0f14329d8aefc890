//! The disk of the simulated world: what is there after each change.

use openclaw_gateway::hub::records::{Change, DurableState};
use openclaw_gateway::protocol::cron::CronRun;

/// What the store makes of a change.
pub(crate) fn apply(disk: &mut DurableState, change: Change) {
    match change {
        Change::ReserveCursors(cursor) => disk.cursors_reserved = cursor,
        Change::AppendLog(record) => disk.journal.push(record),
        Change::TrimJournal(through) => {
            disk.trimmed_through = through;
            disk.journal.retain(|record| record.cursor > through);
        }
        Change::DeleteLogs(first, last) => {
            disk.journal.retain(|record| record.cursor < first || last < record.cursor);
        }
        Change::PutDevice(device) => {
            disk.devices.retain(|other| other.id != device.id);
            disk.devices.push(*device);
        }
        Change::DeleteDevice(id) => disk.devices.retain(|other| other.id != id),
        Change::PutToken(token) => {
            disk.tokens.retain(|other| other.hash != token.hash);
            disk.tokens.push(*token);
        }
        Change::DeleteToken(hash) => disk.tokens.retain(|other| other.hash != hash),
        Change::PutAnswer(answer) => {
            disk.answers.retain(|other| other.key != answer.key);
            disk.answers.push(*answer);
        }
        Change::DeleteAnswer(key) => disk.answers.retain(|other| other.key != key),
        Change::PutSession(session) => {
            disk.sessions.retain(|other| other.key != session.key);
            disk.sessions.push(session);
        }
        Change::DeleteSession(key) => disk.sessions.retain(|other| other.key != key),
        Change::PutAgent(agent) => {
            disk.agents.retain(|other| other.name != agent.name);
            disk.agents.push(agent);
        }
        Change::PutCronJob(_)
        | Change::DeleteCronJob(_)
        | Change::PutCronRun(_)
        | Change::DeleteCronRun(..) => apply_to_jobs(disk, change),
        Change::DeleteAgent(name) => disk.agents.retain(|other| other.name != name),
        Change::PutRun(run) => {
            disk.runs.retain(|other| other.id != run.id);
            disk.runs.push(run);
        }
        Change::DeleteRun(id) => disk.runs.retain(|other| other.id != id),
        Change::PutMessage(message) => {
            disk.messages.retain(|other| other.id != message.id);
            disk.messages.push(message);
        }
        Change::DeleteMessage(id) => disk.messages.retain(|other| other.id != id),
        Change::PutApproval(approval) => {
            disk.approvals.retain(|other| other.id != approval.id);
            disk.approvals.push(approval);
        }
        Change::DeleteApproval(id) => disk.approvals.retain(|other| other.id != id),
        Change::PutAllowed(command) => {
            disk.allowed.retain(|other| other.id != command.id);
            disk.allowed.push(command);
        }
        Change::DeleteAllowed(id) => disk.allowed.retain(|other| other.id != id),
        Change::PutSpawn(spawn) => {
            disk.spawns.retain(|other| other.id != spawn.id);
            disk.spawns.push(*spawn);
        }
        Change::DeleteSpawn(id) => disk.spawns.retain(|other| other.id != id),
    }
}

fn apply_to_jobs(disk: &mut DurableState, change: Change) {
    match change {
        Change::PutCronJob(job) => {
            disk.cron_jobs.retain(|other| other.id != job.id);
            disk.cron_jobs.push(*job);
        }
        Change::DeleteCronJob(id) => {
            disk.cron_jobs.retain(|other| other.id != id);
            disk.cron_runs.retain(|run| run.job != id);
        }
        Change::PutCronRun(run) => {
            disk.cron_runs.retain(|other| (&other.job, other.number) != (&run.job, run.number));
            disk.cron_runs.push(CronRun::clone(&run));
        }
        Change::DeleteCronRun(id, number) => {
            disk.cron_runs.retain(|other| (&other.job, other.number) != (&id, number));
        }
        other => panic!("no change of the schedule: {other:?}"),
    }
}
