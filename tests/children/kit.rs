//! Plays the hub: gives orders, hears news, and looks at the processes behind them.

#[macro_use]
#[path = "../e2e/kit/skip.rs"]
mod skip;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use openclaw_gateway::base::ids::{AgentName, SessionKey, SpawnId};
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::hub::child::{
    ChildMarks, ChildNews, ChildOrder, Exit, Launch, NotFound, ProgramAsked, ProgramFound, Signal,
};
use openclaw_gateway::protocol::log_entry::Level;
use openclaw_gateway::protocol::output_line::{OutputContent, OutputStream};
use openclaw_gateway::shell::children::{Children, ChildrenSetup, ChildrenThread, Unheard, start};

pub(crate) use self::skip::note_skipped;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One test at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Waits until no other test runs; none does until it is dropped.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The threads under test, and what they told that was not waited for yet.
pub(crate) struct World {
    children: Option<Children>,
    thread: Option<ChildrenThread>,
    news: Receiver<ChildNews>,
    early: VecDeque<ChildNews>,
    turn: Option<MutexGuard<'static, ()>>,
}

/// Everything that was told of a child from its start to its end.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
    /// Messages about what was suppressed.
    pub(crate) suppressed: Vec<String>,
    pub(crate) exit: Option<Exit>,
    pub(crate) leftovers: bool,
    pub(crate) failure: Option<String>,
    /// The kinds of news in their order, each as often as it came, but `Output` once in a row.
    pub(crate) kinds: Vec<&'static str>,
}

impl World {
    pub(crate) fn new() -> Self {
        let turn = turn();
        let mut world = Self::within_turn(|setup| setup);
        world.turn = Some(turn);
        world
    }

    /// For a test that has its turn already.
    pub(crate) fn within_turn(change: impl FnOnce(ChildrenSetup) -> ChildrenSetup) -> Self {
        let setup = change(ChildrenSetup {
            launcher: PathBuf::from(env!("CARGO_BIN_EXE_openclaw-gateway")),
            gateway_url: "ws://127.0.0.1:1".to_owned(),
            open_files: Some(256),
            control_groups: false,
        });
        let (tell, news) = bounded(16);
        let tell = Box::new(move |told| tell.send(told).map_err(|_| Unheard));
        let (children, thread) = start(setup, tell, || eprintln!("the reaper panicked")).unwrap();
        Self {
            children: Some(children),
            thread: Some(thread),
            news,
            early: VecDeque::new(),
            turn: None,
        }
    }

    pub(crate) fn order(&self, order: ChildOrder) {
        self.children.as_ref().unwrap().order(Box::new(order)).unwrap();
    }

    /// The hub goes; everything that is left is to end.
    pub(crate) fn end(mut self) {
        self.end_now();
    }

    fn end_now(&mut self) {
        drop(self.children.take());
        // Nobody listens any more.
        let (_, none) = bounded(0);
        self.news = none;
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }

    /// The next news for which `wanted` gives something; others are kept.
    #[track_caller]
    pub(crate) fn hear<T>(&mut self, wanted: impl Fn(&ChildNews) -> Option<T>) -> T {
        let found = self.early.iter().enumerate().find_map(|(at, news)| Some((at, wanted(news)?)));
        if let Some((at, found)) = found {
            self.early.remove(at);
            return found;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.news.recv_deadline(deadline) {
                Ok(news) => match wanted(&news) {
                    Some(found) => return found,
                    None => self.early.push_back(news),
                },
                Err(_) => panic!("not told; instead: {:?}", self.early),
            }
        }
    }

    #[track_caller]
    pub(crate) fn resolve(
        &mut self,
        command: &str,
        cwd: Option<&Path>,
        allowed: Option<&[&Path]>,
    ) -> Result<ProgramFound, NotFound> {
        let spawn = new_spawn();
        self.order(ChildOrder::Resolve(Box::new(ProgramAsked {
            spawn: spawn.clone(),
            command: command.to_owned(),
            cwd: cwd.map(Path::to_owned),
            allowed_dirs: allowed.map(|dirs| dirs.iter().map(|dir| (*dir).to_owned()).collect()),
        })));
        self.hear(|news| match news {
            ChildNews::Resolved { spawn: of, outcome } if *of == spawn => Some(outcome.clone()),
            _ => None,
        })
    }

    /// Has the launcher started; it waits.
    #[track_caller]
    pub(crate) fn hold(&mut self, launch: Launch) -> (SpawnId, ChildMarks) {
        let spawn = launch.spawn.clone();
        self.order(ChildOrder::Launch(Box::new(launch)));
        let outcome = self.hear(|news| match news {
            ChildNews::Held { spawn: of, outcome } if *of == spawn => Some(outcome.clone()),
            _ => None,
        });
        (spawn, outcome.unwrap())
    }

    /// Starts a program and waits until it runs.
    #[track_caller]
    pub(crate) fn run(&mut self, launch: Launch) -> (SpawnId, ChildMarks) {
        let (spawn, marks) = self.hold(launch);
        self.order(ChildOrder::Go(spawn.clone()));
        self.hear(|news| matches!(news, ChildNews::Started(of) if *of == spawn).then_some(()));
        (spawn, marks)
    }

    /// Starts a program and hears of it until its end, ending leftovers at once.
    #[track_caller]
    pub(crate) fn tell(&mut self, launch: Launch) -> Story {
        let (spawn, _) = self.hold(launch);
        self.order(ChildOrder::Go(spawn.clone()));
        self.rest(&spawn)
    }

