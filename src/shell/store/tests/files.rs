//! What a start reads back, and what it makes of files that are not as we left them.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use redb::Database;

use super::super::database::{FILE, Opener, identity};
use super::super::tables::damage;
use super::{Running, Store, cursors, entry};
use crate::base::ids::{AgentName, Cursor, DeviceId, SessionKey, Ticket, UserName};
use crate::hub::records::{
    AnswerKey, AnswerRecord, Change, DeviceRecord, DeviceState, DurableState, TokenRecord,
};
use crate::protocol::agent_status::AgentStatus;
use crate::protocol::cost::Cost;
use crate::protocol::device::PublicKey;
use crate::protocol::scope::{Role, ScopeSet};
use crate::protocol::session::Session;
use crate::shell::state_dir::StateDir;
use crate::shell::store::{Durability, Full, StoreReport};
use crate::shell::test_dir::TestDir;

fn open(directory: &Path) -> (Running, DurableState) {
    let (store, state) = Store::open(directory, Durability::Full).unwrap();
    (Running::start(store), state)
}

/// What is there after a clean stop and a new start.
fn reopen(running: Running, directory: &Path) -> (Running, DurableState) {
    running.handle.stop();
    open(directory)
}

fn device(id: &str) -> DeviceRecord {
    DeviceRecord {
        id: DeviceId::new(id),
        public_key: PublicKey([7; 32]),
        state: DeviceState::Approved,
        user: UserName::new("default"),
        role: Role::Agent,
        scopes: ScopeSet::READ,
        agent: Some(AgentName::new("agent1")),
        display_name: None,
        client_id: "client".to_owned(),
        platform: "linux".to_owned(),
        address: IpAddr::from([127, 0, 0, 1]),
        created_at_ms: 1,
        last_seen_ms: 2,
    }
}

fn token(hash: [u8; 32]) -> TokenRecord {
    TokenRecord {
        hash,
        device: DeviceId::new("device"),
        role: Role::Operator,
        scopes: ScopeSet::ALL,
        issued_at_ms: 1,
        expires_at_ms: 2,
    }
}

fn answer(key: &str) -> AnswerRecord {
    AnswerRecord {
        key: AnswerKey {
            user: UserName::new("default"),
            method: "logs.append".to_owned(),
            key: key.to_owned(),
        },
        params_hash: [9; 32],
        answer: serde_json::json!({ "first": 1, "last": 2 }),
        expires_at_ms: 3,
    }
}

fn session(key: &str, tokens: u64) -> Arc<Session> {
    let new = Session::new(SessionKey::new(key), 4);
    Arc::new(Session { label: Some("\"".into()), total_tokens: tokens, cost: Cost(1), ..new })
}

fn agent(name: &str, id: u64) -> Arc<AgentStatus> {
    let (name, status) = (AgentName::new(name), "busy".to_owned());
    Arc::new(AgentStatus { name, id, status, last_activity: None, last_seen_ms: 5 })
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let dir = TestDir::new("store-all");
    let (running, state) = open(dir.path());
    assert_eq!(state.cursors_reserved, Cursor(0));
    assert!(state.journal.is_empty());
    assert!(running.commit(
        1,
        vec![
            Change::ReserveCursors(Cursor(65_536)),
            entry(1),
            entry(2),
            Change::PutDevice(Box::new(device("a"))),
            Change::PutDevice(Box::new(device("b"))),
            Change::PutToken(Box::new(token([1; 32]))),
            Change::PutToken(Box::new(token([2; 32]))),
            Change::PutAnswer(Box::new(answer("k\",\"1"))),
            Change::PutAnswer(Box::new(answer("k2"))),
            Change::PutSession(session("a:1", 1)),
            Change::PutSession(session("a:2", 2)),
            Change::PutAgent(agent("a", 7)),
            Change::PutAgent(agent("b", 8)),
        ]
    ));
    let (running, state) = reopen(running, dir.path());
    assert_eq!(state.cursors_reserved, Cursor(65_536));
    assert_eq!(cursors(&state), [1, 2]);
    assert_eq!(state.devices, [device("a"), device("b")]);
    assert_eq!(state.tokens, [token([1; 32]), token([2; 32])]);
    assert_eq!(state.answers, [answer("k2"), answer("k\",\"1")], "in the order of their keys");
    assert_eq!(state.sessions, [session("a:1", 1), session("a:2", 2)]);
    assert_eq!(state.agents, [agent("a", 7), agent("b", 8)]);

    let replaced = DeviceRecord { state: DeviceState::Revoked, ..device("b") };
    assert!(running.commit(
        2,
        vec![
            Change::TrimJournal(Cursor(1)),
            Change::DeleteDevice(DeviceId::new("a")),
            Change::PutDevice(Box::new(replaced.clone())),
            Change::DeleteToken([1; 32]),
            Change::DeleteAnswer(answer("k2").key),
            Change::DeleteAnswer(answer("never was").key),
            Change::DeleteSession(SessionKey::new("a:1")),
            Change::PutSession(session("a:2", 9)),
            Change::DeleteAgent(AgentName::new("a")),
        ]
    ));
    let (running, state) = reopen(running, dir.path());
    assert_eq!(cursors(&state), [2]);
    assert_eq!(state.devices, [replaced]);
    assert_eq!(state.tokens, [token([2; 32])]);
    assert_eq!(state.answers, [answer("k\",\"1")]);
    assert_eq!(state.sessions, [session("a:2", 9)]);
    assert_eq!(state.agents, [agent("b", 8)]);
    running.handle.stop();
}

