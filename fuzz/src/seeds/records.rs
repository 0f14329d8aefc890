//! One record of each kind, as it stands on the disk, and all of them together.

use openclaw_gateway::base::ids::{
    AgentName, AllowedId, ApprovalId, Cursor, DeviceId, JobId, RequestId, RunId, SessionKey,
    SpawnId, UserName,
};
use openclaw_gateway::hub::child::{ChildMarks, Exit};
use openclaw_gateway::hub::records::{
    AnswerKey, AnswerRecord, DeviceRecord, DeviceState, SpawnOrigin, SpawnRecord, TokenRecord,
};
use openclaw_gateway::hub::runs::record::{RunEnd, RunOrigin, RunRecord};
use openclaw_gateway::protocol::agent_status::AgentStatus;
use openclaw_gateway::protocol::approvals::{
    AllowedCommand, Approval, CommandAsked, Decision, Resolution,
};
use openclaw_gateway::protocol::cron::{
    CronJob, CronPayload, CronRun, JobState, Missed, RunStatus, Trigger,
};
use openclaw_gateway::protocol::device::PublicKey;
use openclaw_gateway::protocol::log_entry::{Level, LogDraft};
use openclaw_gateway::protocol::run::{ChatMessage, ChatRole, RunState};
use openclaw_gateway::protocol::run_calls::RunMethod;
use openclaw_gateway::protocol::schedule::ScheduleText;
use openclaw_gateway::protocol::scope::{Role, ScopeSet};
use openclaw_gateway::protocol::session::Session;
use openclaw_gateway::protocol::spawn::SpawnStatus;
use openclaw_gateway::shell::store::codec;
use serde::Serialize;

use super::super::records::SEPARATOR;
use super::prefixed;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut journal = Vec::new();
    let session = Some(SessionKey::new("a1:chat"));
    let draft = LogDraft::new(1_795_000_000_000, Level::Warn, "a1", session, "message");
    assert!(codec::encode(&draft, &mut journal));
    let device = DeviceRecord {
        id: DeviceId::new("d0"),
        public_key: PublicKey([7; 32]),
        state: DeviceState::Approved,
        user: UserName::new("default"),
        role: Role::Operator,
        scopes: ScopeSet::ALL,
        agent: Some(AgentName::new("a1")),
        display_name: Some("name".to_owned()),
        client_id: "ui".to_owned(),
        platform: "linux".to_owned(),
        address: [127, 0, 0, 1].into(),
        created_at_ms: 1_794_000_000_000,
        last_seen_ms: 1_795_000_000_000,
    };
    let token = TokenRecord {
        hash: [9; 32],
        device: device.id.clone(),
        role: Role::Operator,
        scopes: ScopeSet::READ,
        issued_at_ms: 1_794_999_000_000,
        expires_at_ms: 1_795_999_000_000,
    };
    let key = AnswerKey {
        user: UserName::new("default"),
        method: "logs.append".to_owned(),
        key: "once".to_owned(),
    };
    let answer = AnswerRecord {
        key,
        params_hash: [1; 32],
        answer: serde_json::json!({"first": 1, "last": 2}),
        expires_at_ms: 1_795_000_100_000,
    };
    let agent = AgentStatus {
        name: AgentName::new("a1"),
        id: 7,
        status: "busy".to_owned(),
        last_activity: Some("something".to_owned()),
        last_seen_ms: 1_795_000_000_000,
    };
    let [running, ended] = spawns();
    let seeds = [
        prefixed(b"j", journal),
        json(b'd', &device),
        json(b't', &token),
        json(b'a', &answer),
        json(b's', &Session::new(SessionKey::new("a1:chat"), 1_795_000_000_000)),
        json(b'g', &agent),
        json(b'p', &running),
        json(b'p', &ended),
        json(b'r', &run(None)),
        json(b'r', &run(Some(RunState::Final))),
        json(b'm', &message()),
        json(b'm', &ChatMessage { id: u64::MAX, ..message() }),
        json(b'q', &approval(None)),
        json(b'q', &approval(Some(Decision::AllowAlways))),
        json(b'w', &allowed()),
        json(b'c', &job()),
        json(b'h', &job_run(RunStatus::Running)),
        json(b'h', &CronRun { number: 6, count: 3, ..job_run(RunStatus::Missed) }),
    ];
    let mut all = seeds.to_vec();
    all.push(seeds.join(&SEPARATOR));
    all
}

