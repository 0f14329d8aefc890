//! What the targets begin with: the frames of the golden tests, the samples of the documents,
//! one record of each kind, and short histories.
//!
//! Made, not stored: when a frame or a method changes, so does its seed. Called by
//! `fuzz_targets/`, which leave them where libFuzzer finds them, and by `tests/fuzz.rs`.

use std::path::Path;
use std::{env, fs, io};

use openclaw_gateway::base::ids::{
    AgentName, AllowedId, ApprovalId, Cursor, DeviceId, RequestId, RunId, SessionKey, SpawnId,
    UserName,
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
use openclaw_gateway::protocol::device::PublicKey;
use openclaw_gateway::protocol::device_key::DeviceKey;
use openclaw_gateway::protocol::log_entry::{Level, LogDraft};
use openclaw_gateway::protocol::methods;
use openclaw_gateway::protocol::run::{ChatMessage, ChatRole, RunState};
use openclaw_gateway::protocol::run_calls::RunMethod;
use openclaw_gateway::protocol::scope::{Role, ScopeSet};
use openclaw_gateway::protocol::session::Session;
use openclaw_gateway::protocol::spawn::SpawnStatus;
use openclaw_gateway::shell::store::codec;
use serde::Serialize;
use serde_json::Value;

use super::hub::requests;
use super::protocol::FATAL_PHRASES;
use super::records::SEPARATOR;

const CAPTURED: &str = include_str!("../../tests/golden/mission-control-2.3.0.jsonl");
const DOCUMENT: &str = include_str!("../../docs/protocol.md");
const EXAMPLE: &str = include_str!("../../config.example.toml");
const HEADS: [&str; 4] = [
    "GET /gateway-ws?token=x HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\n\
     Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://localhost:3000\r\n\r\n\x01\x02",
    "HEAD /healthz HTTP/1.1\nHost: [::1]\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\n\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "GET / HTTP/1.0\r\n\r\n",
];

/// The seeds of a target. None for a name that is no target's.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "wire" => wire(),
        "protocol" => protocol(),
        "config" => config(),
        "device" => device(),
        "records" => records(),
        "hub" => hub(),
        _ => Vec::new(),
    }
}

/// Writes the seeds of a target into the folder that `FUZZ_SEEDS` names, if it names one.
#[allow(dead_code, reason = "only the targets of libFuzzer call it")]
pub fn leave(target: &str) -> io::Result<()> {
    let Some(folder) = env::var_os("FUZZ_SEEDS") else { return Ok(()) };
    fs::create_dir_all(&folder)?;
    for (number, seed) in of(target).into_iter().enumerate() {
        fs::write(Path::new(&folder).join(format!("{target}-{number:03}")), seed)?;
    }
    Ok(())
}

fn prefixed(prefix: &[u8], rest: impl AsRef<[u8]>) -> Vec<u8> {
    [prefix, rest.as_ref()].concat()
}

/// The frames that a real client sent.
fn captured() -> Vec<String> {
    let frame = |line| Some(serde_json::from_str::<Value>(line).ok()?.get("frame")?.to_string());
    CAPTURED.lines().filter_map(frame).collect()
}

/// Every JSON text of the protocol's document.
fn documented() -> Vec<Value> {
    let blocks = DOCUMENT.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .flat_map(|block| {
            serde_json::Deserializer::from_str(block).into_iter::<Value>().map_while(Result::ok)
        })
        .collect()
}

fn wire() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = HEADS.iter().map(|head| prefixed(&[2, 7], head)).collect();
    for (index, text) in captured().iter().enumerate() {
        let beginning = &text.as_bytes()[..text.len().min(120)];
        let frame = prefixed(&[0x81, beginning.len() as u8], beginning);
        seeds.push(prefixed(&[1, index as u8], &frame));
        let fragments = [&[0x01, 2, b'{', 0xc3][..], &[0x89, 1, b'p'], &[0x80, 2, 0xa9, b'}']];
        seeds.push(prefixed(&[1, index as u8], fragments.concat()));
    }
    seeds.push(vec![1, 0, 0x88, 5, 0x03, 0xe8, b'b', b'y', b'e']);
    seeds.push(vec![1, 0, 0x82, 255, 0x8a, 0, 0x88, 0]);
    seeds.push(prefixed(&[0, 3], [0x81, 0x85, 1, 2, 3, 4, 0x69, 0x67, 0x6f, 0x68, 0x6e]));
    seeds.push(prefixed(&[3, 0], "text\r\nX-Injected: 1\u{e9}"));
    seeds
}

