//! What `devices`, `sessions`, `status` and `report` ask, and how they show the answers.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::fake::{Fake, Say};
use crate::run;

/// Runs a command against a gateway that gives these answers; returns its output and the requests.
#[track_caller]
fn play(words: &[&str], answers: Vec<Value>) -> (String, Vec<Value>) {
    let mut answers = answers.into_iter();
    let fake = Fake::start(1, move |_, _| vec![Say::Ok(answers.next().expect("an answer"))]);
    let dir = fake.state_dir().to_str().unwrap().to_owned();
    let (code, stdout, stderr) = run(&[words, &["--state-dir", &dir]].concat());
    assert_eq!((code, stderr.as_str()), (0, ""), "{words:?}");
    (stdout.replace(&dir, "DIR"), fake.requests())
}

/// The same with one answer; compares what is shown, and the request.
#[track_caller]
fn check(line: &str, answer: Value, request: &str, shown: &Expect) {
    let words: Vec<_> = line.split_whitespace().collect();
    let (stdout, requests) = play(&words, vec![answer]);
    let asked: Vec<_> = requests
        .iter()
        .map(|request| format!("{} {}", request["method"].as_str().unwrap(), request["params"]))
        .collect();
    assert_eq!(asked, [request]);
    shown.assert_eq(&stdout);
}

