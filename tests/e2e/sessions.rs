//! Sessions as agents report them and operators see them: exact under `kill -9`, and cheap by the
//! thousand.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::Message;

use crate::kit::{Client, Device, Gateway, Heard, PATIENCE, Rng, number_from_env};

const WRITERS: usize = 8;

/// Requests that one writer has on the wire.
const IN_PROGRESS: usize = 8;

/// The session that all writers add to, as operators or as its agent's connections.
const SHARED: &str = "writer0:shared";

/// The tick whose sessions satisfy `wanted`.
#[track_caller]
fn tick_that(operator: &mut Client, wanted: impl Fn(&[Value]) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let tick = operator.event("tick");
        assert_eq!(tick.get("seq"), None, "a state event carries no seq");
        let snapshot = tick["payload"]["snapshot"].clone();
        if wanted(snapshot["sessions"].as_array().unwrap()) {
            return snapshot;
        }
        assert!(Instant::now() < deadline, "no such tick; the last was {snapshot}");
    }
}

#[test]
fn what_an_agent_reports_is_in_the_tick_and_in_the_lists() {
    let gateway = Gateway::start();
    let mut operator = gateway.operator();
    let mut agent = gateway.agent("agent1", &Device::new());
    agent.ask(
        "session.update",
        json!({ "key": "agent1:chat", "model": "claude-sonnet-4", "contextTokens": 35_000 }),
    );
    agent.ask(
        "session_usage",
        json!({
            "sessionKey": "agent1:chat", "inputTokens": 5_000, "outputTokens": 432,
            "messages": 12, "cost": 0.42,
        }),
    );
    let snapshot = tick_that(&mut operator, |rows| {
        rows.first().is_some_and(|row| row["totalTokens"] == 5_432)
    });
    let row = &snapshot["sessions"][0];
    assert_eq!((&snapshot["total"], &snapshot["truncated"]), (&json!(1), &json!(false)));
    for (member, value) in [
        ("key", json!("agent1:chat")),
        ("kind", json!("chat")),
        ("model", json!("claude-sonnet-4")),
        ("contextTokens", json!(35_000)),
        ("messageCount", json!(12)),
        ("cost", json!(0.42)),
        ("active", json!(true)),
        ("agent", json!("agent1")),
    ] {
        assert_eq!(row[member], value, "{member} in {row}");
    }
    let page = operator.ask("sessions.list", json!({}));
    assert_eq!(&page["sessions"][0], row);
    let error = agent.ask_in_vain(
        "session.usage",
        json!({
            "key": "agent2:chat", "inputTokens": 1, "outputTokens": 1,
        }),
    );
    assert_eq!(error["code"], "INVALID_REQUEST");
    operator.ask("session_setLabel", json!({ "sessionKey": "agent1:chat", "label": "Notes" }));
    let whole = operator.ask("sessions.get", json!({ "key": "agent1:chat" }));
    assert_eq!(whole["session"]["label"], "Notes");
    let deleted = operator.ask("session_delete", json!({ "sessionKey": "agent1:chat" }));
    assert_eq!(deleted["deleted"], true);
    tick_that(&mut operator, <[Value]>::is_empty);
}

