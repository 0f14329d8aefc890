//! What a step does to the world.

use std::time::Duration;

use openclaw_gateway::hub::input::Input;
use openclaw_gateway::protocol::device::DeviceFailure;
use openclaw_gateway::protocol::scope::ScopeSet;

use super::super::bytes::Bytes;
use super::super::kit::peers::{self, Peer};
use super::policies::{self, SECRETS};
use super::requests;
use super::world::World;

/// The devices that turn up. The last one's name is an agent's, too.
pub(super) const DEVICES: [&str; 5] = ["d0", "d1", "d2", "d3", "a1"];
const SCOPES: [ScopeSet; 7] = [
    ScopeSet::ADMIN,
    ScopeSet::READ,
    ScopeSet::READ.union(ScopeSet::PAIRING),
    ScopeSet::WRITE,
    ScopeSet::ALL,
    ScopeSet::NONE,
    ScopeSet::APPROVALS.union(ScopeSet::WRITE),
];

/// Takes the step that the next byte says. Numbers in use keep their meaning; free ones do
/// nothing.
pub(super) fn take(world: &mut World, bytes: &mut Bytes<'_>) {
    match bytes.byte() % 64 {
        0..=13 => connect(world, bytes),
        14..=31 => request(world, bytes),
        32..=37 => world.store_succeeds(),
        38 => world.store_fails(bytes.one_in(2)),
        39..=40 => world.store_recovers(),
        41..=43 => world.pass(Duration::from_millis(u64::from(bytes.byte()))),
        44..=45 => world.pass(Duration::from_secs(u64::from(bytes.byte()))),
        46 => world.pass(Duration::from_secs(600 * u64::from(bytes.byte()))),
        47..=48 => vanish(world, bytes),
        49..=50 => world.close_next(),
        51 => hear(world, bytes),
        52 => pong(world, bytes),
        53 => stop(world, bytes),
        54 => world.restart(),
        55 => world.input(Input::Tick),
        56..=59 => world.process_goes_on(bytes),
        60 => world.shell.is_prompt = bytes.one_in(2),
        61 => world.shell_obeys(),
        62 => program(world, bytes),
        63 => administer(world, bytes),
        64.. => unreachable!("a remainder of 64"),
    }
}

/// A peer connects: somebody on this machine or elsewhere, with or without device, secret, token.
fn connect(world: &mut World, bytes: &mut Bytes<'_>) {
    let flags = bytes.byte();
    let device = bytes.pick(&DEVICES);
    let mut peer = match flags % 8 {
        0 => peers::owner(),
        1 | 2 => peers::agent(bytes.pick(&["a1", "a2", "b"])),
        _ => peers::operator().device(device),
    };
    if flags & 8 != 0 {
        peer = peer.device_with_key(device, bytes.pick(&["d0", "new-key", "a1"]));
    }
    if flags & 16 != 0 && !flags.is_multiple_of(8) {
        peer = peer.remote(bytes.pick(&["203.0.113.1", "203.0.113.2", "2001:db8::1"]));
    }
    if flags & 32 != 0 {
        peer = peer.scopes(bytes.pick(&SCOPES));
    }
    if flags & 64 != 0 {
        peer = with_credentials(world, peer, bytes);
    }
    if flags & 128 != 0 {
        peer = match bytes.below(5) {
            0 => peer.bare(),
            1 => peer.origin("http://127.0.0.1:3000"),
            2 => peer.failing(DeviceFailure::SignatureInvalid),
            3 => peer.terse(),
            _ => peer.scopes(None),
        };
    }
    world.connect(peer);
}

fn with_credentials(world: &World, peer: Peer, bytes: &mut Bytes<'_>) -> Peer {
    match bytes.below(8) {
        0 => peer.token("wrong"),
        1 => peer.password("wrong"),
        2 | 3 => peer.token(bytes.pick(&SECRETS).text),
        4 => peer.password(bytes.pick(&SECRETS).text),
        5 => peer.root_token(world.known("token", bytes)).bare(),
        6 => peer.device_token(world.known("token", bytes)),
        _ => peer.code(world.known("code", bytes)),
    }
}

/// Somebody who is connected asks for something.
fn request(world: &mut World, bytes: &mut Bytes<'_>) {
    let Some(conn) = world.somebody(bytes) else { return };
    let (method, params) = requests::read(world, bytes);
    world.request(conn, method, &params);
}

/// Somebody connects with the credential of a program, now or when that is long gone.
fn program(world: &mut World, bytes: &mut Bytes<'_>) {
    let Some(token) = world.shell.token(bytes) else { return };
    let peer = peers::agent(bytes.pick(&["b", "a2"])).token(token.expose());
    let peer = match bytes.below(4) {
        0 => peer,
        1 => peers::operator().token(token.expose()),
        2 => peer.remote("203.0.113.1").bare(),
        _ => peer.bare(),
    };
    world.connect(peer);
}

fn vanish(world: &mut World, bytes: &mut Bytes<'_>) {
    if let Some(conn) = world.somebody(bytes) {
        world.closed(conn);
    }
}

fn hear(world: &mut World, bytes: &mut Bytes<'_>) {
    if let Some(conn) = world.somebody(bytes) {
        world.heard(conn);
    }
}

fn pong(world: &mut World, bytes: &mut Bytes<'_>) {
    if let Some(conn) = world.somebody(bytes) {
        let rtt = Duration::from_millis(u64::from(bytes.byte()));
        world.input(Input::PongReceived { conn, rtt });
    }
}

/// The machine's owner edits the configuration and has it read again, or sets the clock.
fn administer(world: &mut World, bytes: &mut Bytes<'_>) {
    const HOUR_MS: i64 = 3_600_000;
    match bytes.below(8) {
        0..=3 => {
            let policy = policies::read(bytes);
            world.change_policy(policy);
        }
        4 => world.set_clock(-HOUR_MS),
        5 => world.set_clock(-1_000),
        6 => world.set_clock(HOUR_MS + 1),
        _ => world.set_clock(48 * HOUR_MS + 500),
    }
}

/// The last thing that is asked of a gateway; seldom, so that the rest has its turn.
fn stop(world: &mut World, bytes: &mut Bytes<'_>) {
    if bytes.one_in(4) {
        world.stop();
    }
}
