//! What may be started, how many at a time, in which order, and as whom a child comes back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::{AgentName, SessionKey};
use openclaw_gateway::hub::child::{ChildNews, Exit, NotFound};
use openclaw_gateway::hub::policy::{AgentTemplate, Policy};
use openclaw_gateway::protocol::request::{Idempotency, LogsTail, Request};
use openclaw_gateway::protocol::spawn::{SpawnAsk, SpawnRequest, TemplateAsk};

use crate::peers::{Peer, agent, operator};
use crate::shell::{ask, task};
use crate::sim::{Sim, tail};

fn template(args: &[&str]) -> AgentTemplate {
    AgentTemplate {
        command: "worker".to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: Vec::new(),
        cwd: Some(PathBuf::from("/work")),
        timeout: Duration::from_secs(60),
        concurrent_max: 2,
        stdout_reports: true,
        run_as: None,
    }
}

fn adjust(policy: &mut Policy) {
    let spawn = &mut policy.spawn;
    spawn.allowed_commands = vec!["p".to_owned(), "/bin/q".to_owned()];
    spawn.allowed_dirs = vec![PathBuf::from("/work")];
    spawn.concurrent_max = 3;
    spawn.queued_max = 2;
    let args = ["--task={task}", "{model}", "{label}", "{other}"];
    spawn.templates = BTreeMap::from([(AgentName::new("w1"), template(&args))]);
}

fn sim() -> Sim {
    let mut sim = Sim::with(adjust);
    sim.settled().only(&["Admit", "Refuse", "Respond", "Close", "Spawn", "Child", "Log"]);
    sim
}

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = sim();
    story(&mut sim);
    expected.assert_eq(&sim.take());
}

fn template_spawn(sim: &mut Sim, ask: TemplateAsk) -> &mut Sim {
    sim.spawns(1, SpawnRequest::Template(Box::new(ask)))
}

fn in_session(key: &str) -> SpawnAsk {
    SpawnAsk { session: Some(SessionKey::new(key)), ..ask("p") }
}

