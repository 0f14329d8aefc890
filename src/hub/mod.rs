//! All shared state, as a pure state machine: one input at one moment in, effects in order out.
//!
//! No I/O, no clock, no thread, no log line; randomness comes from a seed. Called by
//! `shell::hub_thread` alone, which performs the effects. The parts, by what happens to a peer:
//! `admission` (with `credentials`, `registration`, `rate_limit`, `tokens`, `devices`, `pairing`)
//! lets it in; `clients`, `presence`, `heartbeat` and `tick` look after it; `verbs` answer it, with
//! `journal`, `sessions`, `agents`, `reports` and `answers`; `cron` runs jobs; `commits`, `touched` and `durability`
//! make things last; `spawns` starts programs and follows them to their end; `stopping` ends it all.

// A new variant of one of our enums has to be considered everywhere.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod audit;
pub mod child;
pub mod effect;
pub mod gauges;
pub mod input;
pub mod policy;
pub mod records;
pub mod runs;

mod admission;
mod agents;
mod answers;
mod approvals;
mod clients;
mod commits;
mod credentials;
mod cron;
mod device_admin;
mod devices;
mod durability;
mod entropy;
mod heartbeat;
mod introduction;
mod invariants;
mod journal;
mod marks;
mod pairing;
mod presence;
mod rate_limit;
mod refusals;
mod registration;
mod reload;
mod reports;
mod sessions;
mod spawns;
mod stopping;
mod tick;
mod tokens;
mod touched;
mod verbs;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub use device_admin::Approver;

use crate::base::close_reason::CloseReason;
use crate::base::ids::{ConnId, RequestId};
use crate::base::time::Moment;
use crate::hub::agents::Agents;
use crate::hub::answers::Answers;
use crate::hub::approvals::Approvals;
use crate::hub::clients::Clients;
use crate::hub::commits::Commits;
use crate::hub::cron::Cron;
use crate::hub::devices::Devices;
use crate::hub::effect::{Diagnostic, DiagnosticValue, Effect};
use crate::hub::entropy::Entropy;
use crate::hub::heartbeat::{Heartbeats, Verdict};
use crate::hub::input::Input;
use crate::hub::journal::Journal;
use crate::hub::pairing::Pairings;
use crate::hub::policy::Policy;
use crate::hub::presence::Presence;
use crate::hub::rate_limit::RateLimiter;
use crate::hub::records::{Change, DurableState, TokenRecord};
use crate::hub::reports::From;
use crate::hub::runs::RunEnded;
use crate::hub::runs::history::History;
use crate::hub::runs::table::Runs;
use crate::hub::sessions::Sessions;
use crate::hub::spawns::table::Spawns;
use crate::hub::stopping::Stage;
use crate::hub::tick::Ticks;
use crate::hub::tokens::Tokens;
use crate::hub::touched::Doubtful;
use crate::protocol::error::ProtocolError;
use crate::protocol::event::Event;
use crate::protocol::reply::Reply;
use crate::protocol::request::{Read, Request};

/// The user of credentials that belong to nobody in `[[gateway.auth.users]]`.
pub const DEFAULT_USER: &str = "default";

/// See the module.
pub struct Hub {
    policy: Policy,
    started: Moment,
    entropy: Entropy,
    clients: Clients,
    /// Peers whose `connect` waits for its commit.
    connecting: BTreeSet<ConnId>,
    devices: Devices,
    tokens: Tokens,
    pairings: Pairings,
    limiter: RateLimiter,
    journal: Journal,
    sessions: Sessions,
    agents: Agents,
    spawns: Spawns,
    answers: Answers,
    runs: Runs,
    history: History,
    approvals: Approvals,
    /// What was open at the end of the gateway before: heard of with the first input.
    interrupted: Vec<RunEnded>,
    commits: Commits,
    doubtful: Doubtful,
    cron: Cron,
    presence: Presence,
    heartbeats: Heartbeats,
    ticks: Ticks,
    stopping: Option<Stage>,
    /// Whether anybody was told yet if the store takes writes.
    announced_ready: bool,
    health_version: u64,
}

