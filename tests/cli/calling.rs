//! `call` against a gateway that answers once, twice, or not to the end.

use expect_test::{Expect, expect};
use serde_json::json;

use crate::fake::{Fake, Say};
use crate::run;

/// What `call METHOD` prints and says, and how it ends, when the gateway answers like this.
#[track_caller]
fn check(answers: Vec<Say>, expected: Expect) {
    let mut answers = Some(answers);
    let fake = Fake::start(1, move |_, _| answers.take().expect("one request"));
    let dir = fake.state_dir().to_str().unwrap().to_owned();
    let (code, stdout, stderr) =
        run(&["call", "agent", "{}", "--timeout", "2s", "--state-dir", &dir]);
    expected.assert_eq(&format!("{stdout}{stderr}exit {code}\n"));
    assert_eq!(fake.requests().len(), 1);
}

fn accepted() -> Say {
    Say::Ok(json!({ "runId": "r-1", "status": "accepted", "acceptedAt": 1_795_373_022_123_u64 }))
}

fn log() -> Say {
    Say::Event("log", json!({ "status": "accepted" }))
}

#[test]
fn an_answer_that_says_accepted_is_followed_by_the_final_one() {
    let done = || Say::Ok(json!({ "runId": "r-1", "status": "ok", "summary": "done" }));
    check(
        vec![accepted(), log(), done()],
        expect![[r#"
        {"acceptedAt":1795373022123,"runId":"r-1","status":"accepted"}
        {"runId":"r-1","status":"ok","summary":"done"}
        exit 0
    "#]],
    );
    check(
        vec![done(), done()],
        expect![[r#"
        {"runId":"r-1","status":"ok","summary":"done"}
        exit 0
    "#]],
    );
}

#[test]
fn a_final_answer_may_be_an_error() {
    let error = json!({ "code": "UNAVAILABLE", "message": "agent disconnected: builder" });
    check(
        vec![accepted(), Say::Error(error)],
        expect![[r#"
        {"acceptedAt":1795373022123,"runId":"r-1","status":"accepted"}
        openclaw-gateway call: agent: agent disconnected: builder (UNAVAILABLE)
        exit 1
    "#]],
    );
}

#[test]
fn a_final_answer_that_does_not_come_is_missed() {
    check(
        vec![accepted(), log()],
        expect![[r#"
        {"acceptedAt":1795373022123,"runId":"r-1","status":"accepted"}
        openclaw-gateway call: timed out waiting for the answer to agent that follows "accepted"
          --timeout allows more time
        exit 4
    "#]],
    );
    check(
        vec![accepted(), Say::Close(1012, "service restart")],
        expect![[r#"
        {"acceptedAt":1795373022123,"runId":"r-1","status":"accepted"}
        openclaw-gateway call: the gateway closed the connection: service restart (1012)
        exit 3
    "#]],
    );
}