#[test]
fn stop_finishes_what_was_handed_over() {
    let dir = TestDir::new("store-stop");
    for durability in [Durability::Full, Durability::Relaxed] {
        let (store, before) = Store::open(dir.path(), durability).unwrap();
        let running = Running::start(store);
        let first = before.journal.len() as u64 + 1;
        let mut sent = 0;
        for ticket in first..first + 50 {
            let accepted = running.handle.commit(Ticket(ticket), vec![entry(ticket)]);
            if accepted == Err(Full) {
                break;
            }
            sent += 1;
        }
        let reports = running.reports.clone();
        running.handle.stop();
        let expected: Vec<_> =
            (first..first + sent).map(|ticket| StoreReport::Stored(Ticket(ticket))).collect();
        assert_eq!(reports.try_iter().collect::<Vec<_>>(), expected);
        let (_, after) = Store::open(dir.path(), durability).unwrap();
        assert_eq!(after.journal.len() as u64, first + sent - 1);
    }
}

#[test]
fn only_one_gateway_uses_a_directory() {
    let dir = TestDir::new("store-lock");
    let (running, _) = open(dir.path());
    let error = Store::open(dir.path(), Durability::Full).err().unwrap().to_string();
    assert!(error.contains("another gateway uses this state directory"), "{error}");
    running.handle.stop();
    let (running, _) = open(dir.path());
    running.handle.stop();
}

#[track_caller]
fn check_corrupt(damage: impl Fn(&Database), expected: &str) {
    let dir = TestDir::new("store-corrupt");
    let (running, _) = open(dir.path());
    running.commit(1, vec![entry(1)]);
    running.handle.stop();
    damage(&Database::create(dir.path().join("gateway.redb")).unwrap());
    let error = Store::open(dir.path(), Durability::Full).err().unwrap().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn corrupt_records_are_named_by_table_and_key() {
    check_corrupt(
        |database| damage::journal(database, 42).unwrap(),
        "corrupt record in table journal, key 42: too short;",
    );
    check_corrupt(
        |database| damage::token(database).unwrap(),
        "corrupt record in table tokens, key abababababababababababababababab",
    );
}

#[test]
fn damaged_file_is_an_error_and_never_a_panic() {
    let dir = TestDir::new("store-damage");
    let (running, _) = open(dir.path());
    for ticket in 1..=20 {
        running.commit(ticket, vec![entry(ticket)]);
    }
    running.handle.stop();
    let file = dir.path().join("gateway.redb");
    let good = fs::read(&file).unwrap();

    fs::write(&file, b"not a database at all, but long enough to be looked at").unwrap();
    Store::open(dir.path(), Durability::Full).err().unwrap();

    for len in [1, 100, 4096, 8192, good.len() / 2] {
        fs::write(&file, &good[..len]).unwrap();
        Store::open(dir.path(), Durability::Full).err().unwrap();
    }
    // A changed byte is noticed, or it was in a page that nothing uses.
    for at in (0..good.len()).step_by(good.len() / 60) {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        fs::write(&file, &bad).unwrap();
        if let Ok((_, state)) = Store::open(dir.path(), Durability::Full) {
            assert_eq!(cursors(&state), (1..=20).collect::<Vec<_>>(), "byte {at}");
        }
    }
}

#[test]
fn a_file_is_believed_once_and_only_as_it_was_left() {
    let dir = TestDir::new("store-believed");
    let (running, _) = open(dir.path());
    for ticket in 1..=20 {
        running.commit(ticket, vec![entry(ticket)]);
    }
    running.handle.stop();
    let path = dir.path().join(FILE);
    let opened = || {
        let opener = Opener::file(StateDir::open(dir.path()).unwrap());
        let is_open = opener.open().is_ok();
        (is_open, opener.has_believed())
    };
    assert_eq!(opened(), (true, true), "as it was left");
    assert_eq!(opened(), (true, false), "nobody has left it in order since");

    let (running, _) = open(dir.path());
    running.handle.stop();
    let good = fs::read(&path).unwrap();
    write_long_ago(&path, &good);
    assert_eq!(opened(), (true, false), "somebody has written to it");

    // In the middle of entries, where only the checksum can tell.
    write_long_ago(&path, &damaged(good, b"entry 7", b"Entry 7"));
    for start in 1..=2 {
        assert_eq!(opened(), (false, false), "start {start}: a refused file is never in order");
    }
}

/// Leaves no doubt that somebody has written to the file, however coarse its timestamps are.
fn write_long_ago(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
}

/// With every occurrence of one text replaced by another that is as long.
fn damaged(mut bytes: Vec<u8>, text: &[u8], by: &[u8]) -> Vec<u8> {
    let places: Vec<_> =
        (0..=bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text)).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at..at + text.len()].copy_from_slice(by));
    bytes
}

