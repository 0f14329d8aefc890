//! Searches for what children started: one at a time for each child, in the order asked for.
//!
//! A child is not reaped while a search counts on its number. A search that is stuck counts as
//! without result, and the ones after it, too. Part of the reaper.

use rustix::process::Pid;

use super::{Done, Reaper};
use crate::base::ids::SpawnId;
use crate::base::limits::SEARCH_WAIT_MAX;
use crate::hub::child::ChildMarks;
use crate::shell::children::cgroup::ControlGroups;
use crate::shell::children::child::Job;
use crate::shell::children::proc::ProcessId;
use crate::shell::children::search::{self, Ended, Target};
use crate::shell::clock;

impl Reaper {
    /// Has a search made, after those that are asked for already.
    pub(super) fn search(&mut self, number: u64, job: Job) {
        let Some(child) = self.children.get_mut(&number) else { return };
        if job == Job::End {
            child.owes_leftovers = true;
        }
        if !child.jobs.contains(&job) {
            child.jobs.push_back(job);
        }
        self.search_next(number);
    }

    fn search_next(&mut self, number: u64) {
        let report = self.reporter();
        let Some(child) = self.children.get_mut(&number) else { return };
        match child.searching {
            Some((_, Some(_))) => return,
            // A search is stuck, and would make the next one wait for ever.
            Some((_, None)) => {
                for job in std::mem::take(&mut child.jobs) {
                    self.without_result(number, job);
                }
                return;
            }
            None => {}
        }
        let Some(job) = child.jobs.pop_front() else { return };
        child.searching = Some((job, Some(clock::instant() + SEARCH_WAIT_MAX)));
        let target = child.target();
        self.searchers.hand_over(Box::new(move || {
            report(match job {
                Job::Look => Done::Looked(number, search::has_leftovers(&target)),
                Job::Signal(signal) => {
                    search::signal(&target, signal);
                    Done::Signalled(number)
                }
                Job::End => {
                    let ended = search::end(std::slice::from_ref(&target));
                    Done::Ended(number, ended.into_iter().next().unwrap_or_default())
                }
            });
        }));
    }

    /// Notes that a search has ended; says whether anybody still waits for it.
    pub(super) fn search_ended(&mut self, number: u64) -> bool {
        let child = self.children.get_mut(&number);
        matches!(child.and_then(|child| child.searching.take()), Some((_, Some(_))))
    }

    pub(super) fn go_on(&mut self, number: u64) {
        self.search_next(number);
        self.forget_if_over(number);
    }

    pub(super) fn tell_exit(&mut self, number: u64, leftovers: bool) {
        let hub = &mut self.hub;
        let Some(child) = self.children.get_mut(&number) else { return };
        child.tell_exit(leftovers, &mut |news| hub.say(news));
        if !leftovers {
            // It was reaped, perhaps as the last one that could have left something.
            self.reap_orphans();
        } else if self.ends_until.is_some() {
            self.search(number, Job::End);
        }
    }

    pub(super) fn tell_leftovers_ended(&mut self, number: u64, ended: Ended) {
        let hub = &mut self.hub;
        let Some(child) = self.children.get_mut(&number) else { return };
        warn_of_left(child.spawn(), ended.left);
        child.tell_leftovers_ended(&mut |news| hub.say(news));
    }

    /// Goes on as if a search that is stuck had found nothing to end, but something to report.
    pub(super) fn without_result(&mut self, number: u64, job: Job) {
        match job {
            Job::Look => self.tell_exit(number, true),
            Job::Signal(_) => {}
            Job::End => self.tell_leftovers_ended(number, Ended::default()),
        }
    }

    /// Finds and ends children of an earlier gateway.
    pub(super) fn end_earlier(&mut self, spawns: Vec<(SpawnId, Option<ChildMarks>)>) {
        let until = clock::instant() + SEARCH_WAIT_MAX;
        self.earlier.extend(spawns.iter().map(|(spawn, _)| (spawn.clone(), until)));
        let boot_id = self.boot_id.clone();
        let report = self.reporter();
        self.searchers.hand_over(Box::new(move || {
            let targets: Vec<_> =
                spawns.into_iter().map(|(spawn, marks)| earlier(spawn, marks, &boot_id)).collect();
            let ended = search::end(&targets);
            let ended = targets.into_iter().map(|target| target.spawn).zip(ended);
            report(Done::EarlierEnded(ended.collect()));
        }));
    }
}

/// What an earlier gateway's child can be found by. Nothing outlives the boot.
fn earlier(spawn: SpawnId, marks: Option<ChildMarks>, boot_id: &str) -> Target {
    let marks = marks.filter(|marks| marks.boot_id == boot_id);
    let leader = marks.as_ref().and_then(|marks| {
        let pid = i32::try_from(marks.pid).ok().and_then(Pid::from_raw)?;
        Some(ProcessId { pid, start_time: marks.start_time })
    });
    let cgroup = marks.and_then(|marks| ControlGroups::marked(&marks.cgroup?, &spawn));
    Target { spawn, leader, is_held: false, cgroup }
}

pub(super) fn warn_of_left(spawn: &SpawnId, left: usize) {
    if left > 0 {
        log::warn!("{left} processes that {spawn} started cannot be ended, and still run");
    }
}
