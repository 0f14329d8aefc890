//! Sequences of what can happen to the hub.
//!
//! The input's first bytes choose a policy; every further byte chooses a step, and the bytes
//! after it what the step needs. After each step: every invariant of the hub holds, nobody is
//! answered twice or after the end, every deadline is in the future, and nobody holds a scope
//! that was not given (`authority`); every spawn, run and approval has one end, after which nothing
//! more is heard of it (`promises`), no occurrence of a job runs twice and no job beside itself (`jobs`), and no order is
//! about a process that is gone (`shell`). At the
//! end the disk recovers, programs obey, time passes, and every question must have had its answer
//! (`ending`); then the gateway is restarted, shows what it showed before (`reading`), and everyone
//! tries to get in with what they have.
//!
//! To extend it:
//! - a new method is a row in `requests::TABLE`; nothing else, unless its parameters name
//!   something that exists only at run time: then also a placeholder in `requests::fill`;
//! - a new input is a free number in `steps::take`, and a function beside it. Numbers in use keep
//!   their meaning, so that old findings remain what they were;
//! - a new effect is an arm of `World::perform` (`hearing`): what the world does about it, at once or when a
//!   later step says so (as with `closing` and `in_flight`);
//! - a new promise about one effect is an assertion in `hearing`, about what has an end a table in
//!   `promises`, about the end of everything a line in `ending`.

mod authority;
mod ending;
mod hearing;
mod jobs;
mod policies;
mod promises;
mod reading;
pub(crate) mod requests;
pub(crate) mod shell;
mod steps;
mod world;

use super::bytes::Bytes;
use world::World;

/// Steps at most, so that no input takes long.
const STEPS_MAX: usize = 600;

pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut world = World::new(&mut bytes);
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            break;
        }
        steps::take(&mut world, &mut bytes);
        world.check();
    }
    world.finish();
}
