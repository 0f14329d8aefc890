//! `kill -9` at random moments: this test binary runs itself as the writer and kills it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::{env, io, path::Path};

use super::{Random, Running, Store, cursors, entry};
use crate::base::ids::Cursor;
use crate::hub::records::Change;
use crate::shell::store::Durability;
use crate::shell::test_dir::TestDir;

/// Tells the writer where to write. Without it the writer's test is an empty one.
const DIRECTORY: &str = "OPENCLAW_TEST_CRASH_DIRECTORY";
const ROUNDS: u64 = 12;

/// The child's part: reserves cursors, commits entries, and says what is stored, until killed.
#[test]
fn writer_that_is_killed() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let (store, state) = Store::open(Path::new(&directory), Durability::Full).unwrap();
    let mut cursor = state.cursors_reserved.0.max(1);
    let running = Running::start(store);
    let mut ticket = 1;
    assert!(running.commit(ticket, vec![Change::ReserveCursors(Cursor(cursor + 100_000))]));
    loop {
        ticket += 1;
        let group = ticket % 5 + 1;
        assert!(running.commit(ticket, (cursor..cursor + group).map(entry).collect()));
        let mut out = io::stdout().lock();
        for stored in cursor..cursor + group {
            writeln!(out, "stored {stored}").unwrap();
        }
        out.flush().unwrap();
        cursor += group;
    }
}

fn spawn_writer(directory: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "shell::store::tests::crash::writer_that_is_killed"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn killed_writer_loses_nothing_that_it_reported() {
    let dir = TestDir::new("store-crash");
    let mut random = Random(0x5EED);
    let mut stored = Vec::new();
    for round in 0..ROUNDS {
        let mut child = spawn_writer(dir.path());
        let enough = random.below(120) + 1;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut parse = |line: String| {
            // Standard output writes a line at a time, so none is cut short.
            if let Some(cursor) = line.strip_prefix("stored ") {
                stored.push(cursor.parse::<u64>().unwrap());
                true
            } else {
                false
            }
        };
        let mut seen = 0;
        while seen < enough {
            seen += u64::from(parse(lines.next().expect("the writer ended by itself")));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.map(&mut parse).for_each(drop);

        let (_, state) = Store::open(dir.path(), Durability::Full).unwrap();
        // Rising cursors are distinct ones: none was stored twice.
        let found = cursors(&state);
        for cursor in &stored {
            assert!(found.binary_search(cursor).is_ok(), "round {round}: lost {cursor}");
        }
        assert!(found.last() < Some(&state.cursors_reserved.0), "round {round}");
    }
}
