//! Stopping: announced, in order, complete; and at once when asked twice.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::kit::{Connect, Device, FsyncShim, Gateway, Heard, PATIENCE};

const STOPPED: (u16, &str) = (1012, "service restart");

#[test]
fn every_peer_hears_shutdown_then_1012_and_nothing_is_lost() {
    for tls in [false, true] {
        let mut gateway = Gateway::setup().tls(tls).start();
        let device = Device::new();
        let mut agent = gateway.agent("agent1", &device);
        let mut operators: Vec<_> = (0..10).map(|_| gateway.operator()).collect();
        let mut unauthenticated = gateway.dial().open();
        unauthenticated.challenge();
        agent.report(["one", "two"]);
        // On its way when the signal comes: either answered and kept, or not answered.
        let id = agent.send_request("logs.append", crate::kit::entries(["three"]));
        gateway.terminate();

        for peer in operators.iter_mut().chain([&mut agent]) {
            let event = peer.event("shutdown");
            assert!(event["payload"]["reason"].is_string(), "{event}");
            let (code, reason) = peer.closed();
            assert_eq!((code, reason.as_str()), STOPPED);
        }
        for operator in &mut operators {
            let heard = operator.payloads("log", 2);
            assert_eq!(heard[1]["message"], "two", "queued events are delivered first");
        }
        let (code, _) = unauthenticated.closed();
        assert_eq!(code, STOPPED.0);
        assert_eq!(gateway.exit_status(PATIENCE).code(), Some(0));

        gateway.start_again();
        let page = gateway.operator().ask("logs.tail", json!({ "cursor": 0 }));
        let kept: Vec<_> = page["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(kept[..2], ["one", "two"]);
        if agent.was_answered(&id) {
            assert_eq!(kept[2..], ["three"]);
        }
    }
}

#[test]
fn interrupt_stops_like_terminate() {
    let mut gateway = Gateway::start();
    let mut operator = gateway.operator();
    gateway.interrupt();
    operator.event("shutdown");
    assert_eq!(operator.closed().0, STOPPED.0);
    assert_eq!(gateway.exit_status(PATIENCE).code(), Some(0));
}

#[test]
fn idle_gateway_stops_at_once() {
    let mut gateway = Gateway::start();
    let began = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.exit_status(PATIENCE).code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn peer_that_never_answers_the_close_delays_the_stop_by_its_grace_only() {
    let mut gateway = Gateway::start();
    let mut deaf = gateway.operator();
    deaf.mute();
    gateway.terminate();
    assert_eq!(deaf.closed().0, STOPPED.0);
    assert_eq!(gateway.exit_status(PATIENCE).code(), Some(0));
}

#[test]
fn second_signal_stops_at_once() {
    let mut gateway = Gateway::start();
    // Holds the first stop up: it neither reads nor answers.
    let mut deaf = gateway.dial().receive_buffer(4 * 1024).open();
    deaf.admitted(&Connect::backend());
    deaf.mute();
    let mut operator = gateway.operator();
    gateway.terminate();
    operator.event("shutdown");
    let began = Instant::now();
    gateway.terminate();
    gateway.exit_status(PATIENCE);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn stopping_gateway_is_not_ready_and_takes_no_new_peers() {
    let mut gateway = Gateway::start();
    let mut operator = gateway.operator();
    gateway.terminate();
    operator.event("shutdown");
    // Refused, closed with 1012 or 1013, or gone: but not admitted.
    if let Ok(mut late) = gateway.dial().try_open() {
        match late.ended() {
            Heard::Closed(code, _) => assert!([1012, 1013].contains(&code), "{code}"),
            Heard::Gone(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(operator.ended(), Heard::Closed(STOPPED.0, STOPPED.1.to_owned()));
    assert_eq!(gateway.exit_status(PATIENCE).code(), Some(0));
}

/// A gateway whose commit does not come to an end, and its disk, which must live as long.
fn hanging() -> Result<(Gateway, FsyncShim), String> {
    let disk = FsyncShim::build()?;
    let gateway = Gateway::setup().disk(&disk).start();
    let mut agent = gateway.agent("agent1", &Device::new());
    disk.hang(true);
    agent.send_request("logs.append", crate::kit::entries(["never answered"]));
    assert_eq!(agent.request("ping", json!(null))["ok"], true);
    agent.leave();
    Ok((gateway, disk))
}

#[test]
fn hanging_disk_does_not_keep_the_process() {
    let (mut gateway, _disk) = match hanging() {
        Ok(hanging) => hanging,
        Err(why) => skip!("hanging_disk_does_not_keep_the_process", &why),
    };
    gateway.terminate();
    // The grace for the whole end is 20 s.
    assert_eq!(gateway.exit_status(Duration::from_secs(20) + PATIENCE).code(), Some(1));
    let said = gateway.diagnostics();
    assert!(said.contains("did not stop within 20 s"), "{said}");
}

#[test]
fn second_signal_stops_at_once_while_the_store_is_closed() {
    let (mut gateway, _disk) = match hanging() {
        Ok(hanging) => hanging,
        Err(why) => skip!("second_signal_stops_at_once_while_the_store_is_closed", &why),
    };
    gateway.terminate();
    // The hub gives up after 10 s; from then on only the store is waited for.
    std::thread::sleep(Duration::from_secs(12));
    let began = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.exit_status(PATIENCE).code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
