//! What becomes of the runs of the gateway before: those that were open have failed.

use std::sync::Arc;

use crate::base::limits::RUNS_ENDED_MAX;
use crate::base::time::Moment;
use crate::hub::commits::Commits;
use crate::hub::records::Change;
use crate::hub::runs::RunEnded;
use crate::hub::runs::record::{RunEnd, RunRecord};
use crate::hub::runs::table::{Runs, forget_at};
use crate::protocol::run::RunState;

/// What was on disk, and the runs of it that end now.
pub(in crate::hub) fn load(
    commits: &mut Commits,
    records: Vec<Arc<RunRecord>>,
    now: Moment,
) -> (Runs, Vec<RunEnded>) {
    let mut runs = Runs::default();
    let mut interrupted = Vec::new();
    let mut ended: Vec<(u64, Arc<RunRecord>)> = Vec::with_capacity(records.len());
    for record in records {
        // One that ended in a future that a clock came back from ended now.
        let at_ms = record.end.as_ref().map_or(now.unix_ms, |end| end.at_ms.min(now.unix_ms));
        if record.end.is_some() {
            ended.push((at_ms, record));
            continue;
        }
        let end = RunEnd {
            state: RunState::Error,
            text: None,
            error: Some("the gateway was restarted".into()),
            timed_out: false,
            usage: None,
            at_ms,
        };
        let record = Arc::new(RunRecord { end: Some(end), ..RunRecord::clone(&record) });
        commits.mark_run(record.id.clone(), 0);
        interrupted.push(RunEnded { record: Arc::clone(&record) });
        ended.push((at_ms, record));
    }
    ended.sort_by_key(|(at_ms, _)| *at_ms);
    let surplus = ended.len().saturating_sub(RUNS_ENDED_MAX);
    for (index, (at_ms, record)) in ended.into_iter().enumerate() {
        let forget_at = forget_at(now, at_ms);
        if index < surplus || forget_at <= now.at {
            commits.lazily(Change::DeleteRun(record.id.clone()));
        } else {
            runs.load(record, forget_at);
        }
    }
    while let Some(textless) = runs.shed_text(0) {
        commits.mark_run(textless, 0);
    }
    (runs, interrupted)
}
