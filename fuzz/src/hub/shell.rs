//! The shell that starts programs, as the world plays it.
//!
//! It does what it is ordered, at once or when a step says so, and it, not the hub, knows which
//! processes live. Owns what must hold of every order: it comes once, when it makes sense, never
//! about a process that is gone, and no program runs before its marks are on disk. Called by
//! `world`, and by the protocol's target, whose shell obeys at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use openclaw_gateway::base::ids::SpawnId;
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::hub::child::{
    ChildMarks, ChildNews, ChildOrder, Exit, NotFound, OutputLine, OutputStream, ProgramFound,
    Signal,
};
use openclaw_gateway::hub::records::DurableState;
use openclaw_gateway::protocol::hello::Hello;
use openclaw_gateway::protocol::output_line::{self, OutputContext};

use super::super::bytes::Bytes;

/// What programs write.
const LINES: [&str; 8] = [
    "a line",
    "",
    r#"{"level":"warn","message":"one with a level","more":1}"#,
    r#"{"method":"logs.append","params":{"entries":[{"level":"info","message":"reported"}]}}"#,
    r#"{"method":"session.usage","params":{"inputTokens":5,"outputTokens":7}}"#,
    r#"{"method":"agent.status","params":{"name":"b","status":"busy","id":3}}"#,
    r#"{"method":"events.publish","params":{"event":"notification","payload":{"title":"t"}}}"#,
    r#"{"method":"session.update","params":{"key":"b:1","active":false}}"#,
];

/// How far a process has come, by what was told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its program is being looked for.
    Asked,
    /// It was found.
    Found,
    /// Its launcher is being started.
    Starting,
    /// Its launcher waits.
    Held,
    /// Its launcher was told to go.
    Going,
    Running,
    /// It was reaped, and its output or what it left running goes on.
    Exited,
    /// An earlier gateway's, which is being looked for.
    Earlier,
    /// There is none, or none any more.
    Gone,
}

#[derive(Debug)]
struct Process {
    stage: Stage,
    launched: Option<(Secret, OutputContext)>,
    marks: Option<ChildMarks>,
    /// It was told to end, by the last order that said so.
    is_asked_to_end: bool,
    is_output_open: bool,
    is_output_closing: bool,
    has_leftovers: bool,
    are_leftovers_ending: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Shell {
    processes: BTreeMap<SpawnId, Process>,
    /// Whether orders are done at once.
    pub(crate) is_prompt: bool,
    last_pid: u32,
    /// Every credential that was handed out, also by gateways before.
    tokens: Vec<(Secret, SpawnId)>,
}

impl Shell {
    fn process(&mut self, id: &SpawnId) -> &mut Process {
        self.processes.get_mut(id).unwrap_or_else(|| panic!("an order for {id}, which is unknown"))
    }

    /// Takes an order.
    pub(crate) fn ordered(&mut self, order: ChildOrder, disk: &DurableState) {
        match order {
            ChildOrder::Resolve(asked) => self.begin(asked.spawn, Stage::Asked),
            ChildOrder::Launch(launch) => {
                self.tokens.push((launch.token.clone(), launch.spawn.clone()));
                let process = self.process(&launch.spawn);
                assert_eq!(process.stage, Stage::Found, "launched: {}", launch.spawn);
                process.stage = Stage::Starting;
                let (agent, session, reports) = (launch.agent, launch.session, launch.reports);
                process.launched = Some((launch.token, OutputContext { agent, session, reports }));
            }
            ChildOrder::Go(id) => {
                let process = self.process(&id);
                assert_eq!(process.stage, Stage::Held, "told to go: {id}");
                assert!(!process.is_asked_to_end, "told to go after it was given up: {id}");
                process.stage = Stage::Going;
                let record = disk.spawns.iter().find(|record| record.id == id);
                let marks = record.and_then(|record| record.marks.as_ref());
                assert!(marks.is_some() && marks == process.marks.as_ref(), "no record: {id}");
            }
            ChildOrder::Abandon(id) => {
                let process = self.process(&id);
                let is_first = !std::mem::replace(&mut process.is_asked_to_end, true);
                assert!(process.stage == Stage::Held && is_first, "given up: {id}, {process:?}");
            }
            ChildOrder::Signal { spawn, signal } => {
                let process = self.process(&spawn);
                let lives = matches!(process.stage, Stage::Going | Stage::Running);
                assert!(lives, "signalled: {spawn}, {process:?}");
                let is_first = !std::mem::replace(&mut process.is_asked_to_end, true);
                assert_eq!(is_first, signal == Signal::Terminate, "TERM, once, then KILL");
            }
            ChildOrder::EndLeftovers(id) => {
                let process = self.process(&id);
                let is_first = !std::mem::replace(&mut process.are_leftovers_ending, true);
                assert!(process.has_leftovers && is_first, "cleaned up: {id}, {process:?}");
            }
            ChildOrder::CloseOutput(id) => {
                let process = self.process(&id);
                let is_first = !std::mem::replace(&mut process.is_output_closing, true);
                assert!(process.is_output_open && is_first, "closed: {id}, {process:?}");
                assert_eq!(process.stage, Stage::Exited, "closed while it runs: {id}");
            }
            ChildOrder::EndEarlier(spawns) => {
                for (id, marks) in spawns {
                    let record = disk.spawns.iter().find(|record| record.id == id);
                    let record = record.unwrap_or_else(|| panic!("{id} is not on disk"));
                    assert!(!record.status.is_terminal() && record.marks == marks, "{record:?}");
                    self.begin(id, Stage::Earlier);
                }
            }
        }
    }

