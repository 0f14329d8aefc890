//! What the world makes of the hub's words: what an effect may be, given all before it.
//!
//! Changes the world around the hub, never the hub. Called by `world` for each effect.

use openclaw_gateway::base::ids::{ConnId, DeviceId, RequestId};
use openclaw_gateway::base::limits::STOP_GRACE;
use openclaw_gateway::hub::child::ChildOrder;
use openclaw_gateway::hub::effect::{Diagnostic, DiagnosticValue, Effect};
use openclaw_gateway::hub::input::Input;
use openclaw_gateway::protocol::approvals::ApprovalReply;
use openclaw_gateway::protocol::devices::DeviceReply;
use openclaw_gateway::protocol::event::{Event, View};
use openclaw_gateway::protocol::hello::Hello;
use openclaw_gateway::protocol::reply::{Reply, write_reply};
use openclaw_gateway::protocol::run_calls::RunReply;
use openclaw_gateway::protocol::scope::ScopeSet;
use openclaw_gateway::protocol::spawn::SpawnShown;

use super::world::{Conn, World};

impl World {
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Input> {
        assert!(!self.is_over, "{effect:?} after the end");
        match effect {
            Effect::Admit(hello) => self.admitted(&hello),
            Effect::Refuse { conn, .. } => {
                let refused = self.conns.get_mut(&conn).expect("nobody is refused");
                assert!(refused.grant.is_none() && !refused.is_closing, "answered: {conn}");
                refused.is_closing = true;
                self.closing.push_back(conn);
            }
            Effect::Respond { conn, id, result } => {
                assert!(self.live(conn).open.remove(&id), "{id} was not asked, or is answered");
                if let Ok(reply) = result {
                    self.answered(conn, &id, &reply);
                }
            }
            Effect::RespondAgain { conn, id, reply } => {
                let is_owed = self.live(conn).accepted.remove(&id);
                assert!(is_owed, "{id} was not accepted, or is answered");
                write_reply(&mut Vec::new(), id.as_str(), &reply);
            }
            Effect::Child(order) => {
                if let ChildOrder::Resolve(asked) = &*order {
                    self.promises.begun(&asked.spawn);
                    self.learn("spawn", asked.spawn.as_str());
                }
                self.shell.ordered(*order, &self.disk);
            }
            Effect::Send { conn, event } => {
                self.live(conn);
                self.heard_event(&event);
            }
            Effect::Broadcast(event) => self.heard_event(&event),
            Effect::Narrow { conn, .. } | Effect::Ping(conn) => {
                self.live(conn);
            }
            Effect::Close { conn, .. } => {
                self.live(conn).is_closing = true;
                self.closing.push_back(conn);
            }
            Effect::MeasureSilence(conns) => {
                let heard = |conn: ConnId| Some((conn, self.conns.get(&conn)?.heard));
                return Some(Input::SilenceMeasured(conns.into_iter().filter_map(heard).collect()));
            }
            Effect::Persist { ticket, changes } => {
                assert!(self.in_flight.is_none(), "two commits at once");
                assert!(!self.is_failing, "a commit for a store that takes none");
                assert!(self.last_ticket < Some(ticket), "tickets grow");
                self.last_ticket = Some(ticket);
                self.in_flight = Some((ticket, changes));
            }
            Effect::Diagnose(line) => self.diagnosed(&line),
            Effect::SetReady(_) | Effect::Audit(_) => {}
            Effect::Stopped => {
                let asked = self.stopping.expect("nobody asked it to stop");
                let is_late = asked + STOP_GRACE <= self.now.at;
                let is_empty = self.conns.values().all(|conn| conn.grant.is_none());
                assert!(is_empty || is_late, "somebody is here");
                assert!(self.shell.is_quiet() || is_late, "something still runs");
                self.is_over = true;
            }
        }
        None
    }

    /// Somebody who was let in and not told to go.
    #[track_caller]
    fn live(&mut self, conn: ConnId) -> &mut Conn {
        let live = self.conns.get_mut(&conn).unwrap_or_else(|| panic!("{conn} is gone"));
        assert!(live.grant.is_some(), "{conn} was not let in");
        assert!(!live.is_closing, "{conn} was told to go");
        live
    }

