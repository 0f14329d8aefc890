//! Wall clocks that are set, and those that change twice a year.

use super::*;
use expect_test::expect;

#[test]
fn a_clock_that_goes_back_repeats_nothing() {
    check(
        |sim| {
            add(sim, job("tea", every(600)));
            sim.run_secs(1_200).note("an hour back").set_clock(-3_600_000).run_secs(4_300);
            connect_again(sim);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 600s)
            0s Broadcast(cron added next 600s)
            600s Broadcast(cron started #1 running at 600s next 1200s)
            600s Broadcast(log 1 "timestamp":1795000600000,"level":"info","source":"cron","message":"hello")
            600s Broadcast(notification {"id":1795000600000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000600})
            600s Broadcast(cron finished #1 ok at 600s next 1200s)
            1200s Broadcast(cron started #2 running at 1200s next 1800s)
            1200s Broadcast(log 2 "timestamp":1795001200000,"level":"info","source":"cron","message":"hello")
            1200s Broadcast(notification {"id":1795001200000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795001200})
            1200s Broadcast(cron finished #2 ok at 1200s next 1800s)
            1200s -- an hour back
            5400s Broadcast(cron started #3 running at 1800s next 2400s)
            5400s Broadcast(log 3 "timestamp":1795001800000,"level":"info","source":"cron","message":"hello")
            5400s Broadcast(notification {"id":1795001800000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795001800})
            5400s Broadcast(cron finished #3 ok at 1800s next 2400s)
            5500s Respond(conn-1, r2, runs [#3 ok 1800s, #2 ok 1200s, #1 ok 600s])
        "#]],
    );
}

#[test]
fn a_clock_that_goes_forward_makes_occurrences_missed() {
    check(
        |sim| {
            add(sim, job("tea", every(600)));
            sim.run_secs(700).note("an hour and 150 seconds forward").set_clock(3_750_000);
            sim.run_secs(600);
            connect_again(sim);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 600s)
            0s Broadcast(cron added next 600s)
            600s Broadcast(cron started #1 running at 600s next 1200s)
            600s Broadcast(log 1 "timestamp":1795000600000,"level":"info","source":"cron","message":"hello")
            600s Broadcast(notification {"id":1795000600000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795000600})
            600s Broadcast(cron finished #1 ok at 600s next 1200s)
            700s -- an hour and 150 seconds forward
            720s Broadcast(cron missed #2 missed at 4200s (the clock was set forward, or the machine stood still) next 4800s)
            1050s Broadcast(cron started #3 running at 4800s next 5400s)
            1050s Broadcast(log 2 "timestamp":1795004800000,"level":"info","source":"cron","message":"hello")
            1050s Broadcast(notification {"id":1795004800000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795004800})
            1050s Broadcast(cron finished #3 ok at 4800s next 5400s)
            1300s Respond(conn-1, r2, runs [#3 ok 4800s, #2 missed 1200s to 4200s x6 (the clock was set forward, or the machine stood still), #1 ok 600s])
        "#]],
    );
}

#[test]
fn a_clock_that_was_far_ahead_does_not_stop_the_jobs_when_it_is_right() {
    check(
        |sim| {
            add(sim, job("tea", every(600)));
            let years = 20 * 365 * 86_400_000;
            sim.note("twenty years forward").set_clock(years).run_secs(600);
            sim.note("and back").set_clock(-years).run_secs(600);
            connect_again(sim);
            runs(sim);
        },
        expect![[r#"
            0s Respond(conn-1, r1, job tea next 600s)
            0s Broadcast(cron added next 600s)
            0s -- twenty years forward
            0.250s Broadcast(cron missed #1 missed at 2046-11-13T10:56:40.000Z (the clock was set forward, or the machine stood still) next 2046-11-13T11:16:40.000Z)
            0.250s Broadcast(cron started #2 running at 2046-11-13T11:06:40.250Z next 2046-11-13T11:16:40.000Z)
            0.250s Broadcast(log 1 "timestamp":2425720000250,"level":"info","source":"cron","message":"hello")
            0.250s Broadcast(notification {"id":2425720000250,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":2425720000})
            0.250s Broadcast(cron finished #2 ok at 2046-11-13T11:06:40.250Z next 2046-11-13T11:16:40.000Z)
            600s Broadcast(cron started #3 running at 2046-11-13T11:16:40.000Z next 2046-11-13T11:26:40.000Z)
            600s Broadcast(log 2 "timestamp":2425720600000,"level":"info","source":"cron","message":"hello")
            600s Broadcast(notification {"id":2425720600000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":2425720600})
            600s Broadcast(cron finished #3 ok at 2046-11-13T11:16:40.000Z next 2046-11-13T11:26:40.000Z)
            600s -- and back
            1200s Broadcast(cron started #4 running at 1200s next 1800s)
            1200s Broadcast(log 3 "timestamp":1795001200000,"level":"info","source":"cron","message":"hello")
            1200s Broadcast(notification {"id":1795001200000,"recipient":"operator","type":"cron","title":"tea","message":"hello","source_type":"cron","source_id":"job-01bad93d8dbcfd3d","created_at":1795001200})
            1200s Broadcast(cron finished #4 ok at 1200s next 1800s)
            1200s Respond(conn-1, r2, runs [#4 ok 1200s, #3 ok 2046-11-13T11:16:40.000Z, #2 ok 2046-11-13T11:06:40.000Z, #1 missed 600s to 2046-11-13T10:56:40.000Z x1051199 (the clock was set forward, or the machine stood still)])
        "#]],
    );
}

#[test]
fn jobs_keep_local_time_through_both_changes_of_the_clock() {
    // From 18 November 2026 to the end of October 2027.
    let mut sim = Sim::new();
    sim.settled();
    sim.only(&[]);
    add(&mut sim, job("night", cron("30 2 * * *", "Europe/Berlin")));
    let mut previous = START_MS;
    let mut odd = Vec::new();
    for _ in 0..347 {
        let next = sim.disk.cron_jobs[0].state.next_run_at_ms.unwrap();
        sim.pass(Duration::from_millis(next - sim.now.unix_ms)).tick();
        let run = sim.disk.cron_runs.iter().max_by_key(|run| run.number).unwrap();
        assert_eq!((run.occurrence_ms, run.status.as_str()), (next, "ok"));
        let hours = (next - previous) as f64 / 3_600_000.0;
        if hours != 24.0 && previous != START_MS {
            let at = openclaw_gateway::base::time::utc(next);
            odd.push(format!("{at} after {hours}"));
        }
        previous = next;
    }
    expect![[r#"
        2027-03-28T01:00:00.000Z after 23.5
        2027-03-29T00:30:00.000Z after 23.5"#]]
    .assert_eq(&odd.join("\n"));
}
