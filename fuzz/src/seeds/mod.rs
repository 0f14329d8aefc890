//! What the targets begin with: the frames of the golden tests, the samples of the documents,
//! one record of each kind, and short histories.
//!
//! Made, not stored: when a frame or a method changes, so does its seed. Called by
//! `fuzz_targets/`, which leave them where libFuzzer finds them, and by `tests/fuzz.rs`.

mod histories;
mod records;

use std::path::Path;
use std::{env, fs, io};

use openclaw_gateway::protocol::device_key::DeviceKey;
use openclaw_gateway::protocol::methods;
use serde_json::Value;

use super::hub::requests;
use super::protocol::FATAL_PHRASES;

const CAPTURED: &str = include_str!("../../../tests/golden/mission-control-2.3.0.jsonl");
const DOCUMENT: &str = include_str!("../../../docs/protocol.md");
const EXAMPLE: &str = include_str!("../../../config.example.toml");
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
        "records" => records::seeds(),
        "hub" => histories::seeds(),
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
            "schedule" => requests::SCHEDULES[place % requests::SCHEDULES.len()].to_owned(),
            "payload" => requests::PAYLOADS[place % requests::PAYLOADS.len()].to_owned(),
            "missed" => "\"run-once\"".to_owned(),
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
