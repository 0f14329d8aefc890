//! How a history ends: everything that waits comes to its end, then the gateway starts once more.
//!
//! Owns what must hold at the end. Called by the target when its input is over.

use std::time::Duration;

use openclaw_gateway::protocol::scope::ScopeSet;

use super::super::kit::peers;
use super::steps::DEVICES;
use super::world::World;

/// More than any request, run or program may take, in steps between which programs obey.
const RESTS: usize = 8;
const REST: Duration = Duration::from_secs(20 * 60);

impl World {
    /// Everything that waits comes to its end; then everyone tries once more.
    pub(super) fn finish(&mut self) {
        self.settle();
        self.remove_jobs();
        self.rest();
        for (id, conn) in self.conns.iter().filter(|(_, conn)| !conn.is_closing) {
            assert!(self.is_over || conn.grant.is_some(), "{id} was neither let in nor refused");
            assert!(self.is_over || conn.open.is_empty(), "{id} waits for {:?}", conn.open);
            assert!(self.is_over || conn.accepted.is_empty(), "{id}: {:?}", conn.accepted);
        }
        if !self.is_over {
            self.promises.check_kept();
        }
        if self.stopping.is_some() {
            while let Some(conn) = self.conns.keys().next().copied() {
                self.closed(conn);
            }
            self.settle();
            self.pass(Duration::from_secs(60));
            assert!(self.is_over, "it was asked to stop and goes on");
        }
        // The limits that are in force stay: others would keep more, or less.
        self.configured = self.policy.clone();
        let before = self.read();
        self.settle();
        self.restart();
        self.settle();
        if before.is_some() {
            assert_eq!(self.read(), before, "another after a restart");
        }
        // Who was stopped before could not remove them, and they have begun anew.
        if !self.disk.cron_jobs.is_empty() {
            self.remove_jobs();
            self.rest();
        }
        self.promises.check_kept();
        for device in DEVICES {
            for key in [device, "new-key"] {
                for scopes in [ScopeSet::READ, ScopeSet::ADMIN] {
                    let peer = peers::operator().device_with_key(device, key).scopes(scopes);
                    self.connect(peer.remote("203.0.113.7"));
                    self.settle();
                }
            }
        }
        for token in self.newest("token") {
            self.connect(peers::operator().root_token(&token).terse());
        }
        for token in self.shell.tokens() {
            self.connect(peers::agent("b").bare().token(token.expose()));
        }
        self.settle();
    }

    /// Somebody removes every job, so that the rest comes to an end; then there is none on disk,
    /// not even one of which nobody was told.
    fn remove_jobs(&mut self) {
        self.connect_anyway(peers::owner());
        self.settle();
        let owner = self.conns.iter().rfind(|(_, conn)| !conn.is_closing && conn.grant.is_some());
        let Some((owner, _)) = owner else { return };
        let owner = *owner;
        for job in self.disk.cron_jobs.iter().map(|job| job.id.clone()).collect::<Vec<_>>() {
            self.request(owner, "cron.remove", &format!(r#"{{"id":"{job}"}}"#));
        }
        self.settle();
        let is_possible = self.policy.cron.enabled && self.stopping.is_none() && !self.is_over;
        let left = (&self.disk.cron_jobs, &self.disk.cron_runs);
        assert!(!is_possible || (left.0.is_empty() && left.1.is_empty()), "left: {left:?}");
    }

    /// Time enough for everything that waits, while everyone is heard of.
    fn rest(&mut self) {
        self.settle();
        for _ in 0..RESTS {
            self.now = self.now.after(REST);
            for conn in self.conns.values_mut() {
                conn.heard = self.now.at;
            }
            self.tick();
            self.settle();
        }
    }

    /// The disk is well and everything reaches it, and the shell does what it is ordered.
    fn settle(&mut self) {
        self.shell.is_prompt = true;
        self.store_recovers();
        self.shell_obeys();
        while self.in_flight.is_some() && !self.is_over {
            self.store_succeeds();
        }
        while let Some(conn) = self.closing.pop_front() {
            self.closed(conn);
        }
    }
}
