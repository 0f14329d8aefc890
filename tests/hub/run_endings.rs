//! How runs end: their agent leaves, somebody gives them up, their time is over, the store fails,
//! the gateway is restarted.

use std::time::Duration;

use expect_test::expect;
use openclaw_gateway::base::ids::SessionKey;
use openclaw_gateway::protocol::request::{Request, SessionNamed};
use openclaw_gateway::protocol::run::RunState;
use openclaw_gateway::protocol::run_calls::{RunAsk, RunMethod};

use crate::peers::{agent, operator};
use crate::runs::{TOLD, abort, ask, call, check, history, send, start, update, wait};
use crate::sim::{Sim, StoreMode};

/// The gateway is killed and started again; the operator and the agent come back.
fn restarted(sim: &mut Sim) -> &mut Sim {
    sim.store = StoreMode::Prompt;
    sim.restart().only(&[]).connect(1, operator().device("desk")).connect(2, agent("a1"));
    sim.show(&["Respond"]).show(&TOLD)
}

#[test]
fn an_agent_that_leaves_fails_its_runs() {
    check(
        |sim| {
            sim.request(1, call("k"));
            sim.request(2, update("k", RunState::Delta, "half")).closed(2);
            sim.request(1, wait("k", 10));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s Broadcast(agent k 2 said "half")
            0s Broadcast(chat k 2 delta "half")
            0s Respond(conn-2, r2, ok)
            0s Broadcast(agent k 3 failed: agent disconnected: a1)
            0s Broadcast(chat k 3 error because "agent disconnected: a1")
            0s RespondAgain(conn-1, r1, agent ended k error "half" because "agent disconnected: a1")
            0s Respond(conn-1, r3, waited k error "half" because "agent disconnected: a1")
        "#]],
    );
}

#[test]
fn an_agent_that_was_told_to_go_is_not_told_to_give_up_as_well() {
    check(
        |sim| {
            sim.request(1, call("k")).show(&["Close"]).lingers = true;
            sim.note("the agent is silent").live_for(130, &[1]).request(1, abort("k"));
            sim.note("its connection is gone").closed(2);
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s -- the agent is silent
            30s Ping(conn-2)
            60s Ping(conn-2)
            90s Ping(conn-2)
            120s Close(conn-2, heartbeat_timeout)
            130s Respond(conn-1, r2, aborting [k])
            130s -- its connection is gone
            130s Broadcast(agent k 2 failed: agent disconnected: a1)
            130s Broadcast(chat k 2 error because "agent disconnected: a1")
            130s RespondAgain(conn-1, r1, agent ended k error because "agent disconnected: a1")
        "#]],
    );
}

#[test]
fn an_agent_that_leaves_before_it_was_asked_fails_the_run() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.request(1, call("k")).closed(2).stored().stored();
        },
        expect![[r#"
            0s -- stored
            0s Respond(conn-1, r1, k accepted in a1:chat)
            0s Broadcast(agent k 1 failed: agent not connected: a1)
            0s Broadcast(chat k 1 error because "agent not connected: a1")
            0s -- stored
            0s RespondAgain(conn-1, r1, agent ended k error because "agent not connected: a1")
        "#]],
    );
}

#[test]
fn the_newest_connection_of_an_agent_is_asked() {
    check(
        |sim| {
            sim.connect(3, agent("a1")).forget().request(1, send("k"));
            sim.note("the other one may speak for it")
                .request(2, update("k", RunState::Delta, "x"));
            sim.note("and its end is no end").closed(2);
            sim.request(3, update("k", RunState::Final, "xy"));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k Started in a1:chat)
            0s Send(conn-3, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s -- the other one may speak for it
            0s Broadcast(agent k 2 said "x")
            0s Broadcast(chat k 2 delta "x")
            0s Respond(conn-2, r2, ok)
            0s -- and its end is no end
            0s Broadcast(agent k 3 said "y")
            0s Broadcast(agent k 4 ended)
            0s Broadcast(chat k 4 final "xy")
            0s Broadcast(message "xy" of a1)
            0s Respond(conn-3, r3, ok)
        "#]],
    );
}

#[test]
fn only_the_agent_that_was_asked_speaks_of_a_run() {
    check(
        |sim| {
            sim.connect(3, agent("a2")).forget().request(1, send("k"));
            sim.request(3, update("k", RunState::Final, "mine"));
            sim.request(2, update("unknown", RunState::Final, "what"));
            sim.request(2, update("k", RunState::Final, "done"));
            sim.note("repeated").request(2, update("k", RunState::Final, "done"));
            sim.note("too late").request(2, update("k", RunState::Delta, "and"));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k Started in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s Respond(conn-3, r2, NOT_FOUND "no such run: k")
            0s Respond(conn-2, r3, NOT_FOUND "no such run: unknown")
            0s Broadcast(agent k 2 said "done")
            0s Broadcast(agent k 3 ended)
            0s Broadcast(chat k 3 final "done")
            0s Broadcast(message "done" of a1)
            0s Respond(conn-2, r4, ok)
            0s -- repeated
            0s Respond(conn-2, r5, ok)
            0s -- too late
            0s Respond(conn-2, r6, CONFLICT "this run has ended")
        "#]],
    );
}

#[test]
fn a_run_that_is_given_up_ends_as_its_agent_says_or_after_a_moment() {
    check(
        |sim| {
            sim.request(1, call("k")).request(1, abort("k")).request(1, abort("k"));
            sim.request(2, update("k", RunState::Aborted, ""));
            sim.request(1, abort("k"));
            sim.note("silent").request(1, call("silent")).request(1, abort("silent"));
            sim.run_secs(5);
            sim.note("finished all the same").request(1, call("f")).request(1, abort("f"));
            sim.request(2, update("f", RunState::Final, "done"));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s Send(conn-2, k told "abort" in a1:chat)
            0s Respond(conn-1, r2, aborting [k])
            0s Respond(conn-1, r3, aborting [k])
            0s Broadcast(agent k 2 given up)
            0s Broadcast(chat k 2 aborted because "aborted")
            0s RespondAgain(conn-1, r1, agent ended k aborted because "aborted")
            0s Respond(conn-2, r4, ok)
            0s Respond(conn-1, r5, aborting [])
            0s -- silent
            0s Respond(conn-1, r6, silent accepted in a1:chat)
            0s Send(conn-2, silent asked "hello" in a1:chat)
            0s Broadcast(agent silent 1 started)
            0s Send(conn-2, silent told "abort" in a1:chat)
            0s Respond(conn-1, r7, aborting [silent])
            5s Broadcast(agent silent 2 given up)
            5s Broadcast(chat silent 2 aborted because "aborted")
            5s RespondAgain(conn-1, r6, agent ended silent aborted because "aborted")
            5s -- finished all the same
            5s Respond(conn-1, r8, f accepted in a1:chat)
            5s Send(conn-2, f asked "hello" in a1:chat)
            5s Broadcast(agent f 1 started)
            5s Send(conn-2, f told "abort" in a1:chat)
            5s Respond(conn-1, r9, aborting [f])
            5s Broadcast(agent f 2 said "done")
            5s Broadcast(agent f 3 ended)
            5s Broadcast(chat f 3 final "done")
            5s Broadcast(message "done" of a1)
            5s RespondAgain(conn-1, r8, agent ended f final "done")
            5s Respond(conn-2, r10, ok)
        "#]],
    );
}

#[test]
fn a_run_that_is_given_up_before_it_was_asked_is_never_asked() {
    check(
        |sim| {
            sim.store = StoreMode::Held;
            sim.request(1, call("k")).request(1, abort("k")).stored().stored();
        },
        expect![[r#"
            0s Respond(conn-1, r2, aborting [k])
            0s -- stored
            0s Respond(conn-1, r1, k accepted in a1:chat)
            0s Broadcast(agent k 1 given up)
            0s Broadcast(chat k 1 aborted because "aborted")
            0s -- stored
            0s RespondAgain(conn-1, r1, agent ended k aborted because "aborted")
        "#]],
    );
}

#[test]
fn a_run_has_a_time_limit() {
    check(
        |sim| {
            let timeout = Some(Duration::from_secs(7));
            sim.request(1, start(RunAsk { timeout, ..ask(RunMethod::Agent, "k", "hello") }));
            sim.run_secs(7).request(2, update("k", RunState::Final, "late"));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            7s Send(conn-2, k told "abort" in a1:chat)
            7s Broadcast(agent k 2 failed: the agent gave no answer within 7 s)
            7s Broadcast(chat k 2 error because "the agent gave no answer within 7 s")
            7s RespondAgain(conn-1, r1, agent ended k error because "the agent gave no answer within 7 s" (timeout))
            7s Respond(conn-2, r2, CONFLICT "this run has ended")
        "#]],
    );
}

#[test]
fn an_agent_that_is_not_there_cannot_be_asked() {
    check(
        |sim| {
            sim.closed(2).request(1, send("k"));
            sim.only(&[]).connect(2, agent("a1")).show(&["Respond"]).request(1, send("k"));
        },
        expect![[r#"
            0s Respond(conn-1, r1, UNAVAILABLE "agent not connected: a1" retry 1000)
            0s Respond(conn-1, r2, k Started in a1:chat)
        "#]],
    );
}

#[test]
fn a_restart_ends_open_runs_and_remembers_those_that_have_ended() {
    check(
        |sim| {
            sim.request(1, send("open")).request(1, send("done"));
            sim.request(2, update("done", RunState::Final, "yes"));
            restarted(sim).request(1, wait("open", 10)).request(1, wait("done", 10));
            sim.request(1, send("open")).request(1, history("a1:chat", 10));
            restarted(sim).request(1, wait("open", 10));
        },
        expect![[r#"
            0s Respond(conn-1, r1, open Started in a1:chat)
            0s Send(conn-2, open asked "hello" in a1:chat)
            0s Broadcast(agent open 1 started)
            0s Respond(conn-1, r2, done Started in a1:chat)
            0s Send(conn-2, done asked "hello" in a1:chat)
            0s Broadcast(agent done 1 started)
            0s Broadcast(agent done 2 said "yes")
            0s Broadcast(agent done 3 ended)
            0s Broadcast(chat done 3 final "yes")
            0s Broadcast(message "yes" of a1)
            0s Respond(conn-2, r3, ok)
            0s -- restarted
            0s Respond(conn-1, r4, waited open error because "the gateway was restarted")
            0s Respond(conn-1, r5, waited done final "yes")
            0s Respond(conn-1, r6, ended open error because "the gateway was restarted")
            0s Respond(conn-1, r7, history of a1:chat [user: hello, user: hello, assistant: yes])
            0s -- restarted
            0s Respond(conn-1, r8, waited open error because "the gateway was restarted")
        "#]],
    );
}

#[test]
fn an_end_that_the_store_does_not_take_is_an_end() {
    check(
        |sim| {
            sim.request(1, call("k"));
            sim.store = StoreMode::Held;
            sim.request(2, update("k", RunState::Final, "done")).store_fails();
            sim.note("reported again").request(2, update("k", RunState::Final, "done"));
            sim.store_recovers().stored();
            sim.request(2, update("k", RunState::Final, "done")).stored();
            restarted(sim).request(1, wait("k", 10));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s Broadcast(agent k 2 said "done")
            0s Broadcast(agent k 3 ended)
            0s Broadcast(chat k 3 final "done")
            0s Broadcast(message "done" of a1)
            0s -- store fails
            0s RespondAgain(conn-1, r1, agent ended k final "done")
            0s Respond(conn-2, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s -- reported again
            0s Respond(conn-2, r3, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s -- store recovers
            0s -- stored
            0s -- stored
            0s Respond(conn-2, r4, ok)
            0s -- restarted
            0s Respond(conn-1, r5, waited k final "done")
        "#]],
    );
}

#[test]
fn a_failing_store_starts_no_runs_and_ends_those_whose_agent_leaves() {
    check(
        |sim| {
            sim.request(1, call("k"));
            sim.store = StoreMode::Held;
            sim.append(2, &["x"]).store_fails().request(1, send("new"));
            sim.request(2, update("k", RunState::Final, "done")).closed(2);
            sim.store_recovers().stored();
            restarted(sim).request(1, wait("k", 10));
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s -- store fails
            0s Respond(conn-2, r2, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-1, r3, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Respond(conn-2, r4, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s Broadcast(agent k 2 failed: agent disconnected: a1)
            0s Broadcast(chat k 2 error because "agent disconnected: a1")
            0s RespondAgain(conn-1, r1, agent ended k error because "agent disconnected: a1")
            0s -- store recovers
            0s -- stored
            0s -- restarted
            0s Respond(conn-1, r5, waited k error because "agent disconnected: a1")
        "#]],
    );
}

fn named(session: &str) -> SessionNamed {
    SessionNamed { key: SessionKey::new(session), idempotency: None }
}

#[test]
fn a_session_that_is_deleted_has_no_history() {
    check(
        |sim| {
            sim.request(1, send("k")).request(2, update("k", RunState::Final, "done"));
            sim.only(&["Respond"]).request(1, history("a1:chat", 10));
            sim.store = StoreMode::Held;
            sim.request(1, Request::SessionsDelete(named("a1:chat"))).store_fails();
            sim.store_recovers().stored();
            sim.request(1, history("a1:chat", 1));
            sim.request(1, Request::SessionsDelete(named("a1:chat"))).stored();
            sim.request(1, history("a1:chat", 10));
            assert!(sim.disk.messages.is_empty());
        },
        expect![[r#"
            0s Respond(conn-1, r1, k Started in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s Broadcast(agent k 2 said "done")
            0s Broadcast(agent k 3 ended)
            0s Broadcast(chat k 3 final "done")
            0s Broadcast(message "done" of a1)
            0s Respond(conn-2, r2, ok)
            0s Respond(conn-1, r3, history of a1:chat [user: hello, assistant: done])
            0s -- store fails
            0s Respond(conn-1, r4, UNAVAILABLE "not stored: the gateway's store takes no writes right now" retry 1000)
            0s -- store recovers
            0s -- stored
            0s Respond(conn-1, r5, history of a1:chat [assistant: done] and older)
            0s -- stored
            0s Respond(conn-1, r6, deleted a1:chat: true)
            0s Respond(conn-1, r7, history of a1:chat [])
        "#]],
    );
}

#[test]
fn a_run_is_forgotten_after_an_hour() {
    check(
        |sim| {
            sim.request(1, send("k")).request(2, update("k", RunState::Final, "done"));
            sim.only(&["Respond"]).live_for(3_599, &[1, 2]).request(1, wait("k", 1));
            sim.live_for(2, &[1, 2]).request(1, wait("k", 1)).append(2, &["x"]);
            assert!(sim.disk.runs.is_empty());
        },
        expect![[r#"
            0s Respond(conn-1, r1, k Started in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s Broadcast(agent k 2 said "done")
            0s Broadcast(agent k 3 ended)
            0s Broadcast(chat k 3 final "done")
            0s Broadcast(message "done" of a1)
            0s Respond(conn-2, r2, ok)
            3599s Respond(conn-1, r3, waited k final "done")
            3601s Respond(conn-1, r4, NOT_FOUND "no such run: k")
            3601s Respond(conn-2, r5, appended 1..=1)
        "#]],
    );
}

#[test]
fn a_key_that_is_used_again_after_that_stays_on_disk() {
    let mut sim = Sim::new();
    sim.settled().request(1, send("k")).request(2, update("k", RunState::Final, "done"));
    sim.live_for(3_601, &[1, 2]).request(1, send("k"));
    assert_eq!(sim.disk.runs.len(), 1);
    assert!(sim.disk.runs[0].end.is_none());
}

#[test]
fn a_run_is_not_forgotten_before_those_who_wait_have_heard_of_its_end() {
    check(
        |sim| {
            sim.request(1, call("k"));
            sim.store = StoreMode::Held;
            sim.note("the store takes hours").append(2, &["x"]).closed(2);
            sim.only(&["Respond"]).live_for(4_000, &[1]).request(1, wait("k", 1));
            sim.note("it goes on").stored();
            assert_eq!(sim.disk.runs.len(), 1, "the next commit holds the end");
            sim.stored();
        },
        expect![[r#"
            0s Respond(conn-1, r1, k accepted in a1:chat)
            0s Send(conn-2, k asked "hello" in a1:chat)
            0s Broadcast(agent k 1 started)
            0s -- the store takes hours
            0s Broadcast(agent k 2 failed: agent disconnected: a1)
            0s Broadcast(chat k 2 error because "agent disconnected: a1")
            4000s -- it goes on
            4000s -- stored
            4000s -- stored
            4000s RespondAgain(conn-1, r1, agent ended k error because "agent disconnected: a1")
            4000s Respond(conn-1, r3, waited k error because "agent disconnected: a1")
        "#]],
    );
}
