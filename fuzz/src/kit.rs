//! What the targets share with the hub's own tests: peers, policies, and what a disk keeps.

#![allow(dead_code, unreachable_pub, reason = "the tests use more of it, and see less")]

#[path = "../../tests/hub/disk.rs"]
pub(crate) mod disk;
#[path = "../../tests/hub/peers.rs"]
pub(crate) mod peers;
#[path = "../../tests/hub/policies.rs"]
pub(crate) mod policies;