    fn admitted(&mut self, hello: &Hello) {
        let conn = self.conns.get_mut(&hello.conn).expect("nobody is let in");
        assert!(conn.grant.is_none() && !conn.is_closing, "answered: {}", hello.conn);
        if hello.auth_mode == "spawn" {
            let presented = conn.asked.connect.auth_token.as_ref();
            conn.spawn = Some(self.shell.admitted(presented, hello));
        } else {
            self.authority.check(&self.policy, &conn.asked, hello);
            conn.by_secret = matches!(hello.auth_mode, "token" | "password");
        }
        conn.grant = Some(hello.grant.clone());
        conn.heard = self.now.at;
        if let (Some(issued), Some(device)) = (&hello.token, &hello.grant.device) {
            self.authority.token_given(issued.token.expose(), device);
            self.learn("token", issued.token.expose());
        }
    }

    fn answered(&mut self, conn: ConnId, id: &RequestId, reply: &Reply) {
        let mut out = Vec::new();
        write_reply(&mut out, id.as_str(), reply);
        self.last_answer = out;
        let is_first = match reply {
            Reply::Runs(reply) => matches!(**reply, RunReply::Accepted { .. }),
            Reply::Approvals(reply) => matches!(**reply, ApprovalReply::Accepted(_)),
            _ => false,
        };
        if is_first {
            let is_new = self.live(conn).accepted.insert(id.clone());
            assert!(is_new, "{id} is accepted twice");
        }
        if let Reply::Approvals(reply) = reply
            && let ApprovalReply::List { allowed, .. } = &**reply
        {
            allowed.iter().for_each(|command| self.learn("allowed", command.id.as_str()));
        }
        let Reply::Devices(reply) = reply else { return };
        match &**reply {
            DeviceReply::Code { code, .. } => {
                self.authority.code_offered(code.expose());
                self.learn("code", code.expose());
            }
            DeviceReply::Rotated { device, bearer: Some(bearer), .. } => {
                let grant = self.conns.get(&conn).and_then(|conn| conn.grant.as_ref());
                let own = grant.and_then(|grant| grant.device.as_ref());
                assert_eq!(own, Some(device), "another's token");
                self.authority.token_given(bearer.token.expose(), device);
                self.learn("token", bearer.token.expose());
            }
            DeviceReply::Removed { device, .. } | DeviceReply::Forgotten(device) => {
                self.authority.removal_answered(device);
            }
            _ => {}
        }
    }

    fn heard_event(&mut self, event: &Event) {
        let mut out = Vec::new();
        event.write(&mut out, View::of(ScopeSet::ALL), Some(1));
        self.promises.heard(event);
        match event {
            Event::PairRequested(request) => {
                self.authority.pair_requested(request);
                self.learn("pairing", request["requestId"].as_str().expect("an id"));
            }
            Event::RunProgress(progress) => self.learn("run", progress.run.as_str()),
            Event::ApprovalRequested(approval) => self.learn("approval", approval.id.as_str()),
            Event::Cron(news) => {
                self.learn("job", news.job.as_str());
                self.jobs.heard(news, &self.disk, self.is_failing);
            }
            Event::SpawnResult(shown) => self.spawn_shown(shown),
            _ => {}
        }
    }

    /// Who asked for it has the answer, and when it has ended, nothing of it is left.
    fn spawn_shown(&self, shown: &SpawnShown) {
        let is_unanswered = |conn: &Conn| !conn.is_closing && conn.open.contains(&shown.request);
        assert!(!self.conns.values().any(is_unanswered), "heard of before the answer: {shown:?}");
        if shown.status.is_terminal() {
            assert!(self.shell.is_gone(&shown.spawn), "ended, and not gone: {shown:?}");
            let is_its =
                |conn: &Conn| !conn.is_closing && conn.spawn.as_ref() == Some(&shown.spawn);
            assert!(!self.conns.values().any(is_its), "ended, and connected: {shown:?}");
        }
    }

    fn diagnosed(&mut self, line: &Diagnostic) {
        let device = line.fields.iter().find_map(|(name, value)| match value {
            DiagnosticValue::Text(text) if *name == "device_id" => Some(DeviceId::new(&**text)),
            _ => None,
        });
        match (line.msg, device) {
            ("Device approved", _) => {
                let (by, pairing) = self.asking.clone().expect("nobody asked");
                let grant = self.conns.get(&by).and_then(|conn| conn.grant.as_ref());
                let grant = grant.expect("somebody who was let in");
                self.authority.approved(&pairing, grant.device.as_ref(), grant.scopes);
            }
            ("Device removed" | "Device forgotten", Some(device)) => {
                self.authority.taken_back(&device);
                let left = self.conns.values().find(|conn| {
                    !conn.is_closing
                        && conn.grant.as_ref().is_some_and(|g| g.device.as_ref() == Some(&device))
                });
                assert!(left.is_none(), "{device} is out and still connected");
            }
            ("Device tokens revoked", Some(device)) => self.authority.tokens_ended(&device),
            _ => {}
        }
    }
}
