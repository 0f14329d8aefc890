//! Short histories for the hub: chance, everything that can be asked, and whole lives.

use super::super::hub::requests;
use super::{noise, prefixed};

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let noise = (0..64).map(|number| noise(number, 60 + 6 * usize::from(number)));
    let all = noise.chain([0, 2, 3, 4, 7].into_iter().map(everything));
    let lived = all.chain([0, 64, 96].into_iter().flat_map(lives));
    lived.chain((0..requests::PAYLOADS.len() as u8).flat_map(jobs)).collect()
}

/// Where a method stands in the table of requests, the first time.
fn row(method: &str) -> u8 {
    requests::TABLE.iter().position(|(name, _)| *name == method).unwrap_or(0) as u8
}

/// Jobs of one payload on several schedules: they come, while the disk is well or not, the clock
/// is set, the configuration changes, or the gateway is down. The numbers are those of the steps.
fn jobs(payload: u8) -> Vec<Vec<u8>> {
    const BEGIN: [u8; 13] = [64, 0, 0, 0, 0, 32, 0, 2, 0, 0, 32, 32, 60];
    const STORED: [u8; 1] = [32];
    let add = |schedule: u8| [14, 0, row("cron.add"), schedule, payload];
    let about = |method: &str| [14, 0, row(method), 0];
    let begin = [&BEGIN[..], &add(0), &STORED, &add(3), &STORED, &add(5), &STORED].concat();
    let between: [&[u8]; 9] = [
        &[44, 3, 32, 56, 0, 5, 32, 56, 0, 8, 32],
        &[44, 61, 38, 1, 44, 5, 39, 32, 44, 61],
        &[44, 61, 54, 44, 61, 32],
        &[63, 4, 44, 61, 32, 63, 7, 44, 61, 32],
        &[63, 0, 96, 0, 44, 61, 32],
        &[&about("cron.run")[..], &STORED, &about("cron.remove"), &STORED].concat(),
        &[&about("cron.run")[..], &about("cron.remove"), &STORED, &STORED].concat(),
        &[&about("cron.run")[..], &about("cron.remove"), &[38, 0, 39, 32, 32, 44, 3]].concat(),
        &[&about("cron.update")[..], &[5, 0, 38, 1, 44, 2, 40, 32, 44, 61, 32]].concat(),
    ];
    between.iter().map(|part| [&begin[..], part, &STORED, part, &STORED].concat()).collect()
}

/// The owner, an agent, and programs: asked, started, heard of, ended, one way and another.
/// The numbers are those of the steps in `hub::steps`.
fn lives(policy: u8) -> Vec<Vec<u8>> {
    const OWNER: [u8; 3] = [0, 0, 0];
    const AGENT: [u8; 4] = [0, 2, 0, 0];
    const STORED: [u8; 1] = [32];
    let ask = |who: u8, method: &str, values: &[u8]| prefixed(&[14, who, row(method)], values);
    // Which process, and which of the things that it can do; see `hub::shell`.
    let goes_on = |what: u8| vec![56, 0, what];
    let begin = [&[policy, 0][..], &OWNER, &STORED, &AGENT, &STORED, &STORED].concat();
    let started = [
        ask(0, "spawn", &[1, 3, 4, 0]),
        goes_on(5),
        goes_on(5),
        STORED.to_vec(),
        goes_on(5),
        STORED.to_vec(),
    ];
    let started = started.concat();
    let program = [62, 0, 0, 3];
    let talk = [
        ask(0, "agent", &[0, 1]),
        ask(0, "chat.send", &[0, 2]),
        STORED.to_vec(),
        ask(0, "agent.wait", &[5, 4]),
        ask(1, "run.update", &[4, 1, 3]),
        ask(1, "run.update", &[4, 0, 3]),
        STORED.to_vec(),
        ask(1, "exec.approval.request", &[1, 0, 4, 1]),
        ask(0, "exec.approval.resolve", &[4, 1]),
        STORED.to_vec(),
    ];
    let templates = [ask(0, "agent", &[1, 2]), STORED.to_vec(), goes_on(5), goes_on(5)].concat();
    let endings: [&[u8]; 6] = [
        &[56, 0, 1, 0, 0, 56, 0, 0, 56, 0, 8],
        &[56, 0, 9, 44, 10, 56, 0, 7, 56, 0, 0],
        &[44, 200, 56, 0, 13, 44, 10],
        &[53, 3, 44, 5],
        &[38, 1, 56, 0, 8, 39],
        &[54, 56, 0, 1],
    ];
    let whole = |ending: &&[u8]| {
        let parts = [&begin[..], &started, &program, &started, ending, &talk.concat(), &templates];
        [&parts.concat(), &STORED[..], &goes_on(5), &program, ending].concat()
    };
    endings.iter().map(whole).collect()
}

/// The owner and two devices, under a policy; each asks for everything once, about the others.
/// The numbers are those of the steps in `hub::steps`.
fn everything(policy: u8) -> Vec<u8> {
    const OWNER: [u8; 3] = [0, 0, 0];
    const STORED: [u8; 2] = [32, 32];
    const GONE: u8 = 49;
    let approve = [14, 0, row("device.pair.approve"), 0];
    let mut history = prefixed(&[policy, 0], OWNER);
    for device in 0..2 {
        let connect = [0, 3, device];
        history.extend([&connect[..], &approve, &STORED, &[GONE], &connect, &STORED].concat());
    }
    // What puts a device out comes last.
    let is_end = |method: &str| method.ends_with("remove") || method.ends_with("forget");
    for (ends, about) in [(false, 1), (false, 0), (true, 0), (true, 1)] {
        for (row, (method, params)) in requests::TABLE.iter().enumerate() {
            if is_end(method) != ends {
                continue;
            }
            for who in 0..3 {
                history.extend([14, who, row as u8]);
                history.extend(params.matches('$').map(|_| about));
            }
            history.extend(STORED);
        }
    }
    history
}