#[test]
fn a_refusal_names_the_rule_and_is_an_event() {
    check(
        |sim| {
            sim.spawn(1, ask("sh"));
            sim.spawn(1, ask("/bin/p"));
            sim.spawn(1, SpawnAsk { timeout_ms: Some(90_000_000), ..ask("p") });
            sim.spawn(1, in_session("nobody"));
            template_spawn(sim, task("w2", "x"));
            template_spawn(sim, TemplateAsk { agent: None, ..task("w1", "x") });
            template_spawn(sim, TemplateAsk { timeout_ms: Some(61_000), ..task("w1", "x") });
            template_spawn(sim, TemplateAsk { model: Some("-x".into()), ..task("w1", "x") });
        },
        expect![[r#"
            0s Respond(conn-1, r1, INVALID_REQUEST "gateway.spawn.allowedCommands does not name \"sh\"")
            0s Broadcast(spawn_result r1 sp-1 failed "gateway.spawn.allowedCommands does not name \"sh\"")
            0s Respond(conn-1, r2, INVALID_REQUEST "gateway.spawn.allowedCommands does not name \"/bin/p\"")
            0s Broadcast(spawn_result r2 sp-2 failed "gateway.spawn.allowedCommands does not name \"/bin/p\"")
            0s Respond(conn-1, r3, INVALID_REQUEST "gateway.spawn.timeoutSeconds allows 86400 s, asked for 90000 s")
            0s Broadcast(spawn_result r3 sp-3 failed "gateway.spawn.timeoutSeconds allows 86400 s, asked for 90000 s")
            0s Respond(conn-1, r4, INVALID_REQUEST "invalid spawn params: session must begin with an agent's name and a colon")
            0s Respond(conn-1, r5, NOT_FOUND "no agent template: gateway.agents.w2 is not configured")
            0s Respond(conn-1, r6, NOT_FOUND "no agent named, and gateway.agents.default is not configured")
            0s Respond(conn-1, r7, INVALID_REQUEST "gateway.agents.w1.timeoutSeconds allows 60 s, asked for 61 s")
            0s Broadcast(spawn_result r7 sp-4 failed "gateway.agents.w1.timeoutSeconds allows 60 s, asked for 61 s")
            0s Respond(conn-1, r8, INVALID_REQUEST "model may not begin with -")
        "#]],
    );
}

#[test]
fn nothing_is_spawned_where_that_is_off() {
    let mut sim = Sim::with(|policy| {
        adjust(policy);
        policy.spawn.enabled = false;
    });
    sim.settled().only(&["Respond", "Child"]);
    sim.spawn(1, ask("p"));
    template_spawn(&mut sim, task("w1", "x"));
    expect![[r#"
        0s Respond(conn-1, r1, INVALID_REQUEST "gateway.spawn.enabled is false: nothing is spawned")
        0s Respond(conn-1, r2, INVALID_REQUEST "gateway.spawn.enabled is false: nothing is spawned")
    "#]]
    .assert_eq(&sim.take());
}

#[test]
fn a_directory_that_is_not_allowed_and_a_program_that_is_not_there_differ() {
    check(
        |sim| {
            sim.shell.held = true;
            sim.spawn(1, SpawnAsk { cwd: Some("/etc".to_owned()), ..ask("p") });
            sim.spawn(1, ask("/bin/q"));
            let (one, two) = (sim.id(1), sim.id(2));
            let rule = "gateway.spawn.allowedDirs";
            let forbidden = NotFound::Forbidden { rule, problem: "/etc is below none".to_owned() };
            sim.news(ChildNews::Resolved { spawn: one, outcome: Err(forbidden) });
            let missing = NotFound::CannotStart("no program /bin/q".to_owned());
            sim.news(ChildNews::Resolved { spawn: two, outcome: Err(missing) });
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(resolve sp-2 /bin/q)
            0s Respond(conn-1, r1, INVALID_REQUEST "gateway.spawn.allowedDirs: /etc is below none")
            0s Broadcast(spawn_result r1 sp-1 failed "gateway.spawn.allowedDirs: /etc is below none")
            0s Respond(conn-1, r2, spawned r2 sp-2 failed "no program /bin/q")
            0s Broadcast(spawn_result r2 sp-2 failed "no program /bin/q")
        "#]],
    );
}

#[test]
fn who_finds_no_place_waits_in_order_of_arrival() {
    check(
        |sim| {
            for _ in 0..6 {
                sim.spawn(1, ask("p"));
            }
            sim.ends(2, 0).spawn(1, ask("p")).cancel(1, "r5").ends(1, 0);
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Child(resolve sp-2 p)
            0s Child(launch sp-2 [])
            0s Child(go sp-2)
            0s Respond(conn-1, r2, spawned r2 sp-2 running pid 102)
            0s Broadcast(spawn_result r2 sp-2 running pid 102)
            0s Child(resolve sp-3 p)
            0s Child(launch sp-3 [])
            0s Child(go sp-3)
            0s Respond(conn-1, r3, spawned r3 sp-3 running pid 103)
            0s Broadcast(spawn_result r3 sp-3 running pid 103)
            0s Child(resolve sp-4 p)
            0s Respond(conn-1, r4, spawned r4 sp-4 queued)
            0s Broadcast(spawn_result r4 sp-4 queued)
            0s Child(resolve sp-5 p)
            0s Respond(conn-1, r5, spawned r5 sp-5 queued)
            0s Broadcast(spawn_result r5 sp-5 queued)
            0s Respond(conn-1, r6, RESOURCE_EXHAUSTED "as many spawns wait as gateway.spawn.maxQueued allows, 2" retry 1000)
            0s Broadcast(spawn_result r6 sp-6 failed "as many spawns wait as gateway.spawn.maxQueued allows, 2")
            0s Child(launch sp-4 [])
            0s Broadcast(spawn_result r2 sp-2 completed pid 102 Code(0))
            0s Child(go sp-4)
            0s Broadcast(spawn_result r4 sp-4 running pid 104)
            0s Child(resolve sp-7 p)
            0s Respond(conn-1, r7, spawned r7 sp-7 queued)
            0s Broadcast(spawn_result r7 sp-7 queued)
            0s Respond(conn-1, r8, cancelling r5 sp-5 cancelled)
            0s Broadcast(spawn_result r5 sp-5 cancelled)
            0s Child(launch sp-7 [])
            0s Broadcast(spawn_result r1 sp-1 completed pid 101 Code(0))
            0s Child(go sp-7)
            0s Broadcast(spawn_result r7 sp-7 running pid 105)
        "#]],
    );
}

#[test]
fn a_template_that_runs_often_enough_lets_others_pass() {
    check(
        |sim| {
            for text in ["1", "2", "3"] {
                template_spawn(sim, task("w1", text));
            }
            sim.spawn(1, ask("p")).ends(4, 0).ends(1, 0);
        },
        expect![[r#"
            0s Child(resolve sp-1 worker)
            0s Child(launch sp-1 ["--task=1", "", "", "{other}"])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101 in w1:sp-1)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Child(resolve sp-2 worker)
            0s Child(launch sp-2 ["--task=2", "", "", "{other}"])
            0s Child(go sp-2)
            0s Respond(conn-1, r2, spawned r2 sp-2 running pid 102 in w1:sp-2)
            0s Broadcast(spawn_result r2 sp-2 running pid 102)
            0s Child(resolve sp-3 worker)
            0s Respond(conn-1, r3, spawned r3 sp-3 queued in w1:sp-3)
            0s Broadcast(spawn_result r3 sp-3 queued)
            0s Child(resolve sp-4 p)
            0s Child(launch sp-4 [])
            0s Child(go sp-4)
            0s Respond(conn-1, r4, spawned r4 sp-4 running pid 103)
            0s Broadcast(spawn_result r4 sp-4 running pid 103)
            0s Broadcast(spawn_result r4 sp-4 completed pid 103 Code(0))
            0s Child(launch sp-3 ["--task=3", "", "", "{other}"])
            0s Broadcast(spawn_result r1 sp-1 completed pid 101 Code(0))
            0s Child(go sp-3)
            0s Broadcast(spawn_result r3 sp-3 running pid 104)
        "#]],
    );
}

#[test]
fn a_template_is_filled_in_argument_by_argument() {
    let mut sim = sim();
    let (model, label) = (Some("m {task}".into()), Some("; rm".into()));
    template_spawn(&mut sim, TemplateAsk { model, label, ..task("w1", "do {model} \"x\"") });
    let id = sim.id(1);
    assert_eq!(
        sim.shell.launched[&id].args,
        ["--task=do {model} \"x\"", "m {task}", "; rm", "{other}"]
    );
}

#[test]
fn the_session_of_a_spawn_is_there_and_goes_on_while_it_runs() {
    let mut sim = sim();
    let label: Option<std::sync::Arc<str>> = Some("night shift".into());
    template_spawn(&mut sim, TemplateAsk { label: label.clone(), ..task("w1", "x") });
    let key = sim.session_of(1);
    assert_eq!(key.as_str(), format!("w1:{}", sim.id(1)));
    let session = |sim: &Sim| sim.disk.sessions.iter().find(|s| s.key == key).cloned().unwrap();
    let running = session(&sim);
    assert!(running.active);
    assert_eq!((&*running.kind, &running.label), ("spawn", &label));
    sim.ends(1, 0);
    assert!(!session(&sim).active);
}

#[test]
fn report_lines_are_reports_of_the_session_of_the_spawn() {
    check(
        |sim| {
            template_spawn(sim, task("w1", "x"));
            sim.show(&["Agent"]);
            sim.prints(
                1,
                &[
                    r#"{"method":"session.usage","params":{"inputTokens":3,"outputTokens":4}}"#,
                    r#"{"method":"agent.status","params":{"status":"busy"}}"#,
                    r#"{"method":"session.usage","params":{"key":"a1:s","inputTokens":1,"outputTokens":1}}"#,
                    r#"{"method":"session.usage","params":{"inputTokens":9007199254740992,"outputTokens":1}}"#,
                    r#"{"method":"logs.append","params":{"entries":[{"level":"error","message":"m"}]}}"#,
                ],
            );
            let key = sim.session_of(1);
            let session = sim.disk.sessions.iter().find(|s| s.key == key).unwrap();
            assert_eq!(session.total_tokens, 7);
        },
        expect![[r#"
            0s Child(resolve sp-1 worker)
            0s Child(launch sp-1 ["--task=x", "", "", "{other}"])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101 in w1:sp-1)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Broadcast(agent w1 4568070149 busy)
            0s Broadcast(log 1 "timestamp":1000,"level":"warn","source":"w1","session":"w1:sp-1","message":"report line ignored: invalid session.usage params: key must be w1:sp-1, the session of this spawn")
            0s Broadcast(log 2 "timestamp":1795000000000,"level":"warn","source":"w1","session":"w1:sp-1","message":"report line refused: invalid session.usage params: inputTokens would take the session's inputTokens over 9007199254740992")
            0s Broadcast(log 3 "timestamp":1000,"level":"error","source":"w1","session":"w1:sp-1","message":"m")
        "#]],
    );
}

/// A child that comes back with what it was started with.
fn child(sim: &Sim, number: usize) -> Peer {
    let token = sim.shell.launched[&sim.id(number)].token.expose().to_owned();
    agent("called-something-else").bare().token(&token).remote("203.0.113.9")
}

#[test]
fn a_child_comes_back_as_the_agent_of_its_session_and_only_while_it_runs() {
    check(
        |sim| {
            template_spawn(sim, task("w1", "x"));
            let peer = child(sim, 1);
            sim.connect(3, peer.clone()).connect(4, peer.clone().device("own"));
            let mut as_operator = peer.clone();
            as_operator.connect.role = openclaw_gateway::protocol::scope::Role::Operator;
            sim.connect(5, as_operator);
            sim.exits(1, Exit::Code(0)).connect(6, peer.clone()).output_ends(1);
            sim.connect(7, peer);
        },
        expect![[r#"
            0s Child(resolve sp-1 worker)
            0s Child(launch sp-1 ["--task=x", "", "", "{other}"])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101 in w1:sp-1)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Admit(conn-3 agent [] named w1 of default by spawn)
            0s Admit(conn-4 agent [] named w1 of default by spawn)
            0s Refuse(conn-5, UNAUTHORIZED "unauthorized: gateway token mismatch" {"code":"AUTH_TOKEN_MISMATCH"}) 1008 "unauthorized: gateway token mismatch"
            0s Close(conn-3, credential_withdrawn)
            0s Close(conn-4, credential_withdrawn)
            0s Refuse(conn-6, UNAUTHORIZED "unauthorized: gateway token mismatch: none is configured; set OPENCLAW_GATEWAY_TOKEN or gateway.auth.token" {"code":"AUTH_TOKEN_MISMATCH"}) 1008 "unauthorized: gateway token mismatch: none is configured; set OPENCLAW_GATEWAY_TOKEN or gateway.auth.token"
            0s Broadcast(spawn_result r1 sp-1 completed pid 101 Code(0))
            0s Refuse(conn-7, UNAUTHORIZED "unauthorized: gateway token mismatch: none is configured; set OPENCLAW_GATEWAY_TOKEN or gateway.auth.token" {"code":"AUTH_TOKEN_MISMATCH"}) 1008 "unauthorized: gateway token mismatch: none is configured; set OPENCLAW_GATEWAY_TOKEN or gateway.auth.token"
        "#]],
    );
}

#[test]
fn a_lock_out_of_its_address_does_not_hold_a_child_up() {
    let mut sim = Sim::with(|policy| {
        adjust(policy);
        policy.auth.secrets = crate::policies::shared("right");
    });
    sim.settled().only(&["Admit"]);
    for conn in 10..30 {
        sim.connect(conn, operator().token("wrong").remote("203.0.113.9"));
    }
    assert_eq!(sim.take(), "");
    template_spawn(&mut sim, task("w1", "x"));
    let peer = child(&sim, 1);
    sim.connect(3, peer);
    expect![[r#"
        0s Admit(conn-3 agent [] named w1 of default by spawn)
    "#]]
    .assert_eq(&sim.take());
}

#[test]
fn a_repetition_starts_nothing_and_hears_how_it_stands() {
    check(
        |sim| {
            let once = || {
                let key = "k".to_owned();
                let idempotency = Some(Idempotency { key, params_hash: [7; 32] });
                SpawnAsk { idempotency, ..ask("p") }
            };
            sim.shell.held = true;
            sim.spawn(1, once()).spawn(1, once());
            sim.shell.held = false;
            let id = sim.id(1);
            sim.news(crate::shell::resolved(&id));
            sim.spawn(1, once()).ends(1, 0).spawn(1, once());
            let other = Some(Idempotency { key: "k".to_owned(), params_hash: [8; 32] });
            sim.spawn(1, SpawnAsk { idempotency: other, ..ask("p") });
            sim.restart().connect(1, operator().device("desk")).spawn(1, once());
        },
        expect![[r#"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, r1, spawned r1 sp-1 running pid 101)
            0s Respond(conn-1, r2, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 running pid 101)
            0s Respond(conn-1, r3, spawned r1 sp-1 running pid 101)
            0s Broadcast(spawn_result r1 sp-1 completed pid 101 Code(0))
            0s Respond(conn-1, r4, spawned r1 sp-1 completed pid 101 Code(0))
            0s Respond(conn-1, r5, CONFLICT "this idempotencyKey was used with other params")
            0s -- restarted
            0s Admit(conn-1 operator [operator.admin] device desk token-3 of default by device)
            0s Respond(conn-1, r6, spawned r1 sp-1 completed pid 101 Code(0))
        "#]],
    );
}

#[test]
fn a_refused_spawn_leaves_its_key_free() {
    let once = || {
        let idempotency = Some(Idempotency { key: "k".to_owned(), params_hash: [7; 32] });
        SpawnAsk { idempotency, ..ask("sh") }
    };
    check(
        |sim| {
            sim.spawn(1, once()).spawn(1, SpawnAsk { command: "p".to_owned(), ..once() });
        },
        expect![[r#"
            0s Respond(conn-1, r1, INVALID_REQUEST "gateway.spawn.allowedCommands does not name \"sh\"")
            0s Broadcast(spawn_result r1 sp-1 failed "gateway.spawn.allowedCommands does not name \"sh\"")
            0s Child(resolve sp-2 p)
            0s Child(launch sp-2 [])
            0s Child(go sp-2)
            0s Respond(conn-1, r2, spawned r2 sp-2 running pid 101)
            0s Broadcast(spawn_result r2 sp-2 running pid 101)
        "#]],
    );
}

#[test]
fn a_request_id_means_the_newest_spawn_of_the_same_device() {
    check(
        |sim| {
            use openclaw_gateway::base::ids::RequestId;
            use openclaw_gateway::hub::input::Input;
            let ask_as = |sim: &mut Sim, conn| {
                let request = Request::Spawn(Box::new(SpawnRequest::Spawn(Box::new(ask("p")))));
                let conn = openclaw_gateway::base::ids::ConnId(conn);
                sim.input(Input::Requested { conn, id: RequestId::new("same"), request });
            };
            sim.connect(3, operator().bare().token("t"));
            ask_as(sim, 1);
            ask_as(sim, 1);
            sim.ends(2, 0).cancel(1, "same").cancel(1, "other").cancel(2, "same");
            let whole = sim.id(1).to_string();
            sim.cancel(2, &whole);
        },
        expect![[r#"
            0s Refuse(conn-3, UNAUTHORIZED "unauthorized: gateway token mismatch: none is configured; set OPENCLAW_GATEWAY_TOKEN or gateway.auth.token" {"code":"AUTH_TOKEN_MISMATCH"}) 1008 "unauthorized: gateway token mismatch: none is configured; set OPENCLAW_GATEWAY_TOKEN or gateway.auth.token"
            0s Child(resolve sp-1 p)
            0s Child(launch sp-1 [])
            0s Child(go sp-1)
            0s Respond(conn-1, same, spawned same sp-1 running pid 101)
            0s Broadcast(spawn_result same sp-1 running pid 101)
            0s Child(resolve sp-2 p)
            0s Child(launch sp-2 [])
            0s Child(go sp-2)
            0s Respond(conn-1, same, spawned same sp-2 running pid 102)
            0s Broadcast(spawn_result same sp-2 running pid 102)
            0s Broadcast(spawn_result same sp-2 completed pid 102 Code(0))
            0s Child(signal sp-1 Terminate)
            0s Respond(conn-1, r1, cancelling same sp-1 running pid 101)
            0s Respond(conn-1, r2, NOT_FOUND "no such spawn: other")
            0s Respond(conn-2, r3, NOT_FOUND "no such spawn: same")
            0s Respond(conn-2, r4, cancelling same sp-1 running pid 101)
        "#]],
    );
}

#[test]
fn the_logs_of_a_spawn_are_those_of_its_session_while_it_was_open() {
    check(
        |sim| {
            let logs = |cursor: Option<u64>, limit| {
                let tail: LogsTail = tail(cursor, limit);
                SpawnRequest::Logs { id: "r2".to_owned(), tail }
            };
            sim.append(2, &["before"]).spawn(1, in_session("a1:s")).append(2, &["beside"]);
            sim.prints(1, &["one", "two", "three"]).ends(1, 0).spawn(1, in_session("a1:s"));
            sim.prints(2, &["later"]).only(&["Respond"]).forget();
            sim.spawns(1, logs(None, 100)).spawns(1, logs(None, 2)).spawns(1, logs(Some(0), 2));
            sim.spawns(1, logs(Some(4), 2));
        },
        expect![[r#"
            0s Respond(conn-1, r5, entries [3 4 5] cursor 6)
            0s Respond(conn-1, r6, entries [4 5] cursor 6)
            0s Respond(conn-1, r7, entries [3 4] cursor 4 truncated)
            0s Respond(conn-1, r8, entries [5] cursor 6)
        "#]],
    );
}

#[test]
fn an_agent_is_gone_when_neither_a_connection_nor_a_program_of_it_is_left() {
    let mut sim = sim();
    sim.only(&["Agent", "Spawn"]);
    template_spawn(&mut sim, task("w1", "x"));
    template_spawn(&mut sim, task("w1", "y"));
    sim.prints(1, &[r#"{"method":"agent.status","params":{"status":"busy"}}"#]).ends(1, 0);
    let peer = child(&sim, 2);
    sim.connect(3, peer).note("comes back").exits(2, Exit::Code(0)).closed(3).output_ends(2);
    expect![[r#"
        0s Broadcast(spawn_result r1 sp-1 running pid 101)
        0s Broadcast(spawn_result r2 sp-2 running pid 102)
        0s Broadcast(agent w1 4568070149 busy)
        0s Broadcast(spawn_result r1 sp-1 completed pid 101 Code(0))
        0s -- comes back
        0s Broadcast(agent w1 4568070149 offline)
        0s Broadcast(spawn_result r2 sp-2 completed pid 102 Code(0))
    "#]]
    .assert_eq(&sim.take());
}
