//! The audit thread against files that fail.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::*;
use crate::base::ids::ConnId;
use crate::hub::audit::{Actor, AuditKind};
use crate::hub::effect::DiagnosticValue;

/// A file that takes so many bytes before it is full, and does not wait unless it is told to.
#[derive(Clone, Default)]
struct Disk {
    text: Arc<Mutex<Vec<u8>>>,
    room: Arc<AtomicU64>,
    gate: Option<Receiver<()>>,
}

impl Disk {
    fn with_room(bytes: u64) -> Self {
        Self { room: Arc::new(bytes.into()), ..Self::default() }
    }

    fn lines(&self) -> Vec<String> {
        let text = self.text.lock().unwrap();
        String::from_utf8(text.clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(gate) = &self.gate {
            let _open = gate.recv();
        }
        let taken = bytes.len().min(self.room.load(Ordering::Relaxed) as usize);
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.room.fetch_sub(taken as u64, Ordering::Relaxed);
        self.text.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Disk {
    fn has_room(&self) -> bool {
        true
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn start(disk: &Disk, refuses: bool) -> Audit {
    let setup = AuditSetup { file: PathBuf::new(), events: u32::MAX, refuses };
    let disk = disk.clone();
    Audit::start_with(&setup, move || Ok(disk.clone())).unwrap()
}

fn event(number: u64) -> AuditEvent {
    let actor = Actor {
        conn: Some(ConnId(number)),
        address: Some(IpAddr::from([192, 0, 2, 1])),
        ..Actor::default()
    };
    let reason = ("reason", DiagnosticValue::Text("said \"no\"\n\u{202e}".to_owned()));
    AuditEvent { kind: AuditKind::AuthFailure, actor, what: vec![reason] }
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = clock::instant();
    while !is_so() {
        assert!(clock::instant() - began < Duration::from_secs(30), "{what}");
        thread::yield_now();
    }
}

#[test]
fn a_line_says_when_what_who_and_why_and_stays_one_line() {
    let disk = Disk::with_room(u64::MAX);
    let audit = start(&disk, false);
    audit.record(event(7));
    audit.finish();
    let lines = disk.lines();
    let (time, rest) = lines[0].split_at(r#"{"time":"2026-11-22T19:10:38.123Z""#.len());
    assert!(time.starts_with(r#"{"time":"2"#), "{time}");
    let expected = ",\"event\":\"auth.failure\",\"conn\":\"conn-7\",\"peer\":\"192.0.2.1\",\
         \"reason\":\"said \\\"no\\\"\\n\\u202e\"}";
    assert_eq!(rest, expected);
    assert_eq!(lines.len(), 1);
}

#[test]
fn only_the_events_that_are_asked_for_are_recorded() {
    let disk = Disk::with_room(u64::MAX);
    let audit = start(&disk, false);
    audit.set(AuditKind::Shutdown.bit(), false);
    audit.record(event(1));
    let kind = AuditKind::Shutdown;
    audit.record(AuditEvent { kind, actor: Actor::default(), what: Vec::new() });
    audit.finish();
    let lines = disk.lines();
    assert!(lines.len() == 1 && lines[0].ends_with("\"event\":\"shutdown\"}"), "{lines:?}");
}

#[test]
fn a_full_disk_costs_lines_that_are_counted_and_refuses_where_that_is_asked_for() {
    for refuses in [false, true] {
        // The second line is cut.
        let disk = Disk::with_room(150);
        let audit = start(&disk, refuses);
        for number in 0..5 {
            audit.record(event(number));
        }
        audit.finish();
        assert_eq!(audit.refuses(), refuses);
        assert_eq!(audit.lines_lost(), 4);
        disk.room.store(u64::MAX, Ordering::Relaxed);
        eventually("the file takes lines again", || disk.lines().len() == 3);
        eventually("nobody is refused any more", || !audit.refuses());
        audit.record(event(9));
        audit.finish();
        let lines = disk.lines();
        assert!(lines[0].contains("conn-0"), "{lines:?}");
        assert!(lines[2].contains(r#""event":"audit.lost","lines":4}"#), "{lines:?}");
        assert!(lines[3].contains("conn-9"), "{lines:?}");
        assert_eq!(lines.len(), 4);
        assert_eq!(audit.lines_lost(), 4, "in all, for the metrics page");
    }
}

#[test]
fn a_stuck_disk_blocks_nobody() {
    let (open_gate, gate) = bounded(0);
    let disk = Disk { gate: Some(gate), ..Disk::with_room(u64::MAX) };
    let audit = start(&disk, true);
    let began: Instant = clock::instant();
    let sent = AUDIT_LINES_WAITING_MAX as u64 + 10;
    for number in 0..sent {
        audit.record(event(number));
    }
    assert!(clock::instant() - began < Duration::from_secs(20));
    assert!(audit.refuses(), "lines are lost");
    drop(open_gate);
    eventually("nobody is refused any more", || !audit.refuses());
    audit.finish();
    let lines = disk.lines();
    let lost = lines.iter().find_map(|line| line.split_once(r#""lines":"#));
    let lost: u64 = lost.unwrap().1.trim_end_matches('}').parse().unwrap();
    assert_eq!(lines.len() as u64 - 1 + lost, sent);
}

#[test]
fn a_file_that_cannot_be_opened_ends_the_start_only_where_it_would_refuse_everybody() {
    let missing = PathBuf::from("/nonexistent/openclaw/audit.log");
    let setup = |refuses| AuditSetup { file: missing.clone(), events: u32::MAX, refuses };
    assert!(Audit::start(&setup(true)).is_err());
    let audit = Audit::start(&setup(false)).unwrap();
    audit.record(event(1));
    audit.finish();
    assert!(!audit.refuses());
}