impl Hub {
    /// A hub with what was on disk. `seed` is 32 bytes from the operating system: every token and
    /// pairing id comes from it.
    ///
    /// `next_deadline` is `now` at first: hand in `Input::Tick` once, and the hub reserves its
    /// first journal positions. `Effect::SetReady` follows when that is on disk.
    pub fn new(policy: Policy, state: DurableState, seed: [u8; 32], now: Moment) -> Self {
        let limits = policy.limits;
        let mut commits = Commits::new();
        let mut devices = Devices::default();
        for record in state.devices {
            devices.put(record);
        }
        let tokens = load_tokens(&mut commits, &devices, state.tokens, now);
        let mut answers = Answers::default();
        for key in answers.load(state.answers, now) {
            commits.lazily(Change::DeleteAnswer(key));
        }
        let mut sessions = Sessions::new(limits.sessions_max);
        for key in sessions.load(state.sessions) {
            commits.lazily(Change::DeleteSession(key));
        }
        let mut agents = Agents::default();
        agents.load(state.agents);
        let history = History::load(&mut commits, state.messages);
        let approvals = Approvals::load(&mut commits, state.approvals, state.allowed, now);
        let (runs, interrupted) = runs::restart::load(&mut commits, state.runs, now);
        let mut spawns = Spawns::default();
        for id in spawns.load(state.spawns) {
            commits.lazily(Change::DeleteSpawn(id));
        }
        let (jobs, entries) = (state.cron_jobs, state.cron_runs);
        let cron = Cron::new(policy.cron.clone(), jobs, entries, now, &mut commits);
        Self {
            sessions,
            agents,
            spawns,
            cron,
            pairings: Pairings::new(policy.auth.pairing_code, now.at),
            limiter: RateLimiter::new(policy.auth.rate_limit),
            heartbeats: Heartbeats::new(policy.heartbeat),
            presence: Presence::new(limits.tick_coalesce),
            ticks: Ticks::new(limits.tick_coalesce, limits.snapshot_sessions_max),
            journal: Journal::new(
                state.journal,
                state.cursors_reserved,
                state.trimmed_through,
                limits.journal_entries_max,
                limits.journal_bytes_max,
            ),
            policy,
            started: now,
            entropy: Entropy::new(seed),
            clients: Clients::default(),
            connecting: BTreeSet::new(),
            devices,
            tokens,
            answers,
            runs,
            history,
            approvals,
            interrupted,
            commits,
            doubtful: Doubtful::default(),
            stopping: None,
            announced_ready: false,
            health_version: 1,
        }
    }

    /// Applies one input at one moment; appends to `effects` what the world must now do, in order.
    pub fn handle(&mut self, now: Moment, input: Input, effects: &mut Vec<Effect>) {
        for ended in std::mem::take(&mut self.interrupted) {
            self.run_ended(now, &ended, effects);
        }
        match input {
            Input::ConnectRequested(asked) => self.connect_requested(now, *asked, effects),
            Input::Requested { conn, id, request } => {
                self.requested(now, conn, id, request, effects);
            }
            Input::Closed { conn, reason: _ } => self.closed(now, conn, effects),
            Input::PongReceived { conn, rtt } => self.pong_received(now, conn, rtt),
            Input::SilenceMeasured(heard) => self.silence_measured(now, heard, effects),
            Input::Stored(ticket) => self.stored(now, ticket, effects),
            Input::StoreFailed { ticket: _, error } => self.store_failed(now, error, effects),
            Input::StoreRecovered => self.store_recovered(now, effects),
            Input::StopRequested { reason } => self.stop_requested(now, reason, effects),
            Input::PolicyChanged(policy) => self.policy_changed(*policy, effects),
            Input::Child(news) => self.child_news(now, *news, effects),
            Input::Tick => {}
        }
        self.expire(now, effects);
        self.run_due_jobs(now, effects);
        self.dispatch_commit(effects);
        self.advance_stop(now.at, effects);
    }

