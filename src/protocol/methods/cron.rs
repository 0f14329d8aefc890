//! The parameters of `cron.*` (`docs/protocol.md`, "Cron").
//!
//! Reads and checks only, also that a schedule can be computed and will come; the jobs are the
//! hub's. Takes the forms that public clients send: `jobId` for `id`, changes in `patch` or beside
//! it, a payload without `kind`, the agent or its session outside of the payload.
//! Called by `request`.

use std::sync::Arc;

use crate::base::ids::{AgentName, JobId, SessionKey};
use crate::base::limits::{
    AGENT_NAME_BYTES_MAX, CLIENT_TEXT_BYTES_MAX, COUNT_MAX, CRON_DESCRIPTION_BYTES_MAX,
    CRON_EVERY_MS_MAX, CRON_EVERY_MS_MIN, CRON_EXPRESSION_BYTES_MAX, CRON_LIST_LIMIT_DEFAULT,
    CRON_LIST_LIMIT_MAX, CRON_MOMENT_BYTES_MAX, CRON_NAME_BYTES_MAX, CRON_PAYLOAD_BYTES_MAX,
    CRON_RUNS_PER_JOB_MAX, CRON_ZONE_BYTES_MAX, SESSION_KEY_BYTES_MAX, SESSION_TEXT_BYTES_MAX,
};
use crate::base::time::UTC_MS_MAX;
use crate::protocol::cron::{
    CronList, CronMethod, CronPayload, CronRequest, CronSpawn, JobPatch, Missed, NewJob,
};
use crate::protocol::fields::{Invalid, Object, Place};
use crate::protocol::methods::session_key::{self, printable};
use crate::protocol::methods::spawn::read_program;
use crate::protocol::request::Idempotency;
use crate::protocol::schedule::{Expression, Schedule, Zone, parse_moment};
use crate::protocol::spawn::SpawnAsk;
use crate::protocol::speaker::Speaker;

/// The known parameters of all of them; each ignores those of the others.
pub(in crate::protocol) const PARAMS: [&str; 18] = [
    "id",
    "jobId",
    "name",
    "description",
    "enabled",
    "deleteAfterRun",
    "schedule",
    "payload",
    "missed",
    "agentId",
    "sessionKey",
    "sessionTarget",
    "patch",
    "includeDisabled",
    "limit",
    "offset",
    "mode",
    "idempotencyKey",
];
/// A schedule's members.
const SCHEDULE: [&str; 7] = ["kind", "at", "atMs", "everyMs", "anchorMs", "expr", "tz"];
/// A payload's members.
const PAYLOAD: [&str; 15] = [
    "kind",
    "text",
    "message",
    "agentId",
    "sessionKey",
    "model",
    "timeoutSeconds",
    "timeoutMs",
    "command",
    "args",
    "env",
    "cwd",
    "stdin",
    "session",
    "reports",
];

type Params<'a> = Object<'a, 18>;

