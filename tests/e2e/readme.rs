//! The README's steps, pasted by a machine instead of a person.

use serde_json::Value;

use crate::kit::{Gateway, SECRET};

#[test]
fn frames_of_the_readme_can_be_pasted_in_order() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let blocks = readme.split("```json\n").skip(1);
    let frames: Vec<_> = blocks.map(|block| block.split("\n```").next().unwrap()).collect();
    assert_eq!(frames.len(), 3, "connect, logs.append, logs.tail");

    let gateway = Gateway::start();
    let mut client = gateway.dial().open();
    client.challenge();
    let mut responses = Vec::new();
    for frame in frames {
        let frame = frame.replace("choose-your-own", SECRET);
        let id: Value = serde_json::from_str(&frame).unwrap();
        client.send_text(&frame);
        let response = client.response(id["id"].as_str().unwrap());
        assert_eq!(response["ok"], true, "{frame}: {response}");
        responses.push(response);
    }
    assert_eq!(client.event("log")["payload"]["message"], "hello");
    assert_eq!(responses[2]["payload"]["entries"][0]["message"], "hello");
}
