//! Letting a spawn in: the rules, the place, the launch.
//!
//! What a refusal names is the rule's key in the configuration and what was asked.

use std::sync::Arc;
use std::time::Duration;

use super::{Asker, Phase, Program, RunText, Spawn, SpawnOrder, Task};
use crate::base::ids::{AgentName, SessionKey, SpawnId};
use crate::base::limits::{
    ECHO_CHARS_MAX, SPAWN_ASK_BYTES_MAX, SPAWN_COMMAND_CHARS_MAX, SPAWNS_ASKED_BYTES_MAX,
    STORE_RETRY_AFTER,
};
use crate::base::secret::Secret;
use crate::base::time::{Moment, millis};
use crate::hub::Hub;
use crate::hub::audit::spawn_refused;
use crate::hub::child::{ChildOrder, Launch, ProgramAsked, ProgramFound};
use crate::hub::effect::Effect;
use crate::hub::policy::AgentTemplate;
use crate::hub::records::{SpawnOrigin, SpawnRecord};
use crate::protocol::error::{ErrorCode, ProtocolError};
use crate::protocol::event::Event;
use crate::protocol::safe_text::echo;
use crate::protocol::session::Session;
use crate::protocol::spawn::{SpawnShown, SpawnStatus};

/// What a session that was made for a spawn is shown as.
const SESSION_KIND: &str = "spawn";

impl Hub {
    /// Lets a spawn in: from here on it has exactly one terminal event, and `spawn_ended` is
    /// called for it. Refused, it has its one event here and now, after the answer if one is owed,
    /// and nobody is called.
    pub(in crate::hub) fn start_spawn(
        &mut self,
        now: Moment,
        order: SpawnOrder,
        effects: &mut Vec<Effect>,
    ) -> Result<SpawnId, ProtocolError> {
        let id = SpawnId::new(format!("sp-{}", &self.entropy.hex_128()[..16]));
        if let Err(error) = self.spawn_allowed(&order) {
            let record = self.new_record(now, id, &order);
            let actor = self.spawn_actor(order.asker.as_ref(), &record);
            effects.push(spawn_refused(actor, &record, &error.message));
            if let Some(Asker { conn, id, .. }) = order.asker {
                self.respond(conn, id, Err(Box::new(error.clone())), effects);
            }
            let shown = SpawnShown {
                status: SpawnStatus::Failed,
                completed_at_ms: Some(now.unix_ms),
                error: Some(error.message.clone()),
                ..record.shown()
            };
            effects.push(Effect::Broadcast(Event::SpawnResult(Arc::new(shown))));
            return Err(error);
        }
        let has_place = self.has_place(order.template.as_ref());
        let (max, _) = self.timeout_max(order.template.as_ref());
        let timeout = order.timeout.unwrap_or(max);
        effects.push(Effect::Child(Box::new(ChildOrder::Resolve(Box::new(ProgramAsked {
            spawn: id.clone(),
            command: order.program.command.clone(),
            cwd: order.program.cwd.clone(),
            allowed_dirs: order.program.allowed_dirs.clone(),
        })))));
        let record = self.new_record(now, id.clone(), &order);
        let carries_run = matches!(order.origin, SpawnOrigin::Run(_));
        let spawn = Spawn {
            record,
            template: order.template,
            model: order.model,
            program: Some(Box::new(order.program)),
            placed: false,
            phase: Phase::Resolving,
            ending: None,
            timeout,
            deadline: None,
            asker: order.asker,
            token: None,
            output_ended: false,
            lines_lost: 0,
            text: carries_run.then(RunText::default),
        };
        self.spawns.open(spawn, has_place);
        Ok(id)
    }