/// Reads the parameters of `method`; `idempotency` counts where a repetition would do more.
pub(in crate::protocol) fn read(
    method: CronMethod,
    (params, idempotency): (Params<'_>, Option<Idempotency>),
    now_ms: u64,
) -> Result<CronRequest, Invalid> {
    let params = &params;
    Ok(match method {
        CronMethod::Status => CronRequest::Status,
        CronMethod::List => CronRequest::List(CronList {
            include_disabled: params.bool("includeDisabled")?.unwrap_or(true),
            limit: limit(params, CRON_LIST_LIMIT_DEFAULT, CRON_LIST_LIMIT_MAX)?,
            offset: params.u64("offset")?.map_or(0, saturated),
        }),
        CronMethod::Runs => CronRequest::Runs {
            job: job_id(params)?,
            limit: limit(params, CRON_RUNS_PER_JOB_MAX, CRON_RUNS_PER_JOB_MAX)?,
        },
        CronMethod::Add => CronRequest::Add(Box::new(new_job(params, idempotency, now_ms)?)),
        CronMethod::Update => {
            let job = job_id(params)?;
            let changes = match params.raw("patch") {
                Some(raw) => {
                    let changes = Object::read(Place::In("patch"), &PARAMS, raw)?;
                    patch(&changes, Names::PATCH, now_ms)?
                }
                None => patch(params, Names::ROOT, now_ms)?,
            };
            CronRequest::Update(job, Box::new(changes))
        }
        CronMethod::Remove => CronRequest::Remove(job_id(params)?),
        CronMethod::Run => {
            let mode = params.string("mode", CLIENT_TEXT_BYTES_MAX)?;
            let only_if_due = match mode.as_deref() {
                None | Some("force") => false,
                Some("due") => true,
                Some(_) => return Err(params.invalid("mode", "must be force or due")),
            };
            CronRequest::Run { job: job_id(params)?, only_if_due, idempotency }
        }
    })
}

/// Where the two objects in a job stand, for errors.
#[derive(Clone, Copy)]
struct Names {
    schedule: &'static str,
    payload: &'static str,
}

impl Names {
    const ROOT: Self = Self { schedule: "schedule", payload: "payload" };
    const PATCH: Self = Self { schedule: "patch.schedule", payload: "patch.payload" };
}

fn job_id(params: &Params<'_>) -> Result<JobId, Invalid> {
    let text = |name| params.string(name, CLIENT_TEXT_BYTES_MAX);
    let id = text("id")?.filter(|id| !id.is_empty());
    match (id, text("jobId")?.filter(|id| !id.is_empty())) {
        (Some(id), Some(other)) if id != other => {
            Err(params.invalid("jobId", "must be the same as id, or absent"))
        }
        (Some(id), _) | (None, Some(id)) => Ok(JobId::new(id)),
        (None, None) => Err(params.invalid("id", "must be a non-empty string")),
    }
}

fn limit(params: &Params<'_>, default: usize, max: usize) -> Result<usize, Invalid> {
    Ok(params.positive("limit")?.map_or(default, |number| saturated(number).min(max)))
}

fn saturated(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn new_job(
    params: &Params<'_>,
    idempotency: Option<Idempotency>,
    now_ms: u64,
) -> Result<NewJob, Invalid> {
    let patch = patch(params, Names::ROOT, now_ms)?;
    let missing = |name: &str| params.invalid(name, "must be an object");
    Ok(NewJob {
        name: patch.name.ok_or_else(|| params.invalid("name", "must be a non-empty string"))?,
        description: patch.description.filter(|text| !text.is_empty()),
        enabled: patch.enabled.unwrap_or(true),
        delete_after_run: patch.delete_after_run.unwrap_or(false),
        schedule: patch.schedule.ok_or_else(|| missing("schedule"))?,
        payload: patch.payload.ok_or_else(|| missing("payload"))?,
        missed: patch.missed,
        idempotency,
    })
}

fn patch(params: &Params<'_>, names: Names, now_ms: u64) -> Result<JobPatch, Invalid> {
    let name = params.string("name", CRON_NAME_BYTES_MAX)?;
    if let Some(name) = &name {
        if name.trim().is_empty() {
            return Err(params.invalid("name", "must be a non-empty string"));
        }
        printable(params, "name", name)?;
    }
    let missed = params.string("missed", CLIENT_TEXT_BYTES_MAX)?;
    let missed = match missed.as_deref() {
        None => None,
        Some("skip") => Some(Missed::Skip),
        Some("run-once") => Some(Missed::RunOnce),
        Some(_) => return Err(params.invalid("missed", "must be skip or run-once")),
    };
    let schedule = params.raw("schedule").map(|raw| {
        // A bare expression is what the oldest clients send.
        if raw.get().starts_with('"') {
            let text = params.string("schedule", CRON_EXPRESSION_BYTES_MAX)?.unwrap_or_default();
            return expression(&text, None, now_ms)
                .map_err(|(_, must)| params.invalid("schedule", must));
        }
        let schedule = Object::read(Place::In(names.schedule), &SCHEDULE, raw)?;
        read_schedule(&schedule, now_ms)
    });
    let payload = params.raw("payload").map(|raw| {
        if CRON_PAYLOAD_BYTES_MAX < raw.get().len() {
            let must = format!("must be at most {CRON_PAYLOAD_BYTES_MAX} bytes of JSON");
            return Err(params.invalid("payload", must));
        }
        let payload = Object::read(Place::In(names.payload), &PAYLOAD, raw)?;
        read_payload(&payload, params)
    });
    Ok(JobPatch {
        name: name.map(Arc::from),
        description: params.string("description", CRON_DESCRIPTION_BYTES_MAX)?.map(Arc::from),
        enabled: params.bool("enabled")?,
        delete_after_run: params.bool("deleteAfterRun")?,
        schedule: schedule.transpose()?,
        payload: payload.transpose()?,
        missed,
    })
}

fn read_schedule(schedule: &Object<'_, 7>, now_ms: u64) -> Result<Schedule, Invalid> {
    let kind = schedule.string("kind", CLIENT_TEXT_BYTES_MAX)?;
    match kind.as_deref() {
        Some("at") => moment(schedule).map(Schedule::At),
        Some("every") => {
            let range = CRON_EVERY_MS_MIN..=CRON_EVERY_MS_MAX;
            let every_ms = schedule
                .u64("everyMs")?
                .filter(|every| range.contains(every))
                .ok_or_else(|| {
                    schedule.invalid(
                        "everyMs",
                        format_args!(
                            "must be a number from {CRON_EVERY_MS_MIN} to {CRON_EVERY_MS_MAX}"
                        ),
                    )
                })?;
            let anchor_ms = schedule.u64("anchorMs")?;
            if anchor_ms.is_some_and(|anchor| anchor > UTC_MS_MAX) {
                return Err(schedule.invalid("anchorMs", "must be Unix milliseconds"));
            }
            Ok(Schedule::Every { every_ms, anchor_ms })
        }
        Some("cron") => {
            let expr = schedule.required("expr", CRON_EXPRESSION_BYTES_MAX)?;
            let tz = schedule.string("tz", CRON_ZONE_BYTES_MAX)?;
            expression(&expr, tz.as_deref().filter(|tz| !tz.is_empty()), now_ms)
                .map_err(|(name, must)| schedule.invalid(name, must))
        }
        Some(_) | None => Err(schedule.invalid("kind", "must be at, every or cron")),
    }
}

/// A schedule by an expression; the error is a field and what is wrong with it.
fn expression(
    expr: &str,
    tz: Option<&str>,
    now_ms: u64,
) -> Result<Schedule, (&'static str, String)> {
    let expression =
        Expression::parse(expr).map_err(|malformed| ("expr", malformed.to_string()))?;
    let zone = tz.map(Zone::find).transpose().map_err(|problem| ("tz", problem))?;
    let schedule = Schedule::Cron { expression: Box::new(expression), zone };
    if schedule.next_after(now_ms).is_none() {
        return Err(("expr", "never comes: no month has such a day".to_owned()));
    }
    Ok(schedule)
}

/// `at` in words or in Unix milliseconds, or `atMs`. Whether it is over is the hub's to say, because
/// a repetition is answered however late it comes.
fn moment(schedule: &Object<'_, 7>) -> Result<u64, Invalid> {
    let must = "must be a moment such as 2026-11-22T18:43:42Z, or Unix milliseconds";
    let at_ms = match schedule.raw("at") {
        Some(raw) if raw.get().starts_with('"') => {
            let text = schedule.string("at", CRON_MOMENT_BYTES_MAX)?.unwrap_or_default();
            parse_moment(&text)
        }
        Some(_) => schedule.u64("at").map_err(|_| schedule.invalid("at", must))?,
        None => schedule.u64("atMs")?,
    };
    at_ms.filter(|at| *at <= UTC_MS_MAX).ok_or_else(|| schedule.invalid("at", must))
}

fn read_payload(payload: &Object<'_, 15>, params: &Params<'_>) -> Result<CronPayload, Invalid> {
    let kind = payload.string("kind", CLIENT_TEXT_BYTES_MAX)?;
    let has = |name: &str| payload.raw(name).is_some();
    match kind.as_deref() {
        Some("spawn") => spawn(payload),
        Some("agentTurn") => agent_turn(payload, params),
        Some("systemEvent") => system_event(payload),
        // What stands in it says what it is.
        None if has("command") => spawn(payload),
        None if has("message") => agent_turn(payload, params),
        None if has("text") => system_event(payload),
        Some(_) | None => Err(payload.invalid("kind", "must be spawn, agentTurn or systemEvent")),
    }
}

fn system_event(payload: &Object<'_, 15>) -> Result<CronPayload, Invalid> {
    let text = payload.required("text", CRON_PAYLOAD_BYTES_MAX)?;
    Ok(CronPayload::SystemEvent { text: Arc::from(text) })
}

fn agent_turn(payload: &Object<'_, 15>, params: &Params<'_>) -> Result<CronPayload, Invalid> {
    let mut session = session_key::optional(payload, "sessionKey", None)?;
    if session.is_none() {
        session = session_key::optional(params, "sessionKey", None)?;
    }
    if session.is_none() {
        // `main` and `isolated` choose among one agent's sessions; a key names both.
        let target = params.string("sessionTarget", SESSION_KEY_BYTES_MAX)?;
        let target = target.as_deref().map(|text| text.strip_prefix("session:").unwrap_or(text));
        let target = target.filter(|text| text.contains(':'));
        if let Some(text) = target {
            printable(params, "sessionTarget", text)?;
        }
        session = target.map(SessionKey::new);
    }
    let mut agent = agent_name(payload)?;
    if agent.is_none() {
        agent = agent_name(params)?;
    }
    if let (Some(agent), Some(session)) = (&agent, &session) {
        let speaker = Speaker { agent, session: None };
        speaker.check(session.as_str()).map_err(|must| payload.invalid("sessionKey", must))?;
    }
    Ok(CronPayload::AgentTurn {
        agent,
        session,
        message: Arc::from(payload.required("message", CRON_PAYLOAD_BYTES_MAX)?),
        model: payload.string("model", SESSION_TEXT_BYTES_MAX)?.map(Arc::from),
        timeout_ms: timeout(payload)?,
    })
}

fn agent_name<const N: usize>(params: &Object<'_, N>) -> Result<Option<AgentName>, Invalid> {
    let name = params.string("agentId", AGENT_NAME_BYTES_MAX)?.filter(|name| !name.is_empty());
    let Some(name) = name else { return Ok(None) };
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Err(params.invalid("agentId", "may hold letters, digits, dot, _ and - only"));
    }
    Ok(Some(AgentName::new(name)))
}

/// `timeoutMs`, or `timeoutSeconds`; 0 is none.
fn timeout(payload: &Object<'_, 15>) -> Result<Option<u64>, Invalid> {
    let timeout_ms = match payload.u64("timeoutMs")? {
        Some(timeout_ms) => Some(timeout_ms),
        None => payload.u64("timeoutSeconds")?.map(|seconds| seconds.saturating_mul(1_000)),
    };
    Ok(timeout_ms.filter(|timeout| *timeout > 0).map(|timeout| timeout.min(COUNT_MAX)))
}

/// A program, under the same rules as one that `spawn` starts.
fn spawn(payload: &Object<'_, 15>) -> Result<CronPayload, Invalid> {
    let SpawnAsk { command, args, mut env, cwd, stdin, session, reports, .. } =
        read_program(payload)?;
    let is_name = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
    };
    if !env.iter().all(|(name, _)| is_name(name)) {
        let must = "may hold names of letters, digits and _ only, that begin with no digit";
        return Err(payload.invalid("env", must));
    }
    env.sort();
    let timeout_ms = timeout(payload)?;
    let spawn = CronSpawn { command, args, env, cwd, stdin, timeout_ms, session, reports };
    Ok(CronPayload::Spawn(Box::new(spawn)))
}
