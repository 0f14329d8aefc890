//! Server heartbeats: a silent peer is pinged and then closed, an answering one is measured.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::{Connect, Device, Gateway, Heard, PATIENCE, eventually};

const CONFIG: &str = "[gateway.heartbeat]\nintervalSeconds = 1\nmissedMax = 3";

#[test]
fn silent_peer_is_pinged_three_times_then_closed() {
    for tls in [false, true] {
        let gateway = Gateway::setup().config(CONFIG).tls(tls).start();
        let device = Device::new();
        let mut client = gateway.dial().open();
        client.admitted(&Connect::operator(&device));
        client.mute();
        let began = Instant::now();
        let heard = client.listen_for(PATIENCE);
        let pings = heard.iter().filter(|heard| matches!(heard, Heard::Ping)).count();
        assert_eq!(pings, 3, "{heard:?}");
        assert_eq!(client.closed(), (4000, "heartbeat timeout".to_owned()));
        assert!(began.elapsed() >= Duration::from_millis(2_900), "{:?}", began.elapsed());
        eventually("the diagnostic", PATIENCE, || {
            let lines = gateway.diagnostics();
            let line = lines.lines().find(|line| line.contains("Heartbeat timeout"))?;
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["level"], "warn", "{line}");
            assert_eq!(line["client_id"], "e2e-operator", "{line}");
            assert_eq!(line["missed_pongs"], 3, "{line}");
            Some(())
        });
    }
}

#[test]
fn answering_peer_stays_and_its_round_trip_is_shown() {
    let gateway = Gateway::setup().config(CONFIG).start();
    let mut client = gateway.operator();
    let heard = client.listen_for(Duration::from_millis(4_500));
    let pings = heard.iter().filter(|heard| matches!(heard, Heard::Ping)).count();
    assert!(pings >= 2, "{heard:?}");
    let presence = client.ask("system-presence", Value::Null).to_string();
    assert!(presence.to_ascii_lowercase().contains("rtt"), "{presence}");
    assert_eq!(client.request("ping", Value::Null)["ok"], true);
}

#[test]
fn talking_peer_is_not_pinged() {
    let gateway = Gateway::setup().config(CONFIG).start();
    let mut client = gateway.operator();
    let until = Instant::now() + Duration::from_millis(2_500);
    while Instant::now() < until {
        assert_eq!(client.request("ping", Value::Null)["ok"], true);
        let heard = client.listen_for(Duration::from_millis(200));
        assert!(!heard.contains(&Heard::Ping), "{heard:?}");
    }
}
