//! One answer of every kind about jobs, with the id of its request, and the event.

use std::sync::Arc;

use openclaw_gateway::base::ids::{JobId, UserName};
use openclaw_gateway::protocol::cron::{
    CronJob, CronNews, CronPayload, CronReply, CronRun, CronStatus, JobState, Missed, RunStatus,
    Trigger,
};
use openclaw_gateway::protocol::event::Event;
use openclaw_gateway::protocol::reply::Reply;
use openclaw_gateway::protocol::schedule::ScheduleText;

use crate::samples::NOW;

const JOB: &str = "job-1f2e3d4c5b6a7988";
const DAY_MS: u64 = 86_400_000;

fn id() -> JobId {
    JobId::new(JOB)
}

fn job() -> CronJob {
    CronJob {
        id: id(),
        user: UserName::new("default"),
        name: Arc::from("Stand-up"),
        description: None,
        enabled: true,
        delete_after_run: false,
        schedule: ScheduleText::Cron {
            expr: Arc::from("30 9 * * MON-FRI"),
            tz: Some(Arc::from("Europe/Berlin")),
        },
        payload: CronPayload::SystemEvent { text: Arc::from("Stand-up in five minutes") },
        missed: Missed::Skip,
        created_at_ms: NOW,
        updated_at_ms: NOW,
        settled_through_ms: NOW,
        last_number: 2,
        state: JobState {
            next_run_at_ms: Some(NOW + DAY_MS),
            running_at_ms: None,
            last_run_at_ms: Some(NOW),
            last_status: Some(RunStatus::Ok),
            last_error: None,
            last_duration_ms: Some(5),
            consecutive_errors: 0,
        },
    }
}

/// The same before its first run.
fn new_job() -> CronJob {
    let state = JobState { next_run_at_ms: Some(NOW + DAY_MS), ..JobState::default() };
    CronJob { last_number: 0, state, ..job() }
}

fn run() -> CronRun {
    CronRun {
        job: id(),
        number: 2,
        trigger: Trigger::Schedule,
        status: RunStatus::Ok,
        occurrence_ms: NOW,
        last_occurrence_ms: NOW,
        count: 1,
        started_at_ms: Some(NOW),
        ended_at_ms: Some(NOW + 5),
        error: None,
        summary: None,
    }
}

fn missed() -> CronRun {
    CronRun {
        number: 1,
        status: RunStatus::Missed,
        occurrence_ms: NOW - 2 * DAY_MS,
        last_occurrence_ms: NOW - DAY_MS,
        count: 2,
        started_at_ms: None,
        ended_at_ms: None,
        error: Some(Arc::from("the gateway was not running")),
        ..run()
    }
}

pub(crate) fn cron_event() -> Event {
    Event::Cron(Box::new(CronNews {
        action: "finished",
        job: id(),
        status: Some(RunStatus::Ok),
        run_at_ms: Some(NOW),
        next_run_at_ms: Some(NOW + DAY_MS),
        number: Some(2),
        error: None,
    }))
}

pub(crate) fn cron_replies() -> Vec<(&'static str, Reply)> {
    let status = CronStatus {
        enabled: true,
        jobs: 1,
        jobs_max: 500,
        running: 0,
        concurrent_max: 8,
        zone: "UTC".to_owned(),
        next_wake_at_ms: Some(NOW + DAY_MS),
    };
    [
        ("cron-list-1", CronReply::List { jobs: vec![Arc::new(job())], total: 1, offset: 0 }),
        ("cron-status-1", CronReply::Status(status)),
        ("cron-runs-1", CronReply::Runs(vec![Arc::new(run()), Arc::new(missed())])),
        ("cron-add-1", CronReply::Job(Arc::new(new_job()))),
        ("cron-remove-1", CronReply::Removed(id(), true)),
        ("cron-run-1", CronReply::Started(id(), 3)),
        ("cron-run-2", CronReply::NotStarted(id(), "already-running")),
    ]
    .into_iter()
    .map(|(id, reply)| (id, Reply::Cron(Box::new(reply))))
    .collect()
}
