//! A disk that is full, that fails to sync, that loses power: nothing that was reported as stored
//! is lost, and the store comes back by itself.

use std::collections::BTreeSet;

use super::disk::Disk;
use super::{Random, Running, Store, cursors, entry};
use crate::base::ids::{Cursor, Ticket};
use crate::hub::records::{Change, DurableState};
use crate::shell::store::{Durability, StoreReport};

fn open(disk: &Disk, durability: Durability) -> (Running, DurableState) {
    let disk = disk.clone();
    let (store, state) = Store::open_with_backend(move || disk.backend(), durability).unwrap();
    (Running::start(store), state)
}

/// Every stored entry is there; beyond them only such as were refused while it was uncertain.
#[track_caller]
fn check_journal(state: &DurableState, stored: &BTreeSet<u64>, sent: u64) {
    let found: BTreeSet<_> = cursors(state).into_iter().collect();
    let lost: Vec<_> = stored.difference(&found).collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    assert!(found.iter().all(|cursor| *cursor <= sent));
}

/// Stores, breaks the disk, sees refusals at once, mends it, sees the recovery, and stores again.
#[track_caller]
fn check_recovery(break_disk: impl Fn(&Disk), mend_disk: impl Fn(&Disk)) {
    let disk = Disk::new(1);
    let (running, _) = open(&disk, Durability::Full);
    let mut stored = BTreeSet::new();
    let mut sent = 0;
    let mut commit = |running: &Running| {
        sent += 1;
        let entries: Vec<_> = (0..64).map(|n| entry(sent * 64 + n)).collect();
        let is_stored = running.commit(sent, entries);
        if is_stored {
            stored.extend(sent * 64..sent * 64 + 64);
        }
        is_stored
    };
    for round in 0..3 {
        for _ in 0..10 {
            assert!(commit(&running));
        }
        break_disk(&disk);
        let mut attempts = 0;
        // A full disk has some pages left in the file.
        while commit(&running) {
            attempts += 1;
            assert!(attempts < 10_000, "round {round}: the disk never failed");
        }
        for _ in 0..5 {
            assert!(!commit(&running), "round {round}");
        }
        mend_disk(&disk);
        running.waits_for_recovery();
        assert!(commit(&running), "round {round}");
    }
    running.handle.stop();
    disk.cut_power();
    let (_, state) = open(&disk, Durability::Full);
    check_journal(&state, &stored, u64::MAX);
}

#[test]
fn failing_sync_refuses_reports_until_syncs_work_again() {
    check_recovery(|disk| disk.set_syncs_fail(true), |disk| disk.set_syncs_fail(false));
}

#[test]
fn full_disk_refuses_reports_until_there_is_space_again() {
    check_recovery(|disk| disk.set_full(true), |disk| disk.set_full(false));
}

#[test]
fn power_cut_loses_nothing_that_was_stored() {
    for seed in 1..=60 {
        let disk = Disk::new(seed);
        let mut random = Random(seed);
        let mut stored = BTreeSet::new();
        let mut sent = 0;
        for _ in 0..4 {
            let (running, state) = open(&disk, Durability::Full);
            check_journal(&state, &stored, sent);
            for ticket in 1..=random.below(8) + 1 {
                sent += 1;
                if running.commit(ticket, vec![entry(sent)]) {
                    stored.insert(sent);
                }
            }
            // One more is under way when the lights go out.
            sent += 1;
            running.handle.commit(Ticket(99), vec![entry(sent)]).unwrap();
            disk.cut_power();
            if running.next() == StoreReport::Stored(Ticket(99)) {
                stored.insert(sent);
            }
        }
        let (_, state) = open(&disk, Durability::Full);
        check_journal(&state, &stored, sent);
    }
}

#[test]
fn relaxed_store_writes_again_what_a_failed_sync_lost() {
    let disk = Disk::new(3);
    let (running, _) = open(&disk, Durability::Relaxed);
    assert!(running.commit(1, vec![entry(1)]));
    disk.set_syncs_fail(true);
    assert!(running.commit(2, vec![entry(2)]), "not synced yet");
    // The sync of its own accord, within a second.
    match running.next() {
        StoreReport::Failed { ticket, .. } => assert_eq!(ticket.0, 1),
        other => panic!("{other:?}"),
    }
    disk.set_syncs_fail(false);
    running.waits_for_recovery();
    disk.cut_power();
    let (_, state) = open(&disk, Durability::Relaxed);
    assert_eq!(cursors(&state), [1, 2]);
}

#[test]
fn relaxed_store_syncs_cursor_reservations_at_once() {
    let disk = Disk::new(4);
    let (running, _) = open(&disk, Durability::Relaxed);
    assert!(running.commit(1, vec![entry(1)]));
    assert!(running.commit(2, vec![Change::ReserveCursors(Cursor(1_000))]));
    disk.cut_power();
    let (_, state) = open(&disk, Durability::Relaxed);
    assert_eq!(state.cursors_reserved, Cursor(1_000));
    assert_eq!(cursors(&state), [1], "an earlier commit goes with it");
}
