//! Runs whose agent is not there and is started from its template.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use expect_test::{Expect, expect};
use openclaw_gateway::base::ids::{AgentName, SessionKey, SpawnId};
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::hub::child::{ChildMarks, ChildNews, ChildOrder, OutputLine, ProgramFound};
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::hub::policy::AgentTemplate;
use openclaw_gateway::protocol::log_entry::{Level, LogDraft};
use openclaw_gateway::protocol::output_line::{OutputContent, OutputStream};
use openclaw_gateway::protocol::request::Request;
use openclaw_gateway::protocol::run::RunState;
use openclaw_gateway::protocol::run_calls::{RunAsk, RunMethod};
use openclaw_gateway::protocol::spawn::Exit;

use crate::peers::{Peer, operator};
use crate::runs::{TOLD, abort, ask, start, update, wait};
use crate::sessions::usage;
use crate::sim::{Sim, StoreMode};

pub(crate) fn template() -> AgentTemplate {
    AgentTemplate {
        command: "worker".to_owned(),
        args: vec!["--task".to_owned(), "{task}".to_owned()],
        env: Vec::new(),
        cwd: None,
        timeout: Duration::from_secs(60),
        concurrent_max: 4,
        stdout_reports: false,
        run_as: None,
    }
}

fn call(key: &str) -> Request {
    let session = Some(SessionKey::new("w1:chat"));
    start(RunAsk { session, ..ask(RunMethod::Agent, key, "tidy up") })
}

/// The spawn that was ordered last.
fn spawn(sim: &Sim) -> SpawnId {
    let resolve = sim.log.iter().rev().find_map(|effect| match effect {
        Effect::Child(order) => match &**order {
            ChildOrder::Resolve(asked) => Some(asked.spawn.clone()),
            _ => None,
        },
        _ => None,
    });
    resolve.expect("a spawn was ordered")
}

/// The credential and the last argument of the program that was launched last.
fn launched(sim: &Sim) -> (Secret, String) {
    let launch = sim.log.iter().rev().find_map(|effect| match effect {
        Effect::Child(order) => match &**order {
            ChildOrder::Launch(launch) => {
                Some((launch.token.clone(), launch.args.last().unwrap().clone()))
            }
            _ => None,
        },
        _ => None,
    });
    launch.expect("a program was launched")
}

fn news(sim: &mut Sim, news: ChildNews) -> &mut Sim {
    sim.input(Input::Child(Box::new(news)))
}

/// The shell finds the program and starts it.
fn starts(sim: &mut Sim) -> SpawnId {
    let id = spawn(sim);
    let found = ProgramFound { program: PathBuf::from("/bin/worker"), cwd: PathBuf::from("/") };
    news(sim, ChildNews::Resolved { spawn: id.clone(), outcome: Ok(found) });
    let marks = ChildMarks { pid: 7, boot_id: "b".to_owned(), start_time: 1, cgroup: None };
    news(sim, ChildNews::Held { spawn: id.clone(), outcome: Ok(marks) });
    news(sim, ChildNews::Started(id.clone()));
    id
}

fn prints(sim: &mut Sim, id: &SpawnId, line: &str) {
    let source = std::sync::Arc::from("w1");
    let draft = LogDraft::new(sim.now.unix_ms, Level::Info, source, None, line);
    let content = OutputContent::Entry { draft, text: Some(line.into()) };
    let lines = vec![OutputLine { stream: OutputStream::Stdout, content }];
    news(sim, ChildNews::Output { spawn: id.clone(), lines });
}

fn exits(sim: &mut Sim, id: &SpawnId, exit: Exit) {
    news(sim, ChildNews::OutputEnded(id.clone()));
    news(sim, ChildNews::Exited { spawn: id.clone(), exit, leftovers: false });
}

fn child(token: &Secret) -> Peer {
    let mut peer = operator();
    peer.connect.auth_token = Some(token.clone());
    peer.connect.role_named = false;
    peer
}

#[track_caller]
fn check(story: impl FnOnce(&mut Sim), expected: Expect) {
    let mut sim = Sim::with(|policy| {
        policy.spawn.templates = BTreeMap::from([(AgentName::new("w1"), template())]);
    });
    sim.shell.held = true;
    sim.settled().only(&["Respond"]).show(&TOLD);
    // The stories tell what becomes of the program.
    sim.shell.held = true;
    story(&mut sim);
    let text = sim.take();
    let id = sim.disk.spawns.first().map(|spawn| spawn.id.to_string()).unwrap_or_default();
    expected.assert_eq(&text.replace(&id, "sp-1"));
}

#[test]
fn what_the_program_prints_is_the_answer() {
    check(
        |sim| {
            sim.request(1, call("k"));
            let id = starts(sim);
            assert_eq!(launched(sim).1, "tidy up");
            prints(sim, &id, "one");
            prints(sim, &id, "two");
            exits(sim, &id, Exit::Code(0));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in w1:chat)
            0s Broadcast(agent k 1 started)
            0s Broadcast(agent k 2 said "one\ntwo")
            0s Broadcast(agent k 3 ended)
            0s Broadcast(chat k 3 final "one\ntwo")
            0s Broadcast(message "one\ntwo" of w1)
            0s RespondAgain(conn-1, r1, agent ended k final "one\ntwo")
        "#]],
    );
}