fn protocol() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = captured().iter().map(|text| prefixed(&[0, 0], text)).collect();
    for value in documented() {
        let kind = if value["method"] == "connect" { 0 } else { 48 };
        for who in 0..3 {
            seeds.push(prefixed(&[kind, who], value.to_string()));
        }
    }
    let names: Vec<_> = methods::names().collect();
    for (method, params) in requests::TABLE {
        let place = names.iter().position(|name| *name == method).unwrap_or(0);
        let kind = (96..=255).find(|kind| kind % names.len() == place).unwrap_or(96);
        let params = requests::fill(params, |name| match name {
            "key" => "\"a1:chat\"".to_owned(),
            "count" | "small" => "7".to_owned(),
            "cost" => "0.25".to_owned(),
            "bool" => "true".to_owned(),
            "level" => "\"warn\"".to_owned(),
            name => format!("\"{name}\""),
        });
        for who in 0..3 {
            seeds.push(prefixed(&[kind as u8, who], &params));
        }
    }
    for phrase in FATAL_PHRASES {
        seeds.push(prefixed(&[32, 0], phrase));
        seeds.push(prefixed(&[32, 0], phrase.to_uppercase().replace('K', "\u{212a}")));
    }
    seeds.push(prefixed(
        &[40, 0],
        "localhost:8080\nhttp://localhost:3000\n10.0.0.1\nhttps\n1.2.3.4",
    ));
    seeds
}

fn config() -> Vec<Vec<u8>> {
    // Every key of the example, as if somebody had taken the mark of a comment away.
    let keys = EXAMPLE
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .filter(|line| (line.starts_with('[') || line.contains(" = ")) && !line.contains("File"));
    let all = keys.collect::<Vec<_>>().join("\n");
    let mut seeds = vec![prefixed(&[0], &all)];
    seeds.extend(all.split("\n[").map(|section| match section.starts_with('[') {
        true => prefixed(&[0], section),
        false => prefixed(&[0, b'['], section),
    }));
    let yaml = "gateway:\n  port: 8080\n  auth:\n    token: \"x\"\n  allowed:\n    - a\n";
    seeds.push(prefixed(&[0], yaml));
    seeds.push(prefixed(&[1], yaml));
    seeds.push(prefixed(&[2], "127.0.0.1\n8080\n9090\ninfo"));
    seeds.push(prefixed(&[3], "a-token-of-some-length\ndebug"));
    seeds
}

fn device() -> Vec<Vec<u8>> {
    let key = DeviceKey::from_seed(&[7; 32]);
    let mut seeds = vec![prefixed(&[0], key.to_pem()), prefixed(&[0], key.public_text())];
    let claim = [&key.public_key().device_id(), &key.public_text(), &key.sign("x"), ""];
    seeds.push(prefixed(&[1], claim.join("\0")));
    seeds.extend(captured().iter().map(|text| prefixed(&[2], text)));
    seeds.extend((0..32).map(|number| prefixed(&[3], noise(number, 60))));
    seeds
}

