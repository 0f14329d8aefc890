//! Many programs at once, and programs that write more than anybody can read.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{SPAWN, children_of, gateway, is_terminal, logs_of, sh, start};
use crate::kit::{Client, Device, Gateway, Heard, PATIENCE, TempDir, eventually};

#[test]
fn two_hundred_spawns_at_once_all_end_and_no_more_run_at_a_time_than_may() {
    const SPAWNS: usize = 200;
    const AT_A_TIME: usize = 32;
    let queue = SPAWNS - AT_A_TIME;
    let config = format!("{SPAWN}maxConcurrent = {AT_A_TIME}\nmaxQueued = {queue}\n");
    let gateway = Gateway::setup().config(&config).start();
    let mut operator = gateway.operator();
    // Nobody passes before it is open, so what runs at a time is what the gateway lets run.
    let dir = TempDir::new();
    let gate = dir.path().join("gate");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", gate.display());
    let ids: Vec<_> = (0..SPAWNS)
        .map(|number| operator.send_request("spawn", sh(&format!("echo {number}; {wait}"))))
        .collect();
    let spawns: Vec<_> = ids.iter().map(|id| operator.response(id)["payload"].clone()).collect();
    let count = |status| spawns.iter().filter(|spawn| spawn["status"] == status).count();
    assert_eq!((count("running"), count("queued")), (AT_A_TIME, queue));
    assert!(spawns[..AT_A_TIME].iter().all(|spawn| spawn["status"] == "running"), "in turn");
    assert_eq!(children_of(gateway.pid()).len(), AT_A_TIME);
    let error = operator.ask_in_vain("spawn", sh("true"));
    assert!(error["message"].as_str().unwrap().contains("gateway.spawn.maxQueued"), "{error}");

    std::fs::write(&gate, "").unwrap();
    let mut ended = HashSet::new();
    while ended.len() < SPAWNS {
        let event = operator.event("spawn_result")["payload"].clone();
        let children = children_of(gateway.pid()).len();
        assert!(children <= AT_A_TIME, "{children} at a time");
        if is_terminal(&event) && ids.iter().any(|id| event["id"] == id.as_str()) {
            assert_eq!(event["status"], "completed", "{event}");
            assert!(ended.insert(event["id"].to_string()), "ended twice: {event}");
        }
    }
    for (number, spawn) in spawns.iter().enumerate() {
        assert_eq!(logs_of(&mut operator, spawn), [number.to_string()], "{spawn}");
    }
    eventually("no child is left, not even as a zombie", PATIENCE, || {
        children_of(gateway.pid()).is_empty().then_some(())
    });
}

/// A peer that is pinged, and how long each ping took.
struct Pinged {
    peer: Client,
    times: Vec<Duration>,
}

impl Pinged {
    /// One that does not receive what others say, as operators do.
    fn at(gateway: &Gateway) -> Self {
        Self { peer: gateway.agent("pinged", &Device::new()), times: Vec::new() }
    }

    fn ping(&mut self) {
        let began = Instant::now();
        self.peer.ask("ping", Value::Null);
        self.times.push(began.elapsed());
        self.peer.forget_events();
    }

    /// How long the slowest but one in a hundred took.
    fn p99(&mut self) -> Duration {
        self.times.sort();
        self.times[self.times.len() * 99 / 100]
    }
}

/// The first terminal event that comes until then.
fn hear_end(operator: &mut Client, deadline: Instant) -> Option<Value> {
    loop {
        match operator.hear(deadline)? {
            Heard::Frame(frame) if frame["event"] == "spawn_result" => {
                let shown = frame["payload"].clone();
                if is_terminal(&shown) {
                    return Some(shown);
                }
            }
            Heard::Frame(_) | Heard::Ping => {}
            Heard::Closed(..) | Heard::Gone(_) => return None,
        }
    }
}

/// Writes 100 MB to each of its pipes.
const FLOOD: &str = "flood() { yes 0123456789012345678901234567890123456789 | head -c 100000000; }; \
                     flood >&2 & flood; wait";

#[test]
fn a_flood_on_both_pipes_is_not_felt_by_other_peers() {
    let (flooded, idle) = (gateway(), gateway());
    let (mut beside_flood, mut beside_nothing) = (Pinged::at(&flooded), Pinged::at(&idle));
    let mut operator = flooded.operator();
    // It hears of the end, and little else, and so misses nothing.
    operator.ask("logs.subscribe", json!({ "source": "nobody" }));
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    let spawn = start(&mut operator, sh(FLOOD));
    let end = std::thread::scope(|scope| {
        let end = scope.spawn(|| {
            let end = hear_end(&mut operator, began + 6 * PATIENCE);
            is_over.store(true, Ordering::Relaxed);
            end
        });
        // In turn, so that whatever else this machine does is felt by both.
        while !is_over.load(Ordering::Relaxed) {
            beside_flood.ping();
            beside_nothing.ping();
        }
        end.join().unwrap().expect("the flood ends")
    });
    let took = began.elapsed();
    assert_eq!(end["status"], "completed", "{end}");
    let logs = logs_of(&mut operator, &spawn);
    assert!(logs.iter().any(|line| line.starts_with("suppressed ")), "{:?}", logs.last());
    let pings = beside_flood.times.len();
    assert!(pings >= 100, "only {pings} pings in {took:?}");
    let (flooded, idle) = (beside_flood.p99(), beside_nothing.p99());
    let ratio = flooded.as_secs_f64() / idle.as_secs_f64();
    eprintln!(
        "p99 of {pings} pings beside a flood of 200 MB ({took:?}): {flooded:?}; \
         of an idle gateway at the same time: {idle:?}; ratio {ratio:.2}"
    );
    // Both share two cores with the flood and with other tests; a gateway that makes its peers wait
    // for a flood is slower by far more than that.
    assert!(flooded < 10 * idle + Duration::from_millis(50), "ratio {ratio:.2}");
}