#[test]
fn a_program_that_fails_fails_the_run() {
    check(
        |sim| {
            sim.request(1, call("k"));
            let id = starts(sim);
            prints(sim, &id, "one");
            exits(sim, &id, Exit::Code(3));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in w1:chat)
            0s Broadcast(agent k 1 started)
            0s Broadcast(agent k 2 failed: the agent's program sp-1 ended: exited with code 3)
            0s Broadcast(chat k 2 error because "the agent's program sp-1 ended: exited with code 3")
            0s RespondAgain(conn-1, r1, agent ended k error because "the agent's program sp-1 ended: exited with code 3")
        "#]],
    );
}

#[test]
fn a_program_that_cannot_be_started_fails_the_run() {
    check(
        |sim| {
            sim.shell.held = true;
            sim.request(1, call("k"));
            let cause = openclaw_gateway::hub::child::NotFound::CannotStart("no such file".into());
            let id = spawn(sim);
            news(sim, ChildNews::Resolved { spawn: id, outcome: Err(cause) });
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in w1:chat)
            0s Broadcast(agent k 1 started)
            0s Broadcast(agent k 2 failed: the agent's program sp-1 ended: no such file)
            0s Broadcast(chat k 2 error because "the agent's program sp-1 ended: no such file")
            0s RespondAgain(conn-1, r1, agent ended k error because "the agent's program sp-1 ended: no such file")
        "#]],
    );
}

#[test]
fn a_program_that_connects_is_given_the_run_and_answers_it() {
    check(
        |sim| {
            sim.request(1, call("k"));
            let id = starts(sim);
            let (token, _) = launched(sim);
            sim.connect(5, child(&token));
            sim.request(5, update("k", RunState::Delta, "half"));
            sim.request(5, update("k", RunState::Final, "half done")).closed(5);
            exits(sim, &id, Exit::Code(0));
            sim.request(1, wait("k", 1));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in w1:chat)
            0s Broadcast(agent k 1 started)
            0s Send(conn-5, k asked "tidy up" in w1:chat)
            0s Broadcast(agent k 2 said "half")
            0s Broadcast(chat k 2 delta "half")
            0s Respond(conn-5, r2, ok)
            0s Broadcast(agent k 3 said " done")
            0s Broadcast(agent k 4 ended)
            0s Broadcast(chat k 4 final "half done")
            0s Broadcast(message "half done" of w1)
            0s RespondAgain(conn-1, r1, agent ended k final "half done")
            0s Respond(conn-5, r3, ok)
            0s Respond(conn-1, r4, waited k final "half done")
        "#]],
    );
}

#[test]
fn a_program_that_connects_and_leaves_may_still_answer_by_its_exit() {
    check(
        |sim| {
            sim.request(1, call("k"));
            let id = starts(sim);
            let (token, _) = launched(sim);
            sim.connect(5, child(&token)).closed(5);
            prints(sim, &id, "printed");
            exits(sim, &id, Exit::Code(0));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in w1:chat)
            0s Broadcast(agent k 1 started)
            0s Send(conn-5, k asked "tidy up" in w1:chat)
            0s Broadcast(agent k 2 said "printed")
            0s Broadcast(agent k 3 ended)
            0s Broadcast(chat k 3 final "printed")
            0s Broadcast(message "printed" of w1)
            0s RespondAgain(conn-1, r1, agent ended k final "printed")
        "#]],
    );
}

#[test]
fn giving_a_run_up_ends_its_program() {
    check(
        |sim| {
            sim.request(1, call("k"));
            let id = starts(sim);
            sim.request(1, abort("k"));
            exits(sim, &id, Exit::Signal(15));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in w1:chat)
            0s Broadcast(agent k 1 started)
            0s Respond(conn-1, r2, aborting [k])
            0s Broadcast(agent k 2 given up)
            0s Broadcast(chat k 2 aborted because "aborted")
            0s RespondAgain(conn-1, r1, agent ended k aborted because "aborted")
        "#]],
    );
}

#[test]
fn a_run_that_takes_too_long_ends_its_program() {
    check(
        |sim| {
            let timeout = Some(Duration::from_secs(5));
            let session = Some(SessionKey::new("w1:chat"));
            sim.request(
                1,
                start(RunAsk { session, timeout, ..ask(RunMethod::Agent, "k", "tidy up") }),
            );
            let id = starts(sim);
            sim.live_for(5, &[1, 2]);
            exits(sim, &id, Exit::Signal(15));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in w1:chat)
            0s Broadcast(agent k 1 started)
            5s Broadcast(agent k 2 failed: the agent gave no answer within 5 s)
            5s Broadcast(chat k 2 error because "the agent gave no answer within 5 s")
            5s RespondAgain(conn-1, r1, agent ended k error because "the agent gave no answer within 5 s" (timeout))
        "#]],
    );
}

#[test]
fn a_session_that_goes_on_no_longer_when_a_run_is_overdue_is_told_of_at_that_moment() {
    let mut sim = Sim::with(|policy| {
        policy.spawn.templates = BTreeMap::from([(AgentName::new("w1"), template())]);
    });
    sim.settled().only(&["Tick"]);
    sim.shell.held = true;
    let report = Request::SessionUsage(Box::new(usage("w1:chat", 5)));
    sim.request(1, report).run_secs(1);
    let session = Some(SessionKey::new("w1:chat"));
    let timeout = Some(Duration::from_secs(1));
    let ask = RunAsk { session, timeout, ..ask(RunMethod::Agent, "k", "tidy up") };
    // The program is still being looked for when its time is over.
    sim.request(1, start(ask));
    sim.store = StoreMode::Held;
    sim.run_secs(5);
    assert_eq!(sim.take().lines().last(), Some("2s Broadcast(tick [w1:chat 6] of 1)"));
}
