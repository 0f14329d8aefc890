//! A simulated world around the hub: a clock that jumps from deadline to deadline, a store that
//! is prompt, slow or broken, peers that are heard or silent, and a transcript.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openclaw_gateway::base::close_reason::CloseReason;
use openclaw_gateway::base::ids::{ConnId, Cursor, RequestId, Ticket};
use openclaw_gateway::base::time::Moment;
use openclaw_gateway::hub::Hub;
use openclaw_gateway::hub::effect::Effect;
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::hub::policy::Policy;
use openclaw_gateway::hub::records::{Change, DurableState};
use openclaw_gateway::protocol::error::ProtocolError;
use openclaw_gateway::protocol::event::Event;
use openclaw_gateway::protocol::hello::Hello;
use openclaw_gateway::protocol::log_entry::{Level, LogDraft};
use openclaw_gateway::protocol::request::{LogFilter, LogsAppend, LogsTail, Request};

use crate::describe::{
    self, describe_change, describe_diagnostic, describe_news, describe_reply, describe_spawn,
};
use crate::describe_runs::describe_run_event;
use crate::disk::apply;
use crate::peers::{Peer, agent, operator};
use crate::policies::policy;
use crate::shell::{Shell, describe_order};

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreMode {
    /// Everything is on disk at once.
    Prompt,
    /// Nothing is on disk until `stored` or `store_fails` is called.
    Held,
}

/// See the module.
pub(crate) struct Sim {
    pub(crate) hub: Hub,
    policy: Policy,
    start: Moment,
    pub(crate) now: Moment,
    pub(crate) store: StoreMode,
    /// Who is told to go stays until the test says `closed`.
    pub(crate) lingers: bool,
    in_flight: Option<(Ticket, Vec<Change>)>,
    pub(crate) disk: DurableState,
    heard: BTreeMap<ConnId, Instant>,
    admitted: BTreeMap<ConnId, Box<Hello>>,
    /// Names for tokens and pairing ids, by order of appearance.
    names: BTreeMap<String, String>,
    shown: BTreeSet<&'static str>,
    transcript: String,
    pub(crate) log: Vec<Effect>,
    pub(crate) requests: u64,
    restarts: u8,
    pub(crate) shell: Shell,
}