#[test]
fn a_connection_that_narrows_its_stream_has_no_gaps_and_can_return() {
    let gateway = Gateway::start();
    let mut narrow = gateway.operator();
    let mut wide = gateway.operator();
    let mut agent = gateway.agent("agent1", &Device::new());
    let mut append = |level: &str| {
        let entry = json!({ "level": level, "message": level });
        agent.ask("logs.append", json!({ "entries": [entry] }));
    };
    append("info");
    let before = narrow.event("log")["seq"].as_u64().unwrap();
    narrow.ask("logs.subscribe", json!({ "level": "error" }));
    for level in ["info", "error", "warn", "info", "error"] {
        append(level);
    }
    for after in 1..=2 {
        let event = narrow.event("log");
        assert_eq!(event["payload"]["level"], "error");
        assert_eq!(event["seq"], before + after);
    }
    let numbers: Vec<_> = (0..6).map(|_| wide.event("log")["seq"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    narrow.ask("logs.subscribe", json!({}));
    append("info");
    let (returned, other) = (narrow.event("log"), wide.event("log"));
    assert_eq!(returned, other, "both are in the shared stream");
}

/// What one writer knows of its reports.
#[derive(Default)]
struct Ledger {
    next: u64,
    /// The parameters of the reports without an answer, by their request's id.
    open: HashMap<String, Value>,
    /// Tokens and billionths in the reports that were made, answered or not: at the end each of
    /// them counts exactly once.
    tokens: u64,
    nanos: u64,
}

impl Ledger {
    fn report(&mut self, name: &str, rng: &mut Rng) -> (String, Value) {
        self.next += 1;
        let (input, output) = (rng.between(0, 5_000), rng.between(0, 500));
        let nanos = rng.between(0, 999_999_999);
        self.tokens += input + output;
        self.nanos += nanos;
        let cost: Value = serde_json::from_str(&format!("0.{nanos:09}")).unwrap();
        let key = format!("{name}-{}", self.next);
        let params = json!({
            "key": SHARED, "inputTokens": input, "outputTokens": output, "cost": cost,
            "messages": 1, "idempotencyKey": key,
        });
        (key, params)
    }
}

fn send(client: &mut Client, id: &str, params: &Value) -> bool {
    let frame = json!({ "type": "req", "id": id, "method": "session.usage", "params": params });
    client.try_send(Message::text(frame.to_string())).is_ok()
}

/// Reports until the connection ends, every third report twice; first of all repeats what was not
/// answered on the last connection. With `reports` at 0 it only does that, and then returns.
fn write(mut client: Client, name: &str, ledger: &mut Ledger, reports: u64, rng: &mut Rng) {
    let deadline = Instant::now() + PATIENCE;
    for (id, params) in &ledger.open {
        if !send(&mut client, id, params) {
            return;
        }
    }
    let mut left = reports;
    loop {
        while ledger.open.len() < IN_PROGRESS && left > 0 {
            left -= 1;
            let (id, params) = ledger.report(name, rng);
            ledger.open.insert(id.clone(), params.clone());
            if !send(&mut client, &id, &params) {
                break;
            }
            if ledger.next.is_multiple_of(3) && !send(&mut client, &format!("{id}-again"), &params)
            {
                break;
            }
        }
        if ledger.open.is_empty() && left == 0 {
            return;
        }
        match client.hear(deadline).expect("the gateway answers or ends") {
            Heard::Frame(frame) if frame["type"] == "res" => {
                assert_eq!(frame["ok"], true, "{frame}");
                ledger.open.remove(frame["id"].as_str().unwrap());
            }
            Heard::Frame(_) | Heard::Ping => {}
            Heard::Closed(..) | Heard::Gone(_) => return,
        }
    }
}

#[test]
fn totals_are_exact_under_concurrent_writers_with_repetitions_and_kill_9() {
    let rounds = number_from_env("OPENCLAW_CRASH_ROUNDS", 20);
    let mut rng = Rng::announced();
    let mut gateway = Gateway::start();
    let mut ledgers: Vec<Ledger> = (0..WRITERS).map(|_| Ledger::default()).collect();
    for round in 0..=rounds {
        let last = round == rounds;
        let clients: Vec<_> = (0..WRITERS).map(|_| gateway.operator()).collect();
        let life = Duration::from_millis(rng.between(1, 120));
        let seeds: Vec<_> = (0..WRITERS).map(|_| rng.fork()).collect();
        std::thread::scope(|scope| {
            for (number, ((client, ledger), mut rng)) in
                clients.into_iter().zip(&mut ledgers).zip(seeds).enumerate()
            {
                let name = format!("writer{number}");
                let reports = if last { 0 } else { u64::MAX };
                scope.spawn(move || write(client, &name, ledger, reports, &mut rng));
            }
            if !last {
                std::thread::sleep(life);
                gateway.kill_9();
            }
        });
        if !last {
            gateway.start_again();
        }
    }
    let sum = |count: fn(&Ledger) -> u64| ledgers.iter().map(count).sum::<u64>();
    let session = gateway.operator().ask("sessions.get", json!({ "key": SHARED }));
    let session = &session["session"];
    let reports = sum(|ledger| ledger.next);
    eprintln!("{rounds} rounds, {reports} reports, {session}");
    assert!(reports > 0, "nothing was ever reported: the test tests nothing");
    assert!(ledgers.iter().all(|ledger| ledger.open.is_empty()));
    assert_eq!(session["messageCount"], reports);
    assert_eq!(session["totalTokens"], sum(|ledger| ledger.tokens));
    let nanos = sum(|ledger| ledger.nanos);
    let cost = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    let cost: f64 = cost.parse().unwrap();
    assert_eq!(session["cost"], cost, "to the last digit of what was sent");
}

/// A gateway with so many sessions, of which ticks show a hundred, and someone who listens.
struct Crowd {
    _gateway: Gateway,
    agent: Client,
    operator: Client,
    /// Where the second page begins.
    cursor: Value,
}

impl Crowd {
    fn of(sessions: usize) -> Self {
        let gateway = Gateway::setup().config("[gateway.limits]\nsnapshotSessions = 100").start();
        let mut agent = gateway.agent("agent1", &Device::new());
        for batch in 0..sessions.div_ceil(50) {
            let ids: Vec<_> = (batch * 50..sessions.min(batch * 50 + 50))
                .map(|number| {
                    let key = format!("agent1:{number}");
                    let model = "claude-sonnet-4";
                    let params = json!({ "key": key, "totalTokens": 1, "model": model });
                    agent.send_request("session.update", params)
                })
                .collect();
            for id in ids {
                assert_eq!(agent.response(&id)["ok"], true);
            }
            agent.forget_events();
        }
        let mut operator = gateway.operator();
        let first = operator.ask("sessions.list", json!({ "limit": 50 }));
        assert_eq!(first["total"], sessions);
        Self { _gateway: gateway, agent, operator, cursor: first["nextCursor"].clone() }
    }

    fn page(&mut self) -> Duration {
        timed(|| self.operator.ask("sessions.list", json!({ "limit": 50 })))
    }

    fn second_page(&mut self) -> Duration {
        let params = json!({ "limit": 50, "cursor": self.cursor });
        timed(|| self.operator.ask("sessions.list", params))
    }

    fn update(&mut self) -> Duration {
        timed(|| self.agent.ask("session.usage", Self::usage()))
    }

    /// From a report to its tick, when the last tick is longer ago than the delay.
    fn tick(&mut self) -> Duration {
        std::thread::sleep(Duration::from_millis(300));
        self.operator.forget_events();
        let session = self.operator.ask("sessions.get", json!({ "key": "agent1:7" }));
        let total = session["session"]["totalTokens"].as_u64().unwrap() + 2;
        timed(|| {
            self.agent.send_request("session.usage", Self::usage());
            tick_that(&mut self.operator, |rows| {
                rows.first().is_some_and(|row| row["totalTokens"] == total)
            })
        })
    }

    fn usage() -> Value {
        json!({ "key": "agent1:7", "inputTokens": 1, "outputTokens": 1 })
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Whether it costs about the same: a walk over ten thousand sessions takes a debug build tens of
/// milliseconds.
fn is_alike(few: Duration, many: Duration) -> bool {
    many < few * 4 + Duration::from_millis(8)
}

#[test]
fn ten_thousand_sessions_cost_what_a_hundred_do() {
    let (mut few, mut many) = (Crowd::of(100), Crowd::of(10_000));
    type Work = fn(&mut Crowd) -> Duration;
    let works: [(&str, usize, Work); 4] = [
        ("first page of 50", 30, Crowd::page),
        ("second page of 50", 30, Crowd::second_page),
        ("durable update of one", 30, Crowd::update),
        ("update to tick", 5, Crowd::tick),
    ];
    for (what, tries, work) in works {
        // In turns, and the least of each: what it costs when nothing else happens. On a busy
        // machine that takes more tries.
        let mut least = (Duration::MAX, Duration::MAX);
        for made in 1..=tries * 10 {
            least = (least.0.min(work(&mut few)), least.1.min(work(&mut many)));
            if made >= tries && is_alike(least.0, least.1) {
                break;
            }
        }
        let (few, many) = least;
        let ratio = many.as_secs_f64() / few.as_secs_f64();
        eprintln!("{what}: 100 sessions {few:.1?}, 10,000 sessions {many:.1?}, ratio {ratio:.2}");
        assert!(is_alike(few, many), "{what}: {few:?} and {many:?}");
    }
}
