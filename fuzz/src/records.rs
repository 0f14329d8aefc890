//! What is read from the disk: journal entries in their own code, everything else as JSON.
//!
//! Bytes that are no record are an error. A record that is read is written as what it is, and
//! read back the same; and a hub that starts with it stands, whatever it says.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openclaw_gateway::base::ids::{ConnId, Cursor, RequestId};
use openclaw_gateway::base::time::Moment;
use openclaw_gateway::hub::Hub;
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::hub::records::{
    AnswerRecord, DeviceRecord, DurableState, SpawnRecord, TokenRecord,
};
use openclaw_gateway::hub::runs::record::RunRecord;
use openclaw_gateway::protocol::agent_status::AgentStatus;
use openclaw_gateway::protocol::approvals::{AllowedCommand, Approval};
use openclaw_gateway::protocol::cron::{CronJob, CronRun};
use openclaw_gateway::protocol::event::{Event, View};
use openclaw_gateway::protocol::frame;
use openclaw_gateway::protocol::reply::write_reply;
use openclaw_gateway::protocol::request::{self, Call};
use openclaw_gateway::protocol::run::ChatMessage;
use openclaw_gateway::protocol::scope::ScopeSet;
use openclaw_gateway::protocol::session::Session;
use openclaw_gateway::shell::store::codec::{self, Decoder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::hub::shell::Shell;
use super::kit::{peers, policies};

/// Stands between two records of an input; the first byte of each says which kind it is.
pub const SEPARATOR: u8 = 0x1e;

pub fn run(data: &[u8]) {
    let mut state = DurableState::default();
    let mut decoder = Decoder::default();
    for record in data.split(|byte| *byte == SEPARATOR).take(32) {
        let Some((kind, bytes)) = record.split_first() else { continue };
        match kind {
            b'j' => {
                let cursor = Cursor(state.journal.len() as u64 + 1);
                let Ok(record) = decoder.decode(cursor, bytes) else { continue };
                let mut again = Vec::new();
                assert!(codec::encode(&record.draft, &mut again));
                assert_eq!(again, bytes, "a journal entry has one form");
                state.journal.push(Arc::new(record));
            }
            b'd' => keep(&mut state.devices, json::<DeviceRecord>(bytes), |d| d.id.clone()),
            b't' => keep(&mut state.tokens, json::<TokenRecord>(bytes), |token| token.hash),
            b'a' => keep(&mut state.answers, json::<AnswerRecord>(bytes), |a| a.key.clone()),
            b's' => {
                let session = json::<Session>(bytes).map(Arc::new);
                keep(&mut state.sessions, session, |session| session.key.clone());
            }
            b'g' => {
                let agent = json::<AgentStatus>(bytes).map(Arc::new);
                keep(&mut state.agents, agent, |agent| agent.name.clone());
            }
            b'p' => keep(&mut state.spawns, json::<SpawnRecord>(bytes), |spawn| spawn.id.clone()),
            b'r' => {
                let run = json::<RunRecord>(bytes).map(Arc::new);
                keep(&mut state.runs, run, |run| run.id.clone());
            }
            b'm' => {
                let message = json::<ChatMessage>(bytes).map(Arc::new);
                keep(&mut state.messages, message, |message| message.id);
            }
            b'q' => {
                let approval = json::<Approval>(bytes).map(Arc::new);
                keep(&mut state.approvals, approval, |approval| approval.id.clone());
            }
            b'c' => keep(&mut state.cron_jobs, json::<CronJob>(bytes), |job| job.id.clone()),
            b'h' => keep(&mut state.cron_runs, json::<CronRun>(bytes), |run| {
                (run.job.clone(), run.number)
            }),
            b'w' => {
                let allowed = json::<AllowedCommand>(bytes).map(Arc::new);
                keep(&mut state.allowed, allowed, |allowed| allowed.id.clone());
            }
            _ => {}
        }
    }
    start(state);
}

/// Reads a record; what was read is written and read back the same.
fn json<R: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<R> {
    let record: R = serde_json::from_slice(bytes).ok()?;
    let again = serde_json::to_vec(&record).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<R>(&again).expect("and read again"), record);
    Some(record)
}