#[test]
fn another_file_that_was_put_in_its_place_is_not_marked() {
    let dir = TestDir::new("store-other");
    let (running, _) = open(dir.path());
    let path = dir.path().join(FILE);
    let other = dir.path().join("other");
    fs::copy(&path, &other).unwrap();
    fs::rename(&other, &path).unwrap();
    running.handle.stop();
    let state = StateDir::open(dir.path()).unwrap();
    assert_eq!(state.take_order(), None);
}

#[test]
fn rot_that_no_timestamp_shows_is_no_panic_and_is_looked_at_again() {
    let dir = TestDir::new("store-rot");
    let (running, _) = open(dir.path());
    for ticket in 1..=20 {
        running.commit(ticket, vec![entry(ticket)]);
    }
    running.handle.stop();
    let path = dir.path().join(FILE);
    let good = fs::read(&path).unwrap();
    // Forges the mark of a gateway that has left in order: no page's checksum is looked at.
    let opened = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let identity = identity(&fs::metadata(&path).unwrap());
        StateDir::open(dir.path()).unwrap().mark_order(&identity);
        Store::open(dir.path(), Durability::Full).map(|(_, state)| state.journal.len())
    };
    assert_eq!(opened(&good).unwrap(), 20);
    for at in (0..good.len()).step_by(good.len() / 60) {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        if let Ok(entries) = opened(&bad) {
            assert_eq!(entries, 20, "byte {at}");
        }
    }
    // An entry that cannot be read makes the same start look at the pages, and say what is wrong.
    let error = opened(&damaged(good, b"\"level\"", b"x\"evel\"")).unwrap_err().to_string();
    assert!(!error.contains("journal"), "{error}");
}

#[test]
fn file_does_not_grow_while_the_journal_turns_over() {
    const BOUND: u64 = 1_000;
    const GROUP: u64 = 100;
    let dir = TestDir::new("store-turnover");
    let size = || -> io::Result<u64> { Ok(fs::metadata(dir.path().join("gateway.redb"))?.len()) };
    // Relaxed for speed: the pages that can be reused are the same.
    let (store, _) = Store::open(dir.path(), Durability::Relaxed).unwrap();
    let running = Running::start(store);
    let mut full_once = 0;
    for ticket in 1..=20 * BOUND / GROUP {
        let last = ticket * GROUP;
        let mut changes: Vec<_> = (last - GROUP + 1..=last).map(entry).collect();
        changes.push(Change::TrimJournal(Cursor(last.saturating_sub(BOUND))));
        // As the hub does every so often; it makes this commit a synced one.
        changes.push(Change::ReserveCursors(Cursor(last + GROUP)));
        assert!(running.commit(ticket, changes));
        if last == 2 * BOUND {
            full_once = size().unwrap();
        }
    }
    running.handle.stop();
    assert!(size().unwrap() <= 2 * full_once, "{} after {full_once}", size().unwrap());
    let (_, state) = Store::open(dir.path(), Durability::Full).unwrap();
    assert_eq!(cursors(&state), (19 * BOUND + 1..=20 * BOUND).collect::<Vec<_>>());
}