fn records() -> Vec<Vec<u8>> {
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

/// A kind's letter, and the record.
fn json(kind: u8, record: &impl Serialize) -> Vec<u8> {
    prefixed(&[kind], serde_json::to_vec(record).expect("a record is JSON"))
}

fn hub() -> Vec<Vec<u8>> {
    let noise = (0..64).map(|number| noise(number, 60 + 6 * usize::from(number)));
    let all = noise.chain([0, 2, 3, 4, 7].into_iter().map(everything));
    all.chain([0, 64, 96].into_iter().flat_map(lives)).collect()
}

/// The owner, an agent, and programs: asked, started, heard of, ended, one way and another.
/// The numbers are those of the steps in `hub::steps`.
fn lives(policy: u8) -> Vec<Vec<u8>> {
    const OWNER: [u8; 3] = [0, 0, 0];
    const AGENT: [u8; 4] = [0, 2, 0, 0];
    const STORED: [u8; 1] = [32];
    let ask = |who: u8, method: &str, values: &[u8]| {
        let row = requests::TABLE.iter().position(|(name, _)| *name == method).unwrap_or(0);
        prefixed(&[14, who, row as u8], values)
    };
    // Which process, and which of the things that it can do; see `hub::shell`.
    let goes_on = |what: u8| vec![56, 0, what];
    let begin = [&[policy, 0][..], &OWNER, &STORED, &AGENT, &STORED, &STORED].concat();
    let started = [
        ask(0, "spawn", &[1, 3, 4, 0]),
        goes_on(5),
        goes_on(5),
        STORED.to_vec(),
        goes_on(5),
        STORED.to_vec(),
    ];
    let started = started.concat();
    let program = [62, 0, 0, 3];
    let talk = [
        ask(0, "agent", &[0, 1]),
        ask(0, "chat.send", &[0, 2]),
        STORED.to_vec(),
        ask(0, "agent.wait", &[5, 4]),
        ask(1, "run.update", &[4, 1, 3]),
        ask(1, "run.update", &[4, 0, 3]),
        STORED.to_vec(),
        ask(1, "exec.approval.request", &[1, 0, 4, 1]),
        ask(0, "exec.approval.resolve", &[4, 1]),
        STORED.to_vec(),
    ];
    let templates = [ask(0, "agent", &[1, 2]), STORED.to_vec(), goes_on(5), goes_on(5)].concat();
    let endings: [&[u8]; 6] = [
        &[56, 0, 1, 0, 0, 56, 0, 0, 56, 0, 8],
        &[56, 0, 9, 44, 10, 56, 0, 7, 56, 0, 0],
        &[44, 200, 56, 0, 13, 44, 10],
        &[53, 3, 44, 5],
        &[38, 1, 56, 0, 8, 39],
        &[54, 56, 0, 1],
    ];
    let whole = |ending: &&[u8]| {
        let parts = [&begin[..], &started, &program, &started, ending, &talk.concat(), &templates];
        [&parts.concat(), &STORED[..], &goes_on(5), &program, ending].concat()
    };
    endings.iter().map(whole).collect()
}

/// The owner and two devices, under a policy; each asks for everything once, about the others.
/// The numbers are those of the steps in `hub::steps`.
fn everything(policy: u8) -> Vec<u8> {
    const OWNER: [u8; 3] = [0, 0, 0];
    const STORED: [u8; 2] = [32, 32];
    const GONE: u8 = 49;
    let approve = requests::TABLE.iter().position(|(method, _)| *method == "device.pair.approve");
    let approve = [14, 0, approve.unwrap_or(0) as u8, 0];
    let mut history = prefixed(&[policy, 0], OWNER);
    for device in 0..2 {
        let connect = [0, 3, device];
        history.extend([&connect[..], &approve, &STORED, &[GONE], &connect, &STORED].concat());
    }
    // What puts a device out comes last.
    let is_end = |method: &str| method.ends_with("remove") || method.ends_with("forget");
    for (ends, about) in [(false, 1), (false, 0), (true, 0), (true, 1)] {
        for (row, (method, params)) in requests::TABLE.iter().enumerate() {
            if is_end(method) != ends {
                continue;
            }
            for who in 0..3 {
                history.extend([14, who, row as u8]);
                history.extend(params.matches('$').map(|_| about));
            }
            history.extend(STORED);
        }
    }
    history
}

/// Bytes that look like chance, the same for the same number.
pub fn noise(number: u8, len: usize) -> Vec<u8> {
    let mut state = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}