    fn requested(
        &mut self,
        now: Moment,
        conn: ConnId,
        id: RequestId,
        request: Request,
        effects: &mut Vec<Effect>,
    ) {
        // No answer could arrive any more, so nothing is done that one would promise.
        if !self.clients.answerable(conn) {
            return;
        }
        let from = || From::Peer { conn, id: id.clone() };
        match request {
            Request::Status => self.status(now, conn, id, effects),
            Request::SystemPresence => self.system_presence(conn, id, effects),
            Request::LogsTail(ask) => self.logs_tail(conn, id, &ask, effects),
            Request::LogsAppend(append) => self.logs_append(now, from(), append, effects),
            Request::Spawn(ask) => self.spawn_request(now, conn, id, *ask, effects),
            Request::Devices(ask) => self.device_request(now, conn, id, ask, effects),
            Request::Cron(ask) => self.cron_request(now, conn, id, ask, effects),
            Request::SessionUpdate(update) => self.session_update(now, from(), *update, effects),
            Request::SessionUsage(usage) => self.session_usage(now, from(), *usage, effects),
            Request::AgentStatus(report) => self.agent_status(now, from(), report, effects),
            Request::EventsPublish(event) => self.events_publish(now, from(), event, effects),
            Request::SessionsPatch(patch) => self.sessions_patch(now, conn, id, *patch, effects),
            Request::SessionsReset(named) => self.sessions_reset(now, conn, id, named, effects),
            Request::SessionsDelete(named) => self.sessions_delete(now, conn, id, named, effects),
            Request::Runs(request) => self.run_request(now, conn, id, *request, effects),
            Request::Approvals(ask) => self.approval_request(now, conn, id, *ask, effects),
            Request::LogsSubscribe(filter) => {
                effects.push(Effect::Narrow { conn, filter });
                self.respond(conn, id, Ok(Reply::Empty), effects);
            }
            Request::Read(read) => {
                let result = self.read(now, &read);
                self.respond(conn, id, result, effects);
            }
        }
    }

    /// Answers what changes nothing.
    fn read(&self, now: Moment, read: &Read) -> Result<Reply, Box<ProtocolError>> {
        Ok(match read {
            Read::SessionsList(ask) => self.sessions_list(now, ask),
            Read::SessionsGet(key) => return self.sessions_get(now, key),
            Read::SessionsUsage(agent) => self.sessions_usage(now, agent.as_ref()),
            Read::AgentsList => self.agents_list(now),
            Read::NodeList => self.node_list(now),
            Read::ConfigGet => self.config_get(),
            Read::ChannelsStatus => Reply::ChannelsStatus(now.unix_ms),
            Read::ModelsList => Reply::ModelsList,
            Read::LastHeartbeat => Reply::LastHeartbeat(self.ticks.last_unix_ms()),
        })
    }