    fn begin(&mut self, id: SpawnId, stage: Stage) {
        let process = Process {
            stage,
            launched: None,
            marks: None,
            is_asked_to_end: false,
            is_output_open: false,
            is_output_closing: false,
            has_leftovers: false,
            are_leftovers_ending: false,
        };
        let before = self.processes.insert(id, process);
        assert!(before.is_none(), "one spawn twice: {before:?}");
    }

    /// What comes next of the first process for which something has to come, if all goes well.
    pub(crate) fn obey(&mut self) -> Option<ChildNews> {
        let news = self.processes.iter().find_map(|(id, process)| {
            let spawn = id.clone();
            let (exit, leftovers) = (Exit::Signal(15), false);
            Some(match process.stage {
                Stage::Asked => found(spawn),
                Stage::Starting => held(spawn, self.last_pid + 1),
                Stage::Held | Stage::Running if process.is_asked_to_end => {
                    ChildNews::Exited { spawn, exit, leftovers }
                }
                Stage::Going => ChildNews::Started(spawn),
                Stage::Exited if process.are_leftovers_ending && process.has_leftovers => {
                    ChildNews::LeftoversEnded(spawn)
                }
                Stage::Exited if process.is_output_closing && process.is_output_open => {
                    ChildNews::OutputEnded(spawn)
                }
                Stage::Earlier => ChildNews::EarlierEnded { spawn, was_running: true },
                _ => return None,
            })
        });
        news.inspect(|news| self.told(news))
    }

    /// Something that one of the processes can bring about now.
    pub(super) fn news(&mut self, bytes: &mut Bytes<'_>, now_ms: u64) -> Option<ChildNews> {
        let is_about = |process: &Process| match process.stage {
            Stage::Found | Stage::Gone => false,
            Stage::Exited => process.is_output_open || process.are_leftovers_ending,
            _ => true,
        };
        let about: Vec<_> =
            self.processes.iter().filter(|(_, process)| is_about(process)).collect();
        let (id, process) = *about.get(bytes.below(8) % about.len().max(1))?;
        let news = self.possible(id, process, bytes, now_ms);
        self.told(&news);
        Some(news)
    }

    fn possible(
        &self,
        id: &SpawnId,
        process: &Process,
        bytes: &mut Bytes<'_>,
        now_ms: u64,
    ) -> ChildNews {
        let (spawn, choice) = (id.clone(), bytes.below(16));
        let leftovers = choice & 1 != 0;
        let exit = match choice {
            8..=11 => Exit::Code(0),
            12 => Exit::Code(1),
            _ => Exit::Signal(9),
        };
        match process.stage {
            Stage::Asked => match choice {
                0 => {
                    let (rule, problem) = ("gateway.spawn.allowedDirs", "elsewhere".to_owned());
                    let outcome = Err(NotFound::Forbidden { rule, problem });
                    ChildNews::Resolved { spawn, outcome }
                }
                1 => {
                    let outcome = Err(NotFound::CannotStart("no such program".to_owned()));
                    ChildNews::Resolved { spawn, outcome }
                }
                _ => found(spawn),
            },
            Stage::Starting if choice == 0 => {
                ChildNews::Held { spawn, outcome: Err("no more processes".to_owned()) }
            }
            Stage::Starting => held(spawn, self.last_pid + 1),
            Stage::Held => ChildNews::Exited { spawn, exit, leftovers: false },
            Stage::Going => match choice {
                0 => ChildNews::StartFailed { spawn, error: "exec".to_owned() },
                1 => ChildNews::Exited { spawn, exit, leftovers: false },
                _ => ChildNews::Started(spawn),
            },
            Stage::Running | Stage::Exited if process.is_output_open && choice < 7 => {
                match choice {
                    0 => ChildNews::OutputEnded(spawn),
                    _ => ChildNews::Output { spawn, lines: lines(process, bytes, now_ms) },
                }
            }
            Stage::Running => ChildNews::Exited { spawn, exit, leftovers },
            Stage::Exited if process.has_leftovers && process.are_leftovers_ending => {
                ChildNews::LeftoversEnded(spawn)
            }
            Stage::Exited => ChildNews::OutputEnded(spawn),
            Stage::Earlier => ChildNews::EarlierEnded { spawn, was_running: leftovers },
            Stage::Found | Stage::Gone => unreachable!("it was not chosen"),
        }
    }