impl Sim {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = policy();
        adjust(&mut policy);
        let start = Moment { at: Instant::now(), unix_ms: 1_795_000_000_000 };
        let mut sim = Self {
            hub: Hub::new(policy.clone(), DurableState::default(), [1; 32], start),
            policy,
            start,
            now: start,
            store: StoreMode::Prompt,
            lingers: false,
            in_flight: None,
            disk: DurableState::default(),
            heard: BTreeMap::new(),
            admitted: BTreeMap::new(),
            names: BTreeMap::new(),
            shown: ["Admit", "Refuse", "Respond", "Close", "Ping", "Stopped"].into(),
            transcript: String::new(),
            log: Vec::new(),
            requests: 0,
            restarts: 0,
            shell: Shell::default(),
        };
        sim.input(Input::Tick);
        sim
    }

    /// Shows these kinds of effects, too.
    pub(crate) fn show(&mut self, kinds: &[&'static str]) -> &mut Self {
        self.shown.extend(kinds);
        self
    }

    /// Shows nothing but these kinds of effects from here on.
    pub(crate) fn only(&mut self, kinds: &[&'static str]) -> &mut Self {
        self.shown = kinds.iter().copied().collect();
        self
    }

    /// The gateway is killed and started again, with what is on disk.
    pub(crate) fn restart(&mut self) -> &mut Self {
        self.in_flight = None;
        self.heard.clear();
        self.admitted.clear();
        let disk = self.disk.clone();
        self.restarts += 1;
        // Another seed for each life, as the shell draws one.
        let seed = [1 + self.restarts; 32];
        self.hub = Hub::new(self.policy.clone(), disk, seed, self.now);
        self.note("restarted");
        self.input(Input::Tick)
    }

    pub(crate) fn input(&mut self, input: Input) -> &mut Self {
        let mut inputs = vec![input];
        for _ in 0..100_000 {
            let Some(input) = inputs.pop() else { return self };
            let mut effects = Vec::new();
            self.hub.handle(self.now, input, &mut effects);
            let mut follow = self.perform(effects);
            follow.reverse();
            inputs.append(&mut follow);
            assert_eq!(self.hub.broken_invariant(), None);
        }
        panic!("the hub and the world do not come to rest");
    }

    /// Performs what a call beside `handle` asked for.
    pub(crate) fn perform_now(&mut self, effects: Vec<Effect>) {
        for input in self.perform(effects) {
            self.input(input);
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) -> Vec<Input> {
        let mut inputs = Vec::new();
        for effect in effects {
            self.write(&effect);
            match &effect {
                Effect::Admit(hello) => {
                    self.heard.insert(hello.conn, self.now.at);
                    self.admitted.insert(hello.conn, hello.clone());
                }
                Effect::Close { conn, reason } if !self.lingers => {
                    inputs.push(Input::Closed { conn: *conn, reason: reason.clone() });
                }
                Effect::MeasureSilence(conns) => {
                    let heard = conns
                        .iter()
                        .filter_map(|conn| self.heard.get(conn).map(|heard| (*conn, *heard)));
                    inputs.push(Input::SilenceMeasured(heard.collect()));
                }
                Effect::Persist { ticket, changes } => {
                    assert!(self.in_flight.is_none(), "two commits at once");
                    self.in_flight = Some((*ticket, changes.clone()));
                    if self.store == StoreMode::Prompt {
                        inputs.push(Input::Stored(self.write_disk()));
                    }
                }
                Effect::Child(order) => {
                    let news = self.shell.perform(order);
                    inputs.extend(news.into_iter().map(|news| Input::Child(Box::new(news))));
                }
                _ => {}
            }
            self.log.push(effect);
        }
        inputs
    }

    fn write_disk(&mut self) -> Ticket {
        let (ticket, changes) = self.in_flight.take().expect("a commit is in flight");
        for change in changes {
            apply(&mut self.disk, change);
        }
        ticket
    }

    /// The commit in flight reaches the disk, and nobody hears of it.
    pub(crate) fn reach_disk(&mut self) -> &mut Self {
        self.write_disk();
        self
    }

    /// The commit in flight reaches the disk.
    pub(crate) fn stored(&mut self) -> &mut Self {
        self.note("stored");
        let ticket = self.write_disk();
        self.input(Input::Stored(ticket))
    }

    /// Whether a commit is with the store.
    pub(crate) fn is_storing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The store fails; nothing of the commit in flight is on disk.
    pub(crate) fn store_fails(&mut self) -> &mut Self {
        self.note("store fails");
        let ticket = self.in_flight.take().map_or(Ticket(u64::MAX), |(ticket, _)| ticket);
        self.input(Input::StoreFailed { ticket, error: "no space left".to_owned() })
    }

    /// The store takes writes again.
    pub(crate) fn store_recovers(&mut self) -> &mut Self {
        self.note("store recovers");
        self.input(Input::StoreRecovered)
    }

    pub(crate) fn connect(&mut self, conn: u64, peer: Peer) -> &mut Self {
        self.input(Input::ConnectRequested(Box::new(peer.on(conn))))
    }

    pub(crate) fn closed(&mut self, conn: u64) -> &mut Self {
        let conn = ConnId(conn);
        self.heard.remove(&conn);
        self.admitted.remove(&conn);
        self.input(Input::Closed { conn, reason: CloseReason::Vanished })
    }

    /// A peer was heard just now.
    pub(crate) fn heard(&mut self, conn: u64) -> &mut Self {
        self.heard.insert(ConnId(conn), self.now.at);
        self
    }

    pub(crate) fn request(&mut self, conn: u64, request: Request) -> &mut Self {
        self.requests += 1;
        let id = RequestId::new(format!("r{}", self.requests));
        self.input(Input::Requested { conn: ConnId(conn), id, request })
    }

    /// Appends entries with these messages.
    pub(crate) fn append(&mut self, conn: u64, messages: &[&str]) -> &mut Self {
        let entries = messages.iter().map(|message| draft(message)).collect();
        self.request(conn, Request::LogsAppend(LogsAppend { entries, idempotency: None }))
    }

    /// Lets time pass, jumping from deadline to deadline.
    pub(crate) fn run_for(&mut self, duration: Duration) -> &mut Self {
        let end = self.now.after(duration);
        for _ in 0..100_000 {
            match self.hub.next_deadline().filter(|deadline| *deadline <= end.at) {
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(self.now.at);
                    self.now = self.now.after(left);
                    self.input(Input::Tick);
                    let next = self.hub.next_deadline();
                    assert!(
                        next.is_none_or(|next| next > self.now.at),
                        "a deadline stays due after its tick"
                    );
                }
                None => {
                    self.now = end;
                    return self;
                }
            }
        }
        panic!("deadlines come too often");
    }

    /// Lets time pass while these peers are heard every few seconds.
    pub(crate) fn live_for(&mut self, seconds: u64, conns: &[u64]) -> &mut Self {
        for second in 0..seconds {
            self.run_secs(1);
            for conn in conns.iter().filter(|_| second % 10 == 0) {
                self.heard(*conn);
            }
        }
        self
    }

    pub(crate) fn run_secs(&mut self, seconds: u64) -> &mut Self {
        self.run_for(Duration::from_secs(seconds))
    }

    /// The hello that a connection got.
    pub(crate) fn hello(&self, conn: u64) -> &Hello {
        self.admitted.get(&ConnId(conn)).expect("this connection was admitted")
    }

    /// The text of the device token that a connection was given.
    pub(crate) fn token_of(&self, conn: u64) -> String {
        self.hello(conn).token.as_ref().expect("a token was given").token.expose().to_owned()
    }

    /// An operator and an agent with their devices, on connections 1 and 2.
    pub(crate) fn settled(&mut self) -> &mut Self {
        self.connect(1, operator().device("desk")).connect(2, agent("a1"));
        self.forget()
    }

    /// Drops what was written so far.
    pub(crate) fn forget(&mut self) -> &mut Self {
        self.transcript.clear();
        self
    }

    pub(crate) fn note(&mut self, text: &str) -> &mut Self {
        self.line(&format!("-- {text}"));
        self
    }

    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.transcript)
    }

    fn line(&mut self, text: &str) {
        let passed = self.now.at.duration_since(self.start.at).as_millis();
        let seconds = match passed % 1000 {
            0 => format!("{}s", passed / 1000),
            millis => format!("{}.{millis:03}s", passed / 1000),
        };
        writeln!(self.transcript, "{seconds} {text}").expect("text grows");
    }

    fn write(&mut self, effect: &Effect) {
        if self.shown.is_empty() {
            return;
        }
        let (kind, text) = self.describe(effect);
        if self.shown.contains(kind) {
            let text = self.with_spawn_names(text);
            self.line(&text);
        }
    }

    pub(crate) fn alias(&mut self, prefix: &str, text: &str) -> String {
        let count = self.names.values().filter(|name| name.starts_with(prefix)).count();
        self.names
            .entry(text.to_owned())
            .or_insert_with(|| format!("{prefix}{}", count + 1))
            .clone()
    }

    fn describe(&mut self, effect: &Effect) -> (&'static str, String) {
        match effect {
            Effect::Admit(hello) => ("Admit", self.describe_hello(hello)),
            Effect::Refuse { conn, error, reason } => {
                let error = self.describe_error(error);
                let reason = self.with_aliases(format!(
                    "{} {:?}",
                    reason.code().unwrap_or(0),
                    reason.text()
                ));
                ("Refuse", format!("Refuse({conn}, {error}) {reason}"))
            }
            Effect::Respond { conn, id, result } => {
                let result = match result {
                    Ok(reply) => describe_reply(reply),
                    Err(error) => self.describe_error(error),
                };
                ("Respond", format!("Respond({conn}, {id}, {result})"))
            }
            Effect::RespondAgain { conn, id, reply } => {
                ("Respond", format!("RespondAgain({conn}, {id}, {})", describe_reply(reply)))
            }
            Effect::Send { conn, event } => {
                let (kind, text) = self.describe_event(event);
                (kind, format!("Send({conn}, {text})"))
            }
            Effect::Broadcast(event) => {
                let (kind, text) = self.describe_event(event);
                (kind, format!("Broadcast({text})"))
            }
            Effect::Narrow { conn, filter } => ("Narrow", format!("Narrow({conn}, {filter:?})")),
            Effect::Ping(conn) => ("Ping", format!("Ping({conn})")),
            Effect::Close { conn, reason } => ("Close", format!("Close({conn}, {reason})")),
            Effect::MeasureSilence(conns) => {
                let conns: Vec<_> = conns.iter().map(ToString::to_string).collect();
                ("MeasureSilence", format!("MeasureSilence({})", conns.join(", ")))
            }
            Effect::Persist { ticket, changes } => {
                let changes: Vec<_> = changes.iter().map(describe_change).collect();
                ("Persist", format!("Persist(#{}: {})", ticket.0, changes.join(", ")))
            }
            Effect::SetReady(state) => ("SetReady", format!("SetReady({state:?})")),
            Effect::Diagnose(line) => ("Diagnose", describe_diagnostic(line)),
            Effect::Audit(event) => ("Audit", describe::describe_audit(event)),
            Effect::Stopped => ("Stopped", "Stopped".to_owned()),
            Effect::Child(order) => ("Child", format!("Child({})", describe_order(order))),
        }
    }

    fn describe_hello(&mut self, hello: &Hello) -> String {
        let grant = &hello.grant;
        let mut text = format!("Admit({} {} [{}]", hello.conn, grant.role, grant.scopes);
        if let Some(agent) = &grant.agent {
            write!(text, " named {agent}").unwrap();
        }
        if let Some(device) = &grant.device {
            write!(text, " device {device}").unwrap();
        }
        if let Some(token) = &hello.token {
            let token = self.alias("token-", token.token.expose());
            write!(text, " {token}").unwrap();
        }
        write!(text, " of {} by {})", grant.user, hello.auth_mode).unwrap();
        text
    }

    fn describe_error(&mut self, error: &ProtocolError) -> String {
        let mut text = format!("{} {:?}", error.code.as_str(), error.message);
        if let Some(details) = &error.details {
            let mut details = details.clone();
            if let Some(id) = details.get("requestId").and_then(|id| id.as_str()) {
                details["requestId"] = self.alias("pairing-", id).into();
            }
            write!(text, " {details}").unwrap();
        }
        if let Some(millis) = error.retry_after_ms {
            write!(text, " retry {millis}").unwrap();
        }
        text
    }

    fn with_aliases(&self, text: String) -> String {
        self.names.iter().fold(text, |text, (id, name)| text.replace(id, name))
    }

    fn describe_event(&mut self, event: &Event) -> (&'static str, String) {
        match event {
            Event::Log(record) => ("Log", format!("log {} {}", record.cursor.0, record.draft.body)),
            Event::Tick(tick) if tick.total == 0 => ("Tick", "tick".to_owned()),
            Event::Tick(tick) => {
                let rows: Vec<_> = tick
                    .sessions
                    .sessions()
                    .iter()
                    .map(|row| format!("{} {}", row.key, row.total_tokens))
                    .collect();
                ("Tick", format!("tick [{}] of {}", rows.join(", "), tick.total))
            }
            Event::AgentStatus(agent) => {
                let text = format!("agent {} {} {}", agent.name, agent.id, agent.status);
                ("Agent", text)
            }
            Event::Cron(news) => ("Cron", describe_news(news)),
            Event::AgentRequest(_)
            | Event::Chat(_)
            | Event::ChatMessage(_)
            | Event::RunProgress(_)
            | Event::ApprovalRequested(_)
            | Event::ApprovalResolved(_) => describe_run_event(event),
            Event::SpawnResult(shown) => {
                ("Spawn", format!("spawn_result {}", describe_spawn(shown)))
            }
            Event::Published { kind, payload: p } => ("Published", format!("{} {p}", kind.name())),
            Event::Presence { entries, version, .. } => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|entry| {
                        let sign = if entry.connected { '+' } else { '-' };
                        format!("{sign}{}", entry.device_id.as_deref().unwrap_or(&entry.host))
                    })
                    .collect();
                ("Presence", format!("presence v{version} {}", entries.join(" ")))
            }
            Event::LogGap(_) => ("LogGap", "log.gap".to_owned()),
            Event::Shutdown { reason, restart_expected_ms } => {
                ("Shutdown", format!("shutdown {reason:?} back in {restart_expected_ms:?}"))
            }
            Event::PairRequested(request) => {
                let id = self.alias("pairing-", request["requestId"].as_str().unwrap());
                let text = format!("pair requested {id} {}", request["reason"]);
                ("Pair", text)
            }
            Event::PairResolved(resolved) => {
                let id = self.alias("pairing-", resolved["requestId"].as_str().unwrap());
                ("Pair", format!("pair resolved {id} {}", resolved["decision"]))
            }
        }
    }
}

/// An entry with this message.
pub(crate) fn draft(message: &str) -> LogDraft {
    LogDraft {
        level: Level::Info,
        source: Arc::from("a1"),
        session: None,
        body: Arc::from(message),
    }
}

/// A `logs.tail` with no filter.
pub(crate) fn tail(cursor: Option<u64>, limit: usize) -> LogsTail {
    let (cursor, filter) = (cursor.map(Cursor), LogFilter::default());
    LogsTail { cursor, limit, bytes_max: 1_000_000, filter }
}
