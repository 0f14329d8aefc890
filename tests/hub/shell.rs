//! A simulated shell for child processes: it performs what the hub orders, at once or when a test
//! says so, and knows which processes live.

use std::collections::BTreeMap;
use std::path::PathBuf;

use openclaw_gateway::base::ids::{AgentName, SessionKey, SpawnId};
use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::hub::child::{
    ChildMarks, ChildNews, ChildOrder, Exit, OutputLine, OutputStream, ProgramFound,
};
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::protocol::output_line::{self, OutputContext};
use openclaw_gateway::protocol::request::Request;
use openclaw_gateway::protocol::spawn::{SpawnAsk, SpawnRequest, TemplateAsk};

use crate::sim::Sim;

/// What was launched.
pub(crate) struct Launched {
    pub(crate) token: Secret,
    pub(crate) args: Vec<String>,
    context: OutputContext,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Shell {
    /// Whether orders wait until a test answers them.
    pub(crate) held: bool,
    /// By their number, as the transcript has it.
    pub(crate) ids: Vec<SpawnId>,
    pub(crate) launched: BTreeMap<SpawnId, Launched>,
    /// The launchers and programs that live.
    pub(crate) living: BTreeMap<SpawnId, u32>,
}

impl Shell {
    /// Performs an order; what follows at once is returned.
    pub(crate) fn perform(&mut self, order: &ChildOrder) -> Vec<ChildNews> {
        let news = self.answer(order);
        if self.held { Vec::new() } else { news }
    }

    fn answer(&mut self, order: &ChildOrder) -> Vec<ChildNews> {
        match order {
            ChildOrder::Resolve(asked) => {
                self.ids.push(asked.spawn.clone());
                vec![resolved(&asked.spawn)]
            }
            ChildOrder::Launch(launch) => {
                let context = OutputContext {
                    agent: launch.agent.clone(),
                    session: launch.session.clone(),
                    reports: launch.reports,
                };
                let (token, args) = (launch.token.clone(), launch.args.clone());
                self.launched.insert(launch.spawn.clone(), Launched { token, args, context });
                let pid = 100 + u32::try_from(self.launched.len()).unwrap();
                self.living.insert(launch.spawn.clone(), pid);
                vec![held(&launch.spawn, pid)]
            }
            ChildOrder::Go(id) => vec![ChildNews::Started(id.clone())],
            ChildOrder::Abandon(id) => {
                let exit = Exit::Signal(9);
                vec![ChildNews::Exited { spawn: id.clone(), exit, leftovers: false }]
            }
            // A program may ignore TERM, and dies of KILL when a test says so.
            ChildOrder::Signal { .. } => Vec::new(),
            ChildOrder::EndLeftovers(id) => vec![ChildNews::LeftoversEnded(id.clone())],
            ChildOrder::CloseOutput(id) => vec![ChildNews::OutputEnded(id.clone())],
            ChildOrder::EndEarlier(spawns) => {
                let gone = |(spawn, _): &(SpawnId, Option<ChildMarks>)| ChildNews::EarlierEnded {
                    spawn: spawn.clone(),
                    was_running: false,
                };
                spawns.iter().map(gone).collect()
            }
        }
    }
}

pub(crate) fn resolved(id: &SpawnId) -> ChildNews {
    let found = ProgramFound { program: PathBuf::from("/bin/p"), cwd: PathBuf::from("/") };
    ChildNews::Resolved { spawn: id.clone(), outcome: Ok(found) }
}

pub(crate) fn held(id: &SpawnId, pid: u32) -> ChildNews {
    let boot_id = "boot".to_owned();
    let marks = ChildMarks { pid, boot_id, start_time: 1, cgroup: None };
    ChildNews::Held { spawn: id.clone(), outcome: Ok(marks) }
}

/// An order in words.
pub(crate) fn describe_order(order: &ChildOrder) -> String {
    match order {
        ChildOrder::Resolve(asked) => format!("resolve {} {}", asked.spawn, asked.command),
        ChildOrder::Launch(launch) => format!("launch {} {:?}", launch.spawn, launch.args),
        ChildOrder::Go(id) => format!("go {id}"),
        ChildOrder::Abandon(id) => format!("abandon {id}"),
        ChildOrder::Signal { spawn, signal } => format!("signal {spawn} {signal:?}"),
        ChildOrder::EndLeftovers(id) => format!("end leftovers {id}"),
        ChildOrder::CloseOutput(id) => format!("close output {id}"),
        ChildOrder::EndEarlier(spawns) => {
            let spawns: Vec<_> = spawns
                .iter()
                .map(|(id, marks)| match marks {
                    Some(marks) => format!("{id} pid {}", marks.pid),
                    None => id.to_string(),
                })
                .collect();
            format!("end earlier {}", spawns.join(", "))
        }
    }
}

/// A `spawn` of this command.
pub(crate) fn ask(command: &str) -> SpawnAsk {
    SpawnAsk {
        command: command.to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: None,
        stdin: None,
        timeout_ms: None,
        session: None,
        reports: false,
        idempotency: None,
    }
}

/// A `sessions_spawn` of this agent.
pub(crate) fn task(agent: &str, text: &str) -> TemplateAsk {
    TemplateAsk {
        agent: Some(AgentName::new(agent)),
        task: text.to_owned(),
        label: None,
        model: None,
        timeout_ms: None,
        idempotency: None,
    }
}

impl Sim {
    /// `sp-1` for the first spawn, and so on: by order of appearance.
    pub(crate) fn with_spawn_names(&mut self, mut text: String) -> String {
        let mut from = 0;
        while let Some(at) = text[from..].find("sp-").map(|at| from + at) {
            from = at + "sp-".len();
            let end = (from + 16).min(text.len());
            if end - from == 16 && text[from..end].bytes().all(|b| b.is_ascii_hexdigit()) {
                let name = self.alias("sp-", &text[at..end]);
                text.replace_range(at..end, &name);
            }
        }
        text
    }