    /// The order for an agent's template. Its text, model and label are filled in, each within an
    /// argument. `NOT_FOUND` where there is no such template.
    pub(in crate::hub) fn template_order(&self, task: Task) -> Result<SpawnOrder, ProtocolError> {
        let Task { agent, text, model, label, session, user, origin } = task;
        let Some(template) = self.policy.spawn.templates.get(&agent) else {
            let message = format!("no agent template: gateway.agents.{agent} is not configured");
            return Err(ProtocolError::new(ErrorCode::NotFound, message));
        };
        let args = fill(template, &text, model.as_deref(), label.as_deref())?;
        let run_as = template.run_as.as_ref().or(self.policy.spawn.run_as.as_ref());
        Ok(SpawnOrder {
            origin,
            user,
            template: Some(agent.clone()),
            agent,
            session,
            label,
            model,
            timeout: None,
            asker: None,
            program: Program {
                command: template.command.clone(),
                args,
                env: template.env.clone(),
                cwd: template.cwd.clone(),
                allowed_dirs: None,
                stdin: None,
                reports: template.stdout_reports,
                run_as: run_as.cloned(),
            },
        })
    }

    fn new_record(&self, now: Moment, id: SpawnId, order: &SpawnOrder) -> SpawnRecord {
        let session = order.session.clone();
        let own = || SessionKey::new(format!("{}:{id}", order.agent));
        SpawnRecord {
            origin: order.origin.clone(),
            user: order.user.clone(),
            agent: order.agent.clone(),
            session: session.unwrap_or_else(own),
            command: echo(&order.program.command, SPAWN_COMMAND_CHARS_MAX),
            label: order.label.clone(),
            status: SpawnStatus::Queued,
            marks: None,
            created_at_ms: now.unix_ms,
            started_at_ms: None,
            ended_at_ms: None,
            exit: None,
            error: None,
            log_after: self.journal.last(),
            log_through: None,
            id,
        }
    }

    fn spawn_allowed(&self, order: &SpawnOrder) -> Result<(), ProtocolError> {
        let policy = &self.policy.spawn;
        if !policy.enabled {
            return Err(ProtocolError::invalid(
                "gateway.spawn.enabled is false: nothing is spawned",
            ));
        }
        let command = &order.program.command;
        let is_named = |allowed: &String| allowed == "*" || allowed == command;
        if order.template.is_none() && !policy.allowed_commands.iter().any(is_named) {
            let command = echo(command, ECHO_CHARS_MAX);
            let message = format!("gateway.spawn.allowedCommands does not name {command:?}");
            return Err(ProtocolError::invalid(message));
        }
        let (max, rule) = self.timeout_max(order.template.as_ref());
        if let Some(asked) = order.timeout.filter(|asked| *asked > max) {
            let message =
                format!("{rule} allows {} s, asked for {} s", max.as_secs(), asked.as_secs_f64());
            return Err(ProtocolError::invalid(message));
        }
        self.writable(0)?;
        let bytes = order.program.bytes();
        if bytes > SPAWN_ASK_BYTES_MAX {
            let message = format!(
                "the spawn takes {bytes} bytes of arguments, variables and \
                                   stdin; at most {SPAWN_ASK_BYTES_MAX} are taken"
            );
            return Err(ProtocolError::invalid(message));
        }
        let is_full =
            !self.has_place(order.template.as_ref()) && self.spawns.queued() >= policy.queued_max;
        if is_full || self.spawns.asked_bytes() + bytes > SPAWNS_ASKED_BYTES_MAX {
            let message = format!(
                "as many spawns wait as gateway.spawn.maxQueued allows, {}",
                policy.queued_max
            );
            return Err(ProtocolError::new(ErrorCode::ResourceExhausted, message)
                .retry_after(millis(STORE_RETRY_AFTER)));
        }
        Ok(())
    }

    /// How long such a spawn may run, and which rule says so.
    fn timeout_max(&self, template: Option<&AgentName>) -> (Duration, String) {
        let policy = &self.policy.spawn;
        match template.and_then(|name| Some((name, policy.templates.get(name)?))) {
            Some((name, template)) => {
                (template.timeout, format!("gateway.agents.{name}.timeoutSeconds"))
            }
            None => (policy.timeout, "gateway.spawn.timeoutSeconds".to_owned()),
        }
    }

    /// Whether a spawn could go on now. Nobody overtakes who waits for the same place.
    fn has_place(&self, template: Option<&AgentName>) -> bool {
        let policy = &self.policy.spawn;
        let max = |name: &AgentName| policy.templates.get(name).map_or(1, |t| t.concurrent_max);
        self.spawns.has_place(policy.concurrent_max, template.map(|name| (name, max(name))))
    }

