//! Two thousand connections, half of which never speak, and two hundred that send garbage: a
//! well-behaved client's ping stays answered, and everything that they took is given back.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::kit::{Client, Connect, Gateway, PATIENCE, Rng, Usage, eventually};

const SILENT: usize = 1_000;
const SPEAKING: usize = 1_000;
const GARBAGE: usize = 200;

/// The first fills the caches that the later ones use again.
const STORMS: usize = 3;

/// Every connection comes from one address here. The silent ones are closed after three seconds.
const LIMITS: &str = "[gateway.limits]
connections = 3000
connectionsPerAddress = 3000
preauthConnections = 3000
handshakeSeconds = 3";

/// The longest that a ping may take on a busy machine with two cores, debug build.
const PING_MAX: Duration = Duration::from_secs(2);

/// Raises our own limit on descriptors, which the gateway inherits too.
fn raise_descriptor_limit() -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    let needed = 4_096;
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit { current: limit.maximum.or(Some(needed)), maximum: limit.maximum };
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        return Err(format!("2,200 connections need {needed} descriptors, the limit is {limit:?}"));
    }
    setrlimit(Resource::Nofile, raised).map_err(|error| error.to_string())
}

#[track_caller]
fn ping(client: &mut Client) -> Duration {
    let began = Instant::now();
    assert_eq!(client.request("ping", Value::Null)["ok"], true);
    let took = began.elapsed();
    assert!(took < PING_MAX, "a ping took {took:?}");
    took
}

/// The gateway ends what never speaks; a read that times out is a failure.
#[track_caller]
fn read_to_the_end(stream: &mut impl Read) {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("a silent connection was not ended: {error}"),
        }
    }
}

/// Opens everything, pings meanwhile, and closes everything; returns the slowest ping.
fn storm(gateway: &Gateway, well_behaved: &mut Client, rng: &mut Rng) -> Duration {
    let mut slowest = Duration::ZERO;
    let mut silent = Vec::new();
    let mut speaking = Vec::new();
    for number in 0..SILENT + SPEAKING + GARBAGE {
        match number % 11 {
            0..5 => silent.push(gateway.dial().stream().expect("accepted")),
            5..10 => {
                let mut client = gateway.dial().open();
                client.admitted(&Connect::backend());
                speaking.push(client);
            }
            _ => {
                let (mut stream, _control) = gateway.dial().stream().expect("accepted");
                // The gateway may end the connection in the middle of it.
                let length = usize::try_from(rng.between(1, 20_000)).unwrap();
                let _sent = stream.write_all(&rng.bytes(length));
            }
        }
        if number % 100 == 0 {
            slowest = slowest.max(ping(well_behaved));
        }
    }
    let held = Usage::of(gateway.pid());
    assert!(held.descriptors as usize > SPEAKING, "{held:?}");
    for client in &mut speaking {
        assert_eq!(client.request("ping", Value::Null)["ok"], true);
    }
    slowest = slowest.max(ping(well_behaved));
    for (stream, _control) in &mut silent {
        read_to_the_end(stream);
    }
    // Half of those that speak take their leave, the others vanish.
    for (number, client) in speaking.into_iter().enumerate() {
        if number % 2 == 0 {
            client.leave();
        }
    }
    slowest.max(ping(well_behaved))
}

#[test]
fn two_thousand_connections_come_and_go_and_leave_nothing_behind() {
    if let Err(why) = raise_descriptor_limit() {
        skip!("two_thousand_connections_come_and_go_and_leave_nothing_behind", why);
    }
    let mut rng = Rng::announced();
    let gateway = Gateway::setup().config(LIMITS).start();
    let mut well_behaved = gateway.operator();
    ping(&mut well_behaved);
    let before = Usage::of(gateway.pid());
    let mut after = Vec::new();
    for _ in 0..STORMS {
        let slowest = storm(&gateway, &mut well_behaved, &mut rng);
        let usage = eventually("threads and descriptors are given back", PATIENCE, || {
            let now = Usage::of(gateway.pid());
            let back = now.threads <= before.threads && now.descriptors <= before.descriptors;
            back.then_some(now)
        });
        eprintln!("slowest ping {slowest:?}; before {before:?}, after {usage:?}");
        after.push(usage);
    }
    // An allocator keeps some of what it once had, so the last storm is compared with those
    // before it, and all with a bound: 16 KiB for each of 2,200 connections.
    let resident: Vec<_> = after.iter().map(|usage| usage.resident_kib).collect();
    let (last, earlier) = resident.split_last().unwrap();
    assert!(*last < before.resident_kib + 2_200 * 16, "{before:?} then {resident:?}");
    let most = earlier.iter().max().unwrap();
    assert!(*last < most + 8 * 1024, "memory grows from storm to storm: {resident:?}");
    ping(&mut well_behaved);
}

#[test]
fn a_connect_for_which_there_is_no_memory_is_told_when_to_come_back() {
    const HALF: usize = 512 * 1024;
    let limits =
        format!("[gateway.limits]\nmessageBytes = {HALF}\ninboundBytesTotal = {}", 2 * HALF);
    let gateway = Gateway::setup().config(&limits).start();
    // Two messages of the greatest size, of which the last fragment never comes.
    let mut holders = [gateway.operator(), gateway.operator()];
    for holder in &mut holders {
        let fragment = Frame::message(vec![b' '; HALF], OpCode::Data(Data::Text), false);
        holder.try_send(Message::Frame(fragment)).unwrap();
    }
    let refusal = eventually("the memory is taken", PATIENCE, || {
        let mut client = gateway.dial().open();
        let response = client.connect(&Connect::backend());
        (response["ok"] == false).then(|| client.refusal(&response))
    });
    assert_eq!(refusal.details_code(), "UNAVAILABLE_CAPACITY", "{refusal:?}");
    assert_eq!(refusal.message(), "gateway at capacity; retry in 5 s");
    assert_eq!((refusal.close_code, refusal.error["retryAfterMs"].as_u64()), (1013, Some(5_000)));
    drop(holders);
    eventually("the memory is given back", PATIENCE, || {
        let response = gateway.dial().open().connect(&Connect::backend());
        (response["ok"] == true).then_some(())
    });
}