    /// When `Input::Tick` is needed next, if ever.
    pub fn next_deadline(&self) -> Option<Instant> {
        let start = (!self.announced_ready && self.commits.is_idle()).then_some(self.started.at);
        [
            start,
            self.heartbeats.deadline(),
            self.ticks.deadline(),
            self.presence.deadline(),
            self.answers.deadline(),
            self.pairings.deadline(),
            self.runs.deadline(),
            self.approvals.deadline(),
            self.spawns.deadline(),
            // While it stops, nothing is started any more.
            self.cron.deadline().filter(|_| self.stopping.is_none()),
            self.stop_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what time alone brings about.
    fn expire(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.ask_for_earlier(effects);
        self.expire_spawns(now, effects);
        let due = self.heartbeats.due(now.at);
        if !due.is_empty() {
            effects.push(Effect::MeasureSilence(due));
        }
        while let Some(run) = self.runs.due(now.at) {
            self.run_due(now, &run, effects);
        }
        while let Some(run) = self.runs.forget_due(now.at) {
            self.commits.lazily(Change::DeleteRun(run));
        }
        self.expire_approvals(now, effects);
        // After what changes sessions: what is due then is told now.
        effects.extend(self.ticks.due(now, &self.sessions).map(Effect::Broadcast));
        if let Some((entries, version)) = self.presence.due(now.at) {
            let health_version = self.health_version;
            effects.push(Effect::Broadcast(Event::Presence { entries, version, health_version }));
        }
        for key in self.answers.expire(now.at) {
            self.commits.lazily(Change::DeleteAnswer(key));
        }
        while let Some(pairing) = self.pairings.expire_one(now.at) {
            let resolved = pairing.resolved("expired", now.unix_ms);
            effects.push(Effect::Broadcast(Event::PairResolved(resolved)));
        }
    }

    fn closed(&mut self, now: Moment, conn: ConnId, effects: &mut Vec<Effect>) {
        self.connecting.remove(&conn);
        let Some(client) = self.clients.remove(conn) else { return };
        self.approvals_left(now, conn, effects);
        if let Some(agent) = &client.grant.agent {
            self.runs_left(now, conn, effects);
            self.agent_left(now, agent, effects);
        }
        self.heartbeats.removed(conn);
        self.presence.left(now.at, now.unix_ms, conn);
        if self.clients.is_empty() {
            self.ticks.stopped();
            self.presence.forget_changes();
        }
    }

    fn pong_received(&mut self, now: Moment, conn: ConnId, rtt: Duration) {
        if let Some(client) = self.clients.get_mut(conn) {
            client.rtt = Some(rtt);
            self.heartbeats.ponged(now.at, conn);
        }
    }

    fn silence_measured(
        &mut self,
        now: Moment,
        heard: Vec<(ConnId, Instant)>,
        effects: &mut Vec<Effect>,
    ) {
        for (conn, heard) in heard {
            match self.heartbeats.measured(now.at, conn, heard) {
                Verdict::Nothing => {}
                Verdict::Ping => effects.push(Effect::Ping(conn)),
                Verdict::Dead { unanswered } => {
                    let client = self.clients.get(conn);
                    let client_id = client.map_or_else(String::new, |c| c.client_id.clone());
                    effects.push(Effect::Diagnose(Diagnostic {
                        level: log::Level::Warn,
                        msg: "Heartbeat timeout",
                        fields: vec![
                            ("client_id", DiagnosticValue::Text(client_id)),
                            ("missed_pongs", DiagnosticValue::Number(unanswered.into())),
                            ("conn", DiagnosticValue::Text(conn.to_string())),
                        ],
                    }));
                    self.close(conn, CloseReason::HeartbeatTimeout, effects);
                }
            }
        }
    }

    /// Closes an admitted connection, once.
    fn close(&mut self, conn: ConnId, reason: CloseReason, effects: &mut Vec<Effect>) {
        if let Some(client) = self.clients.get_mut(conn)
            && !client.closing
        {
            client.closing = true;
            self.heartbeats.removed(conn);
            effects.push(Effect::Close { conn, reason });
        }
    }

    /// Answers a request, unless its connection can no longer hear it.
    fn respond(
        &self,
        conn: ConnId,
        id: RequestId,
        result: Result<Reply, Box<ProtocolError>>,
        effects: &mut Vec<Effect>,
    ) {
        if self.clients.answerable(conn) {
            effects.push(Effect::Respond { conn, id, result });
        }
    }

    /// Answers a request once more, unless its connection can no longer hear it.
    fn respond_again(&self, conn: ConnId, id: RequestId, reply: Reply, effects: &mut Vec<Effect>) {
        if self.clients.answerable(conn) {
            effects.push(Effect::RespondAgain { conn, id, reply: Box::new(reply) });
        }
    }
}

/// The device tokens that are still good, of devices that are still approved.
fn load_tokens(
    commits: &mut Commits,
    devices: &Devices,
    mut records: Vec<TokenRecord>,
    now: Moment,
) -> Tokens {
    let mut tokens = Tokens::default();
    records.sort_by_key(|token| (token.issued_at_ms, token.hash));
    for token in records {
        let device = devices.approved(&token.device);
        if token.expires_at_ms > now.unix_ms && device.is_some_and(|d| d.role == token.role) {
            if let Some(surplus) = tokens.load(token) {
                commits.lazily(Change::DeleteToken(surplus));
            }
        } else {
            commits.lazily(Change::DeleteToken(token.hash));
        }
    }
    tokens
}
