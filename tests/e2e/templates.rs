//! Runs of agents that are not there and have a template: a program is started for each.

use serde_json::{Value, json};

use crate::kit::{Client, Connect, Gateway};

fn gateway(script: &str) -> Gateway {
    let config = format!(
        "[gateway.agents.writer]\ncommand = \"sh\"\nstdoutReports = true\n\
         args = [\"-c\", {script:?}, \"writer\", \"{{task}}\"]\n"
    );
    Gateway::setup().config(&config).start()
}

/// Asks the agent; how the run ended.
#[track_caller]
fn ask(operator: &mut Client, message: &str) -> Value {
    let ask =
        json!({ "sessionKey": "writer:notes", "message": message, "idempotencyKey": message });
    assert_eq!(operator.ask("chat.send", ask)["status"], "started");
    operator.ask("agent.wait", json!({ "runId": message, "timeoutMs": 20_000 }))
}

#[test]
fn a_program_that_exits_with_0_has_answered_with_its_output() {
    let gateway = gateway("echo \"you said: $1\"; echo done; echo careful >&2");
    let mut operator = gateway.operator();
    let waited = ask(&mut operator, "hello; $(exit 1)");
    assert_eq!(waited["status"], "ok", "{waited}");
    let text = waited["text"].as_str().unwrap();
    assert_eq!(text.trim_end(), "you said: hello; $(exit 1)\ndone");
    let history = operator.ask("chat.history", json!({ "sessionKey": "writer:notes" }));
    assert_eq!(history["messages"][1]["role"], "assistant", "{history}");
    assert_eq!(history["messages"][1]["content"], text);

    let asked = json!({ "agentId": "writer", "message": "again" });
    let id = operator.send_request("agent", asked);
    assert_eq!(operator.response(&id)["payload"]["status"], "accepted");
    let last = operator.response(&id);
    assert_eq!(last["payload"]["status"], "ok", "{last}");
    let said = last["payload"]["result"]["payloads"][0]["text"].as_str().unwrap();
    assert!(said.starts_with("you said: again\n"), "{said}");
}

#[test]
fn a_program_that_fails_has_failed_its_run() {
    let gateway = gateway("echo half; exit 3");
    let mut operator = gateway.operator();
    let waited = ask(&mut operator, "hello");
    assert_eq!(waited["status"], "error", "{waited}");
    assert!(waited["error"].as_str().unwrap().contains('3'), "{waited}");
    let spawns = operator.ask("spawn.list", Value::Null);
    assert_eq!(spawns["spawns"][0]["status"], "failed", "{spawns}");
}

#[test]
fn a_program_answers_its_run_by_a_line_of_its_output() {
    let gateway = gateway(
        r#"printf '{"method":"run.update","params":{"state":"delta","text":"It "}}\n'
           printf '{"method":"run.update","params":{"runId":"another","state":"final"}}\n'
           printf '{"method":"run.update","params":{"state":"final","text":"It is.","usage":{"input":3}}}\n'
           echo not the answer; exit 3"#,
    );
    let mut operator = gateway.operator();
    let waited = ask(&mut operator, "hello");
    assert_eq!((&waited["status"], &waited["text"]), (&json!("ok"), &json!("It is.")), "{waited}");
    let chats = operator.payloads("chat", 2);
    assert_eq!(chats[0]["message"]["content"], "It ");
    assert_eq!(chats[1]["usage"], json!({ "input": 3 }));
    let page = operator.ask("logs.tail", json!({ "level": "warn" }));
    assert_eq!(
        page["entries"][0]["message"], "report line refused: no such run: another",
        "{page}"
    );
}

#[test]
fn a_started_script_reports_with_what_it_was_given_and_not_after_its_end() {
    let binary = env!("CARGO_BIN_EXE_openclaw-gateway");
    let gateway = gateway(&format!(
        "set -e; {binary} report log 'from a script'; {binary} report status busy; \
         {binary} report usage --input-tokens 3 --output-tokens 4; \
         ! {binary} report usage other:one --input-tokens 1; echo \"$OPENCLAW_AGENT_TOKEN\""
    ));
    let mut operator = gateway.operator();
    let waited = ask(&mut operator, "hello");
    assert_eq!(waited["status"], "ok", "{waited}");
    let session = operator.ask("sessions.get", json!({ "key": "writer:notes" }));
    assert_eq!(session["session"]["totalTokens"], 7, "{session}");
    let page = operator.ask("logs.tail", json!({ "session": "writer:notes" }));
    assert_eq!(page["entries"][0]["message"], "from a script", "{page}");
    assert_eq!(page["entries"][0]["source"], "writer");
    let agents = operator.ask("agents.list", Value::Null);
    assert_eq!(agents["agents"][0]["status"], "busy", "{agents}");
    let token = waited["text"].as_str().unwrap().trim();
    assert!(token.starts_with("ocs_"), "{waited}");
    let late =
        Connect::bare().with("/role", json!("agent")).with("/auth", json!({ "token": token }));
    let refusal = gateway.dial().open().refused(&late);
    assert_eq!(refusal.details_code(), "AUTH_TOKEN_MISMATCH", "{}", refusal.message());
}