    pub(crate) fn spawn(&mut self, conn: u64, ask: SpawnAsk) -> &mut Self {
        self.spawns(conn, SpawnRequest::Spawn(Box::new(ask)))
    }

    pub(crate) fn spawns(&mut self, conn: u64, request: SpawnRequest) -> &mut Self {
        self.request(conn, Request::Spawn(Box::new(request)))
    }

    pub(crate) fn cancel(&mut self, conn: u64, id: &str) -> &mut Self {
        self.spawns(conn, SpawnRequest::Cancel { id: id.to_owned(), grace_ms: None })
    }

    /// The id of the spawn with this number, from 1.
    pub(crate) fn id(&self, number: usize) -> SpawnId {
        self.shell.ids[number - 1].clone()
    }

    pub(crate) fn news(&mut self, news: ChildNews) -> &mut Self {
        if let ChildNews::Exited { spawn, .. } = &news {
            self.shell.living.remove(spawn);
        }
        self.input(Input::Child(Box::new(news)))
    }

    pub(crate) fn exits(&mut self, number: usize, exit: Exit) -> &mut Self {
        let spawn = self.id(number);
        self.news(ChildNews::Exited { spawn, exit, leftovers: false })
    }

    pub(crate) fn output_ends(&mut self, number: usize) -> &mut Self {
        let spawn = self.id(number);
        self.news(ChildNews::OutputEnded(spawn))
    }

    /// The program exits with this code, and that is all of it.
    pub(crate) fn ends(&mut self, number: usize, code: i32) -> &mut Self {
        self.exits(number, Exit::Code(code)).output_ends(number)
    }

    /// The program writes lines to its stdout.
    pub(crate) fn prints(&mut self, number: usize, lines: &[&str]) -> &mut Self {
        let news = self.printed(&self.id(number), lines);
        self.news(news)
    }

    /// What the shell tells when a program writes lines to its stdout.
    pub(crate) fn printed(&self, spawn: &SpawnId, lines: &[&str]) -> ChildNews {
        let context = self.shell.launched[spawn].context.clone();
        let stream = OutputStream::Stdout;
        let read = |line: &&str| OutputLine {
            stream,
            content: output_line::read(line, stream, &context, 1_000),
        };
        let lines = lines.iter().map(read).collect();
        ChildNews::Output { spawn: spawn.clone(), lines }
    }

    pub(crate) fn session_of(&self, number: usize) -> SessionKey {
        self.shell.launched[&self.id(number)].context.session.clone()
    }
}