    /// What is told has happened.
    fn told(&mut self, news: &ChildNews) {
        let (ChildNews::Resolved { spawn: id, .. }
        | ChildNews::Held { spawn: id, .. }
        | ChildNews::Started(id)
        | ChildNews::StartFailed { spawn: id, .. }
        | ChildNews::Output { spawn: id, .. }
        | ChildNews::OutputEnded(id)
        | ChildNews::Exited { spawn: id, .. }
        | ChildNews::LeftoversEnded(id)
        | ChildNews::EarlierEnded { spawn: id, .. }) = news;
        let process = self.processes.get_mut(id).expect("news come from a process");
        match news {
            ChildNews::Resolved { outcome, .. } => {
                process.stage = if outcome.is_ok() { Stage::Found } else { Stage::Gone };
            }
            ChildNews::Held { outcome: Ok(marks), .. } => {
                self.last_pid = marks.pid;
                process.marks = Some(marks.clone());
                process.stage = Stage::Held;
            }
            ChildNews::Started(_) => {
                process.stage = Stage::Running;
                process.is_output_open = true;
            }
            ChildNews::OutputEnded(_) => process.is_output_open = false,
            ChildNews::Exited { leftovers, .. } => {
                let has_run = process.stage == Stage::Running;
                process.stage = if has_run { Stage::Exited } else { Stage::Gone };
                process.has_leftovers = *leftovers;
            }
            ChildNews::LeftoversEnded(_) => process.has_leftovers = false,
            ChildNews::Held { outcome: Err(_), .. }
            | ChildNews::StartFailed { .. }
            | ChildNews::EarlierEnded { .. } => process.stage = Stage::Gone,
            ChildNews::Output { .. } => {}
        }
        let is_over = !process.is_output_open && !process.has_leftovers;
        if process.stage == Stage::Exited && is_over {
            process.stage = Stage::Gone;
        }
    }

    /// Whether nothing of a spawn runs or writes any more.
    pub(super) fn is_gone(&self, id: &SpawnId) -> bool {
        let stage = self.processes.get(id).map(|process| process.stage);
        // One that was cancelled early is still being looked for.
        matches!(stage, None | Some(Stage::Asked | Stage::Found | Stage::Gone))
    }

    /// Whether nothing runs.
    pub(super) fn is_quiet(&self) -> bool {
        let left = |process: &Process| process.stage != Stage::Earlier;
        self.processes.iter().all(|(id, process)| !left(process) || self.is_gone(id))
    }

    /// The processes are another gateway's from here on.
    pub(super) fn restarted(&mut self) {
        self.processes.clear();
    }

    /// A credential that a program was given, one of the newest eight.
    pub(super) fn token(&self, bytes: &mut Bytes<'_>) -> Option<&Secret> {
        let index = bytes.below(8) % self.tokens.len().clamp(1, 8);
        self.tokens.iter().rev().nth(index).map(|(token, _)| token)
    }

    /// The newest of them.
    pub(super) fn tokens(&self) -> Vec<Secret> {
        self.tokens.iter().rev().take(8).map(|(token, _)| token.clone()).collect()
    }

    /// Whose program is let in, by the credential that it presented.
    pub(super) fn admitted(&self, presented: Option<&Secret>, hello: &Hello) -> SpawnId {
        let presented = presented.expect("let in by a credential that was not presented").expose();
        let known = self.tokens.iter().find(|(token, _)| token.expose() == presented);
        let (_, id) = known.expect("let in by a credential that nobody was given");
        let process = self.processes.get(id);
        let process = process.unwrap_or_else(|| panic!("{id} was another gateway's"));
        let ended = [Stage::Exited, Stage::Gone];
        assert!(!ended.contains(&process.stage), "let in after its end: {id}");
        let (_, context) = process.launched.as_ref().expect("it was launched");
        let grant = &hello.grant;
        assert_eq!(grant.agent.as_ref(), Some(&context.agent), "{id} as somebody else");
        assert_eq!(grant.session.as_ref(), Some(&context.session), "{id} in another session");
        assert!(grant.scopes.is_empty() && !grant.is_owner, "{id} has {:?}", grant.scopes);
        id.clone()
    }
}

fn found(spawn: SpawnId) -> ChildNews {
    let found = ProgramFound { program: PathBuf::from("/bin/p"), cwd: PathBuf::from("/") };
    ChildNews::Resolved { spawn, outcome: Ok(found) }
}

fn held(spawn: SpawnId, pid: u32) -> ChildNews {
    let boot_id = "boot".to_owned();
    let marks = ChildMarks { pid, boot_id, start_time: 1, cgroup: None };
    ChildNews::Held { spawn, outcome: Ok(marks) }
}

fn lines(process: &Process, bytes: &mut Bytes<'_>, now_ms: u64) -> Vec<OutputLine> {
    let (_, context) = process.launched.as_ref().expect("it was launched");
    let count = 1 + bytes.below(3);
    let line = |_| {
        let stream =
            bytes.pick(&[OutputStream::Stdout, OutputStream::Stdout, OutputStream::Stderr]);
        let content = match bytes.below(LINES.len() + 1) {
            index if index < LINES.len() => {
                output_line::read(LINES[index], stream, context, now_ms)
            }
            _ => output_line::suppressed(3, 300, stream, context, now_ms),
        };
        OutputLine { stream, content }
    };
    (0..count).map(line).collect()
}