    /// Hears the rest of a child's story, ending leftovers at once.
    #[track_caller]
    pub(crate) fn rest(&mut self, spawn: &SpawnId) -> Story {
        let mut story = Story::default();
        loop {
            let news = self.hear_of(spawn);
            let kind = kind(&news);
            if kind != "Output" || story.kinds.last() != Some(&"Output") {
                story.kinds.push(kind);
            }
            match news {
                ChildNews::Output { lines, .. } => lines.into_iter().for_each(|line| {
                    story.take(line.stream, line.content);
                }),
                ChildNews::Exited { exit, leftovers, .. } => {
                    story.exit = Some(exit);
                    story.leftovers = leftovers;
                    if leftovers {
                        self.order(ChildOrder::EndLeftovers(spawn.clone()));
                    }
                }
                ChildNews::StartFailed { error, .. } => story.failure = Some(error),
                _ => {}
            }
            if story.is_over() {
                return story;
            }
        }
    }

    /// The next news of this child.
    #[track_caller]
    pub(crate) fn hear_of(&mut self, spawn: &SpawnId) -> ChildNews {
        let at = self.early.iter().position(|news| of(news) == Some(spawn));
        if let Some(news) = at.and_then(|at| self.early.remove(at)) {
            return news;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.news.recv_deadline(deadline) {
                Ok(news) if of(&news) == Some(spawn) => return news,
                Ok(news) => self.early.push_back(news),
                Err(_) => panic!("nothing is told of {spawn}"),
            }
        }
    }

    pub(crate) fn signal(&self, spawn: &SpawnId, signal: Signal) {
        self.order(ChildOrder::Signal { spawn: spawn.clone(), signal });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end_now();
        if !std::thread::panicking() {
            let zombies = zombies();
            assert!(zombies.is_empty(), "not reaped: {zombies:?}");
        }
    }
}

impl Story {
    fn take(&mut self, stream: OutputStream, content: OutputContent) {
        let OutputContent::Entry { draft, .. } = content else { panic!("a report: {content:?}") };
        let body: serde_json::Value = serde_json::from_str(&format!("{{{}}}", draft.body)).unwrap();
        let message = body["message"].as_str().unwrap().to_owned();
        if draft.level == Level::Warn && message.starts_with("suppressed ") {
            return self.suppressed.push(message);
        }
        match stream {
            OutputStream::Stdout => self.stdout.push(message),
            OutputStream::Stderr => self.stderr.push(message),
        }
    }

    fn is_over(&self) -> bool {
        let has = |kind| self.kinds.contains(&kind);
        has("StartFailed")
            || has("Exited") && has("OutputEnded") && (!self.leftovers || has("LeftoversEnded"))
    }
}

fn of(news: &ChildNews) -> Option<&SpawnId> {
    match news {
        ChildNews::Resolved { spawn, .. }
        | ChildNews::Held { spawn, .. }
        | ChildNews::Started(spawn)
        | ChildNews::StartFailed { spawn, .. }
        | ChildNews::Output { spawn, .. }
        | ChildNews::OutputEnded(spawn)
        | ChildNews::Exited { spawn, .. }
        | ChildNews::LeftoversEnded(spawn)
        | ChildNews::EarlierEnded { spawn, .. } => Some(spawn),
    }
}

fn kind(news: &ChildNews) -> &'static str {
    match news {
        ChildNews::Resolved { .. } => "Resolved",
        ChildNews::Held { .. } => "Held",
        ChildNews::Started(_) => "Started",
        ChildNews::StartFailed { .. } => "StartFailed",
        ChildNews::Output { .. } => "Output",
        ChildNews::OutputEnded(_) => "OutputEnded",
        ChildNews::Exited { .. } => "Exited",
        ChildNews::LeftoversEnded(_) => "LeftoversEnded",
        ChildNews::EarlierEnded { .. } => "EarlierEnded",
    }
}

/// A spawn that no other test, and no other run of the tests, has.
pub(crate) fn new_spawn() -> SpawnId {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    SpawnId::new(format!("sp-{:08x}{number:08x}", std::process::id()))
}

/// A program with arguments, in the directory of the temporary files.
pub(crate) fn launch(program: &str, args: &[&str]) -> Launch {
    Launch {
        spawn: new_spawn(),
        found: ProgramFound {
            program: PathBuf::from(program),
            cwd: std::env::temp_dir().canonicalize().unwrap(),
        },
        command: program.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env_allow: vec!["PATH".to_owned()],
        env: Vec::new(),
        stdin: None,
        run_as: None,
        agent: AgentName::new("agent1"),
        session: SessionKey::new("agent1:test"),
        token: Secret::new("token-of-a-test"),
        reports: false,
        output_bytes_per_second_max: 1_000_000_000,
    }
}

/// A shell script.
pub(crate) fn sh(script: &str) -> Launch {
    launch("/bin/sh", &["-c", script])
}

/// A directory of a test's own.
pub(crate) struct TestDir(pub(crate) PathBuf);

impl TestDir {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("openclaw-children-{}", new_spawn()));
        fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Waits until `condition` gives something.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The state letter of a process in `/proc`, if it is there at all.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether a process runs.
pub(crate) fn runs(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// Children of this process that have ended and were not reaped.
fn zombies() -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").unwrap();
    let stats =
        entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    stats
        .filter(|stat| {
            let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
            let mut fields = rest.split(' ');
            fields.next() == Some("Z") && fields.next() == Some(&own)
        })
        .collect()
}