/// As a table does: one record for each key.
fn keep<R, K: PartialEq>(table: &mut Vec<R>, record: Option<R>, key: impl Fn(&R) -> K) {
    let Some(record) = record else { return };
    table.retain(|other| key(other) != key(&record));
    table.push(record);
}

/// A hub with these records: it stands, and what it shows of them is JSON. Programs of which they
/// speak are found, and were running.
fn start(state: DurableState) {
    const OWNER: ConnId = ConnId(1);
    let mut now = Moment { at: Instant::now(), unix_ms: 1_795_000_000_000 };
    let mut hub = Hub::new(policies::policy(), state.clone(), [1; 32], now);
    let mut shell = Shell::default();
    let mut step = |now: Moment, input: Input| {
        let mut inputs = vec![input];
        let mut grant = None;
        while let Some(input) = inputs.pop().or_else(|| {
            let news = shell.obey()?;
            Some(Input::Child(Box::new(news)))
        }) {
            let mut effects = Vec::new();
            hub.handle(now, input, &mut effects);
            assert_eq!(hub.broken_invariant(), None);
            for effect in effects {
                match effect {
                    Effect::Persist { ticket, .. } => inputs.push(Input::Stored(ticket)),
                    Effect::Admit(hello) => grant = Some(hello.grant),
                    Effect::Child(order) => shell.ordered(*order, &state),
                    Effect::Respond { id, result: Ok(reply), .. } => {
                        let mut out = Vec::new();
                        write_reply(&mut out, id.as_str(), &reply);
                        check_json(&out);
                    }
                    Effect::Send { event, .. } | Effect::Broadcast(event) => check_event(&event),
                    _ => {}
                }
            }
        }
        grant
    };
    step(now, Input::Tick);
    let owner = peers::owner().on(OWNER.0);
    let grant = step(now, Input::ConnectRequested(Box::new(owner))).expect("the owner is let in");
    // Whether the records let an agent in is not the question; what follows if they do is.
    step(now, Input::ConnectRequested(Box::new(peers::agent("a1").on(2))));
    for (method, params) in [
        ("status", "{}"),
        ("sessions.list", "{}"),
        ("sessions.usage", "{}"),
        ("agents.list", "{}"),
        ("device.pair.list", "{}"),
        ("logs.tail", "{}"),
        ("node.list", "{}"),
        ("spawn.list", "{}"),
        ("spawn.logs", r#"{"id":"sp-0123456789abcdef"}"#),
        ("chat.history", r#"{"sessionKey":"a1:chat"}"#),
        ("chat.send", r#"{"sessionKey":"a1:chat","message":"m","idempotencyKey":"new"}"#),
        ("agent.wait", r#"{"runId":"run","timeoutMs":0}"#),
        ("exec.approvals.list", "{}"),
        ("cron.list", "{}"),
        ("cron.status", "{}"),
        ("cron.runs", r#"{"id":"job"}"#),
        ("cron.run", r#"{"id":"job"}"#),
        ("cron.update", r#"{"id":"job","enabled":true}"#),
        ("exec.approval.waitDecision", r#"{"id":"ask"}"#),
    ] {
        now = now.after(Duration::from_secs(1));
        step(now, Input::Tick);
        let text = format!(r#"{{"type":"req","id":"1","method":"{method}","params":{params}}}"#);
        let frame = frame::parse(&text).expect("a frame");
        let Ok(Call::Request(request)) = request::parse(&frame, &grant, now.unix_ms) else {
            panic!("{method} is a request")
        };
        let id = RequestId::new("1");
        step(now, Input::Requested { conn: OWNER, id, request });
    }
}

fn check_event(event: &Event) {
    let mut out = Vec::new();
    event.write(&mut out, View::of(ScopeSet::ALL), Some(1));
    check_json(&out);
}

fn check_json(out: &[u8]) {
    let read = serde_json::from_slice::<serde_json::Value>(out);
    assert!(read.is_ok(), "{}", String::from_utf8_lossy(out));
}
