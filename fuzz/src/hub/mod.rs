//! Sequences of what can happen to the hub.
//!
//! The input's first bytes choose a policy; every further byte chooses a step, and the bytes
//! after it what the step needs. After each step: every invariant of the hub holds, nobody is
//! answered twice or after the end, every deadline is in the future, and nobody holds a scope
//! that was not given (`authority`). At the end the disk recovers and every question must have
//! had its answer; then the gateway is restarted and everyone tries to get in with what they have.
//!
//! To extend it:
//! - a new method is a row in `requests::TABLE`; nothing else, unless its parameters name
//!   something that exists only at run time: then also a placeholder in `requests::fill`;
//! - a new input is a free number in `steps::take`, and a function beside it. Numbers in use keep
//!   their meaning, so that old findings remain what they were;
//! - a new effect is an arm of `World::perform`: what the world does about it, at once or when a
//!   later step says so (as with `closing` and `in_flight`);
//! - a new promise is an assertion in `World::perform`, or in `World::finish` if it is about the
//!   end.

mod authority;
mod policies;
pub(crate) mod requests;
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