    /// Lets those go on for whom there is a place, in order of arrival.
    pub(in crate::hub) fn give_places(&mut self, effects: &mut Vec<Effect>) {
        loop {
            let fits = |spawn: &&Spawn| self.has_place(spawn.template.as_ref());
            if self.stopping.is_some() {
                return;
            }
            let next = self.spawns.queue().find(fits).map(|spawn| spawn.record.id.clone());
            let Some(id) = next else { return };
            self.spawns.give_place(&id);
            self.launch_if_ready(&id, effects);
        }
    }

    /// Launches a spawn that has both a place and a program.
    pub(super) fn launch_if_ready(&mut self, id: &SpawnId, effects: &mut Vec<Effect>) {
        let Some(spawn) = self.spawns.get_mut(id).filter(|spawn| spawn.placed) else { return };
        let Phase::Queued(found) = &spawn.phase else { return };
        let found: ProgramFound = found.clone();
        spawn.phase = Phase::Launching;
        let (agent, session) = (spawn.record.agent.clone(), spawn.record.session.clone());
        let Some(program) = self.spawns.take_program(id) else { return };
        let token = Secret::new(format!("{TOKEN_PREFIX}{}", self.entropy.hex_256()));
        self.spawns.begin_token(id, token.hash().0);
        let policy = &self.policy.spawn;
        effects.push(Effect::Child(Box::new(ChildOrder::Launch(Box::new(Launch {
            spawn: id.clone(),
            found,
            command: program.command,
            args: program.args,
            env_allow: policy.env_allow.clone(),
            env: program.env,
            stdin: program.stdin.map(String::into_bytes),
            run_as: program.run_as,
            agent,
            session,
            token,
            reports: program.reports,
            output_bytes_per_second_max: policy.output_bytes_per_second_max,
        })))));
    }

    /// The session of a spawn begins, or goes on.
    pub(super) fn open_session(&mut self, now: Moment, id: &SpawnId) {
        let Some(spawn) = self.spawns.get(id) else { return };
        let key = spawn.record.session.clone();
        let (label, model) = (spawn.record.label.clone(), spawn.model.clone());
        let known = self.sessions.get(&key).map(|session| Session::clone(session));
        let mut session = known.unwrap_or_else(|| {
            let kind = Arc::from(SESSION_KIND);
            Session { kind, ..Session::new(key, now.unix_ms) }
        });
        session.active = true;
        session.updated_at_ms = now.unix_ms;
        session.label = label.or(session.label);
        session.model = model.or(session.model);
        self.put_session(session);
    }
}

/// Beginning of a child's credential, so that it can be told from other secrets when it is found.
const TOKEN_PREFIX: &str = "ocs_";

/// A template's arguments, filled in.
fn fill(
    template: &AgentTemplate,
    task: &str,
    model: Option<&str>,
    label: Option<&str>,
) -> Result<Vec<String>, ProtocolError> {
    for (name, value) in [("model", model), ("label", label)] {
        if value.is_some_and(|value| value.starts_with('-')) {
            return Err(ProtocolError::invalid(format!("{name} may not begin with -")));
        }
    }
    let words =
        [("{task}", task), ("{model}", model.unwrap_or("")), ("{label}", label.unwrap_or(""))];
    Ok(template.args.iter().map(|arg| fill_one(arg, &words)).collect())
}

/// One argument; what was filled in is not looked at again.
fn fill_one(arg: &str, words: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = arg;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let word = words.iter().find_map(|(word, value)| Some((from.strip_prefix(word)?, value)));
        match word {
            Some((after, value)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = &from[1..];
            }
        }
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_not_looked_at_again() {
        let words = [("{task}", "do {model}"), ("{model}", "{task}"), ("{label}", "")];
        for (arg, filled) in [
            ("{task}", "do {model}"),
            ("--model={model}", "--model={task}"),
            ("{label}", ""),
            ("{other} {task} {", "{other} do {model} {"),
            ("{{task}}", "{do {model}}"),
            ("ü{", "ü{"),
        ] {
            assert_eq!(fill_one(arg, &words), filled);
        }
    }
}