#[test]
fn devices_shows_who_waits_then_who_may_connect() {
    let list = json!({
        "pending": [{
            "requestId": "pair-7", "deviceId": "ab12", "reason": "scope-upgrade",
            "role": "operator", "scopes": ["operator.admin"], "clientId": "openclaw-cli",
            "displayName": "evil\u{1b}[2J\u{202e}", "remoteIp": "10.0.0.7",
        }],
        "paired": [],
        "devices": [
            { "deviceId": "cd34", "status": "approved", "connected": true, "role": "agent",
              "scopes": [], "agent": "builder" },
            { "deviceId": "ef56", "status": "revoked", "connected": false, "role": "operator",
              "scopes": ["operator.read", "operator.write"] },
        ],
    });
    check(
        "devices",
        list,
        "device.pair.list {}",
        &expect![[r#"
        REQUEST  NAME                   WHY            ASKS FOR                  FROM      SINCE  DEVICE
        pair-7   evil\u{1b}[2J\u{202e}  scope-upgrade  operator: operator.admin  10.0.0.7  -      ab12

        DEVICE  NAME     STATUS     MAY                                     LAST SEEN
        cd34    builder  connected  agent                                   -
        ef56    -        revoked    operator: operator.read operator.write  -
    "#]],
    );
    let none = json!({ "pending": [], "paired": [], "devices": [] });
    check(
        "devices list",
        none,
        "device.pair.list {}",
        &expect![[r#"
        no devices are registered
    "#]],
    );
}

#[test]
fn devices_says_what_was_done() {
    let approved = json!({ "requestId": "pair-7", "device": { "deviceId": "ab12" } });
    let request = r#"device.pair.approve {"requestId":"pair-7"}"#;
    check(
        "devices approve pair-7",
        approved,
        request,
        &expect![[r#"
        approved ab12; it can connect now
    "#]],
    );
    let request = r#"device.pair.reject {"requestId":"pair-7"}"#;
    check(
        "devices reject pair-7",
        json!({}),
        request,
        &expect![[r#"
        rejected pair-7
    "#]],
    );
    let request = r#"device.pair.remove {"deviceId":"ab12"}"#;
    check(
        "devices revoke ab12",
        json!({}),
        request,
        &expect![[r#"
        revoked ab12; devices forget ab12 lets it ask again
    "#]],
    );
    let request = r#"device.pair.forget {"deviceId":"ab12"}"#;
    check(
        "devices forget ab12",
        json!({}),
        request,
        &expect![[r#"
        forgot ab12; it can ask again
    "#]],
    );
    let code = json!({ "code": "ABCDEFGHJK", "expiresAtMs": 0 });
    check(
        "devices pair",
        code,
        "device.pair.code {}",
        &expect![[r#"
        ABCDEFGHJK
        good once, for 0s: OPENCLAW_PAIRING_CODE on the other machine
    "#]],
    );
    let request = r#"device.pair.remove {"deviceId":"ab12"}"#;
    let raw = json!({ "deviceId": "ab12", "revokedAtMs": 5 });
    check(
        "devices revoke ab12 --json",
        raw,
        request,
        &expect![[r#"
        {"deviceId":"ab12","revokedAtMs":5}
    "#]],
    );
}

#[test]
fn sessions_are_read_page_by_page() {
    let session = |key: &str| {
        json!({
            "key": key, "kind": "chat", "model": "m1", "totalTokens": 30, "messageCount": 2,
            "cost": 0.25, "updatedAt": u64::MAX, "label": "a\tb",
        })
    };
    let pages = vec![
        json!({ "sessions": [session("a:1"), session("a:2")], "total": 3, "nextCursor": "c1" }),
        json!({ "sessions": [session("a:3")], "total": 3, "nextCursor": null }),
    ];
    let (shown, requests) = play(&["sessions", "--agent", "a"], pages.clone());
    expect![[r#"
        SESSION  KIND  MODEL  TOKENS  MESSAGES  COST  UPDATED  LABEL
        a:1      chat  m1     30      2         0.25  0s ago   a\tb
        a:2      chat  m1     30      2         0.25  0s ago   a\tb
        a:3      chat  m1     30      2         0.25  0s ago   a\tb
    "#]]
    .assert_eq(&shown);
    let asked: Vec<_> = requests.iter().map(|request| request["params"].clone()).collect();
    let second = json!({ "limit": 200, "agent": "a", "cursor": "c1" });
    assert_eq!(asked, [json!({ "limit": 200, "agent": "a" }), second]);
    let (lines, _) = play(&["sessions", "--json"], pages.clone());
    let keys = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(keys.map(|row| row["key"].clone()).collect::<Vec<_>>(), ["a:1", "a:2", "a:3"]);
    let (lines, requests) = play(&["sessions", "--json", "--limit", "1"], pages);
    assert_eq!((lines.lines().count(), requests.len()), (1, 1));
}

#[test]
fn status_says_what_the_gateway_says() {
    let status = json!({
        "version": "0.1.0", "uptimeMs": 61_000, "connections": { "operators": 1, "agents": 2 },
        "sessions": 3, "journal": { "entries": 4, "bytes": 500 }, "store": { "healthy": false },
    });
    check(
        "status",
        status,
        "status {}",
        &expect![[r#"
        gateway   DIR/control.sock, version 0.1.0, up 1m 1s
        store     FAILING: reports are refused
        peers     operators 1, agents 2
        sessions  3
        journal   entries 4, bytes 500
    "#]],
    );
    check(
        "status",
        json!({}),
        "status {}",
        &expect![[r#"
        gateway   DIR/control.sock
    "#]],
    );
}

#[test]
fn report_says_nothing_unless_asked() {
    let body = json!({ "ok": true });
    let request = r#"session.usage {"cost":0.1,"inputTokens":3,"key":"a:b","outputTokens":4}"#;
    let line = "report usage a:b --input-tokens 3 --output-tokens 4 --cost 0.1";
    check(line, body.clone(), request, &expect![[""]]);
    check(
        &format!("{line} --json"),
        body,
        request,
        &expect![[r#"
        {"ok":true}
    "#]],
    );
    let request = r#"session.usage {"cost":0.1,"inputTokens":0,"key":"a:b","outputTokens":0}"#;
    check("report usage a:b --cost 0.1", json!({}), request, &expect![[""]]);
    let request = r#"agent.status {"name":"a","status":"busy"}"#;
    check("report status busy --name a", json!({}), request, &expect![[""]]);
}

#[test]
fn a_request_or_device_that_is_not_there_is_answered_with_where_to_look() {
    for (words, method, message) in [
        (["devices", "approve", "x"], "device.pair.approve", "unknown requestId"),
        (["devices", "revoke", "x"], "device.pair.remove", "unknown deviceId"),
    ] {
        let fake = Fake::start(1, move |_, _| {
            vec![Say::Error(json!({ "code": "NOT_FOUND", "message": message }))]
        });
        let dir = fake.state_dir().to_str().unwrap().to_owned();
        let (code, stdout, stderr) = run(&[&words[..], &["--state-dir", &dir]].concat());
        let expected = format!(
            "openclaw-gateway devices: {method}: {message} (NOT_FOUND)\n  \
             openclaw-gateway devices list shows what there is\n"
        );
        assert_eq!((code, stdout.as_str(), stderr), (1, "", expected));
    }
}
