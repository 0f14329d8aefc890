//! What a program says: its lines become journal entries, and its report lines reports.
//!
//! Entries go the way of `logs.append` and reports that of a connection's, but nobody waits for an
//! answer: what cannot be kept is counted, and the count is kept as soon as something can be.

use super::RunText;
use crate::base::ids::SpawnId;
use crate::base::limits::{SPAWN_TEXT_BYTES_MAX, UNCOMMITTED_BYTES_MAX};
use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::child::OutputLine;
use crate::hub::effect::Effect;
use crate::hub::journal::entry_bytes;
use crate::hub::reports::From;
use crate::protocol::error::ProtocolError;
use crate::protocol::event::Event;
use crate::protocol::log_entry::{Level, LogDraft};
use crate::protocol::output_line::OutputContent;
use crate::protocol::request::Request;
use crate::protocol::run_calls::RunRequest;

impl Hub {
    pub(super) fn child_output(
        &mut self,
        now: Moment,
        id: &SpawnId,
        lines: Vec<OutputLine>,
        effects: &mut Vec<Effect>,
    ) {
        for line in lines {
            if self.spawns.get(id).is_none() {
                return;
            }
            match line.content {
                OutputContent::Entry { draft, text } => {
                    let whole = self.spawns.get_mut(id).and_then(|spawn| spawn.text.as_mut());
                    if let (Some(whole), Some(line)) = (whole, text) {
                        whole.add(&line);
                    }
                    self.keep_line(now, id, draft, effects);
                }
                OutputContent::Report(request) => self.child_report(now, id, *request, effects),
            }
        }
    }

    /// Keeps a line, after the count of those that were lost before it; or counts it.
    fn keep_line(&mut self, now: Moment, id: &SpawnId, draft: LogDraft, effects: &mut Vec<Effect>) {
        self.tell_lost_lines(now, id, effects);
        let is_behind = self.spawns.get(id).is_some_and(|spawn| spawn.lines_lost > 0);
        if (is_behind || !self.append_line(draft, effects))
            && let Some(spawn) = self.spawns.get_mut(id)
        {
            spawn.lines_lost = spawn.lines_lost.saturating_add(1);
        }
    }

    /// Says how many lines of a spawn were lost, if some were and it can be said now.
    pub(super) fn tell_lost_lines(&mut self, now: Moment, id: &SpawnId, effects: &mut Vec<Effect>) {
        let Some(spawn) = self.spawns.get(id).filter(|spawn| spawn.lines_lost > 0) else { return };
        let message = format!("{} lines lost: they could not be stored", spawn.lines_lost);
        let record = &spawn.record;
        let (source, session) = (record.agent.0.clone(), Some(record.session.clone()));
        let draft = LogDraft::new(now.unix_ms, Level::Warn, source, session, &message);
        if self.append_line(draft, effects)
            && let Some(spawn) = self.spawns.get_mut(id)
        {
            spawn.lines_lost = 0;
        }
    }

    /// Whether the entry is in the journal now.
    fn append_line(&mut self, draft: LogDraft, effects: &mut Vec<Effect>) -> bool {
        let bytes = self.commits.uncommitted_bytes() + entry_bytes(&draft);
        if !self.commits.is_healthy()
            || bytes > UNCOMMITTED_BYTES_MAX
            || !self.journal.has_cursors(1)
        {
            return false;
        }
        let record = self.journal.append(draft);
        self.commits.append_entry(record.clone());
        effects.push(Effect::Broadcast(Event::Log(record)));
        true
    }

    fn child_report(
        &mut self,
        now: Moment,
        id: &SpawnId,
        request: Request,
        effects: &mut Vec<Effect>,
    ) {
        let from = From::Spawn(id.clone());
        match request {
            Request::LogsAppend(append) => self.logs_append(now, from, append, effects),
            Request::SessionUpdate(update) => self.session_update(now, from, *update, effects),
            Request::SessionUsage(usage) => self.session_usage(now, from, *usage, effects),
            Request::AgentStatus(report) => self.agent_status(now, from, report, effects),
            Request::EventsPublish(event) => self.events_publish(now, from, event, effects),
            Request::Runs(request) => {
                if let RunRequest::Update(report) = *request {
                    self.run_update(now, from, report, effects);
                }
            }
            // `output_line` makes no other requests of lines.
            Request::Status
            | Request::SystemPresence
            | Request::LogsTail(_)
            | Request::Devices(_)
            | Request::LogsSubscribe(_)
            | Request::SessionsPatch(_)
            | Request::SessionsReset(_)
            | Request::SessionsDelete(_)
            | Request::Spawn(_)
            | Request::Approvals(_)
            | Request::Cron(_)
            | Request::Read(_) => {}
        }
    }

    /// A report line was refused: there is nobody to answer, so the journal says so.
    pub(in crate::hub) fn child_report_refused(
        &mut self,
        now: Moment,
        id: &SpawnId,
        error: &ProtocolError,
        effects: &mut Vec<Effect>,
    ) {
        let Some(spawn) = self.spawns.get(id) else { return };
        let message = format!("report line refused: {}", error.message);
        let record = &spawn.record;
        let (source, session) = (record.agent.0.clone(), Some(record.session.clone()));
        let draft = LogDraft::new(now.unix_ms, Level::Warn, source, session, &message);
        self.keep_line(now, id, draft, effects);
    }
}

impl RunText {
    /// Adds a line. The first that does not fit is cut, and ends the text.
    fn add(&mut self, line: &str) {
        const CUT: &str = "…\n";
        if self.is_cut {
            return;
        }
        let room = SPAWN_TEXT_BYTES_MAX.saturating_sub(self.text.len() + CUT.len());
        self.is_cut = line.len() >= room;
        let end = if self.is_cut { line.floor_char_boundary(room) } else { line.len() };
        self.text.push_str(&line[..end]);
        self.text.push_str(if self.is_cut { CUT } else { "\n" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runs_text_is_its_first_lines_and_says_where_it_is_cut() {
        let mut text = RunText::default();
        for line in ["a", "", "b"] {
            text.add(line);
        }
        assert_eq!(text.text, "a\n\nb\n");
        text.add(&"ü".repeat(SPAWN_TEXT_BYTES_MAX));
        text.add("more");
        assert!(text.text.ends_with("üü…\n"));
        assert!((SPAWN_TEXT_BYTES_MAX - 1..=SPAWN_TEXT_BYTES_MAX).contains(&text.text.len()));
        let mut full = RunText::default();
        for _ in 0..SPAWN_TEXT_BYTES_MAX {
            full.add("");
        }
        assert!(full.is_cut && full.text.len() <= SPAWN_TEXT_BYTES_MAX);
    }
}
