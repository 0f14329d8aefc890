//! What was promised of spawns, runs and approvals: each has one end, and nothing follows it.
//!
//! Kept from the events and from what reached the disk. A restart begins with what is on disk:
//! what was open there ends once more, and what was not is forgotten. Called by `world`.

use std::collections::BTreeMap;

use openclaw_gateway::base::ids::{ApprovalId, RunId, SpawnId};
use openclaw_gateway::hub::records::{Change, DurableState};
use openclaw_gateway::protocol::approvals::Approval;
use openclaw_gateway::protocol::event::Event;
use openclaw_gateway::protocol::run::{RequestKind, RunState};

/// Whether something has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Promises {
    spawns: BTreeMap<SpawnId, State>,
    /// With when each began: ids are used again when they are forgotten.
    runs: BTreeMap<RunId, (u64, State)>,
    approvals: BTreeMap<(ApprovalId, u64), State>,
}

impl Promises {
    /// A spawn was let in.
    pub(super) fn begun(&mut self, spawn: &SpawnId) {
        let before = self.spawns.insert(spawn.clone(), State::Open);
        assert_eq!(before, None, "one spawn twice");
    }

    /// Something was said to everybody, or to one peer.
    pub(super) fn heard(&mut self, event: &Event) {
        match event {
            Event::SpawnResult(shown) => {
                let state = self.spawns.entry(shown.spawn.clone()).or_insert(State::Open);
                assert_eq!(*state, State::Open, "{} after its end: {}", shown.spawn, shown.status);
                if shown.status.is_terminal() {
                    *state = State::Ended;
                }
            }
            Event::Log(record) => {
                // A session of its own is named after the spawn.
                let session = record.draft.session.as_ref().map(|key| key.as_str());
                let own = session.and_then(|key| Some(SpawnId::new(key.rsplit_once(':')?.1)));
                let state = own.as_ref().and_then(|id| self.spawns.get(id));
                assert_ne!(state, Some(&State::Ended), "output after the end of {own:?}");
            }
            Event::AgentRequest(request) if request.kind == RequestKind::Message => {
                self.run_is_open(&request.run);
            }
            Event::RunProgress(progress) => {
                self.run_is_open(&progress.run);
            }
            Event::Chat(update) => {
                let state = self.run_is_open(&update.run);
                if update.state != RunState::Delta {
                    *state = State::Ended;
                }
            }
            Event::ApprovalRequested(approval) => {
                let before = self.approvals.insert(key(approval), State::Open);
                assert_eq!(before, None, "asked twice: {approval:?}");
            }
            Event::ApprovalResolved(approval) => {
                assert!(approval.resolution.is_some(), "resolved without a word: {approval:?}");
                let before = self.approvals.insert(key(approval), State::Ended);
                assert_eq!(before, Some(State::Open), "resolved twice, or unasked: {approval:?}");
            }
            _ => {}
        }
    }

    #[track_caller]
    fn run_is_open(&mut self, id: &RunId) -> &mut State {
        let (_, state) = self.runs.get_mut(id).unwrap_or_else(|| panic!("{id} is not on disk"));
        assert_eq!(*state, State::Open, "{id} goes on after its end");
        state
    }

    /// A commit is on disk.
    pub(super) fn stored(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::PutRun(run) = change else { continue };
            let known = self.runs.get(&run.id).filter(|(begun, _)| *begun == run.started_at_ms);
            if known.is_none() && run.end.is_none() {
                let before = self.runs.insert(run.id.clone(), (run.started_at_ms, State::Open));
                assert_ne!(before.map(|(_, state)| state), Some(State::Open), "replaced: {run:?}");
            }
            let state = self.runs.get(&run.id).map(|(_, state)| *state);
            assert!(run.end.is_none() || state == Some(State::Ended), "ended unheard: {run:?}");
        }
    }

    pub(super) fn restarted(&mut self, disk: &DurableState) {
        let spawn = |status: bool| if status { State::Ended } else { State::Open };
        let spawns = disk.spawns.iter();
        self.spawns =
            spawns.map(|record| (record.id.clone(), spawn(record.status.is_terminal()))).collect();
        // Nobody is there to hear how these end.
        let runs = disk.runs.iter();
        self.runs = runs.map(|run| (run.id.clone(), (run.started_at_ms, State::Ended))).collect();
        self.approvals.clear();
    }

    /// What begins from here on may bear the date of something that has ended.
    pub(super) fn clock_set(&mut self) {
        self.approvals.retain(|_, state| *state == State::Open);
        for (begun, state) in self.runs.values_mut() {
            if *state == State::Ended {
                *begun = u64::MAX;
            }
        }
    }

    /// Everything has had its time.
    pub(super) fn check_kept(&self) {
        let open = |state: &State| *state == State::Open;
        let spawns: Vec<_> = self.spawns.iter().filter(|(_, state)| open(state)).collect();
        assert!(spawns.is_empty(), "spawns without an end: {spawns:?}");
        let runs: Vec<_> = self.runs.iter().filter(|(_, (_, state))| open(state)).collect();
        assert!(runs.is_empty(), "runs without an end: {runs:?}");
        let approvals: Vec<_> = self.approvals.iter().filter(|(_, state)| open(state)).collect();
        assert!(approvals.is_empty(), "approvals without an end: {approvals:?}");
    }
}

fn key(approval: &Approval) -> (ApprovalId, u64) {
    (approval.id.clone(), approval.created_at_ms)
}