/// One that runs, and one that has ended.
fn spawns() -> [SpawnRecord; 2] {
    let running = SpawnRecord {
        id: SpawnId::new("sp-0123456789abcdef"),
        origin: SpawnOrigin::Request { id: RequestId::new("1"), device: Some(DeviceId::new("d0")) },
        user: UserName::new("default"),
        agent: AgentName::new("a1"),
        session: SessionKey::new("a1:chat"),
        command: "p".to_owned(),
        label: Some("label".into()),
        status: SpawnStatus::Running,
        marks: Some(ChildMarks {
            pid: 7,
            boot_id: "boot".to_owned(),
            start_time: 1,
            cgroup: Some("openclaw.slice".to_owned()),
        }),
        created_at_ms: 1_795_000_000_000,
        started_at_ms: Some(1_795_000_000_001),
        ended_at_ms: None,
        exit: None,
        error: None,
        log_after: Cursor(0),
        log_through: None,
    };
    let ended = SpawnRecord {
        origin: SpawnOrigin::Run(RunId::new("run")),
        status: SpawnStatus::Failed,
        ended_at_ms: Some(1_795_000_000_002),
        exit: Some(Exit::Code(1)),
        error: Some("exited with code 1".to_owned()),
        log_through: Some(Cursor(1)),
        ..running.clone()
    };
    [running, ended]
}

fn run(ended: Option<RunState>) -> RunRecord {
    let end = ended.map(|state| RunEnd {
        state,
        text: Some("done".into()),
        error: None,
        timed_out: false,
        usage: Some(r#"{"tokens":1}"#.into()),
        at_ms: 1_795_000_000_002,
    });
    RunRecord {
        id: RunId::new("run"),
        user: UserName::new("default"),
        origin: RunOrigin::Request { method: RunMethod::Agent, params_hash: [1; 32] },
        agent: AgentName::new("a1"),
        session: SessionKey::new("a1:chat"),
        started_at_ms: 1_795_000_000_000,
        end,
    }
}

fn message() -> ChatMessage {
    ChatMessage {
        id: 1_795_000_000_000,
        session: SessionKey::new("a1:chat"),
        run: RunId::new("run"),
        role: ChatRole::Assistant,
        agent: AgentName::new("a1"),
        user: UserName::new("default"),
        content: "done".into(),
        at_ms: 1_795_000_000_002,
    }
}

fn approval(decision: Option<Decision>) -> Approval {
    let by = Some(UserName::new("default"));
    let resolution = decision.map(|decision| Resolution {
        decision,
        reason: None,
        by,
        at_ms: 1_795_000_000_002,
    });
    Approval {
        id: ApprovalId::new("ask"),
        command: CommandAsked {
            command: "rm".into(),
            cwd: Some("/".into()),
            host: None,
            resolved_path: Some("/bin/rm".into()),
            agent: Some(AgentName::new("a1")),
            session: Some(SessionKey::new("a1:chat")),
        },
        created_at_ms: 1_795_000_000_000,
        expires_at_ms: 1_795_000_120_000,
        resolution,
    }
}

fn allowed() -> AllowedCommand {
    AllowedCommand {
        id: AllowedId::new("al-0123456789abcdef0123456789abcdef"),
        agent: AgentName::new("a1"),
        command: "rm".into(),
        cwd: None,
        host: None,
        by: UserName::new("default"),
        created_at_ms: 1_795_000_000_000,
    }
}

/// Every minute, and its run goes on.
fn job() -> CronJob {
    CronJob {
        id: JobId::new("job"),
        user: UserName::new("default"),
        name: "name".into(),
        description: None,
        enabled: true,
        delete_after_run: false,
        schedule: ScheduleText::Cron { expr: "* * * * *".into(), tz: Some("Europe/Berlin".into()) },
        payload: CronPayload::SystemEvent { text: "text".into() },
        missed: Missed::RunOnce,
        created_at_ms: 1_794_999_000_000,
        updated_at_ms: 1_794_999_000_000,
        settled_through_ms: 1_794_999_960_000,
        last_number: 7,
        state: JobState { running_at_ms: Some(1_794_999_960_000), ..JobState::default() },
    }
}

fn job_run(status: RunStatus) -> CronRun {
    CronRun {
        job: JobId::new("job"),
        number: 7,
        trigger: Trigger::Schedule,
        status,
        occurrence_ms: 1_794_999_960_000,
        last_occurrence_ms: 1_794_999_960_000,
        count: 1,
        started_at_ms: Some(1_794_999_960_000),
        ended_at_ms: None,
        error: None,
        summary: None,
    }
}

/// A kind's letter, and the record.
fn json(kind: u8, record: &impl Serialize) -> Vec<u8> {
    prefixed(&[kind], serde_json::to_vec(record).expect("a record is JSON"))
}
