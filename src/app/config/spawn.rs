//! `[gateway.spawn]` and `[gateway.agents]`: what may be started, and the agents' templates.
//!
//! Pure; called by `raw`. Whether programs and directories exist is found when they are started.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{Setting, nearest, quoted};
use super::reader::Section;
use super::values;
use crate::base::ids::AgentName;
use crate::base::limits::{
    AGENT_TEMPLATES_MAX, SPAWN_GRACE_MAX, SPAWN_TIMEOUT_MAX, SPAWNS_CONCURRENT_MAX,
    SPAWNS_QUEUED_MAX,
};
use crate::hub::policy::{AgentTemplate, SpawnPolicy};
use crate::protocol::methods::spawn::check_variable;

const KIB: u64 = 1024;
const GIB: u64 = 1024 * 1024 * KIB;

const COMMAND_ALLOWED: &str = "a name, an absolute path, or \"*\" for every program";
const PROGRAM_ALLOWED: &str = "a name or an absolute path";
const DIR_ALLOWED: &str = "an absolute path";
const ARG_ALLOWED: &str = "a text without NUL";
const VARIABLE_ALLOWED: &str = "the name of a variable that is not the gateway's own (OPENCLAW_…)";
const VALUE_ALLOWED: &str =
    "texts without NUL, under names other than PATH, LD_… and OPENCLAW_…, which may not be set";

/// Reads both sections.
pub(super) fn read(spawn: Section<'_>, agents: Section<'_>) -> SpawnPolicy {
    let mut policy = rules(spawn);
    templates(agents, &mut policy);
    policy
}

fn rules(mut section: Section<'_>) -> SpawnPolicy {
    let default = SpawnPolicy::default();
    let commands = section.list("allowedCommands", COMMAND_ALLOWED, command);
    let dirs = section.list("allowedDirs", DIR_ALLOWED, directory);
    let env_allow = section.list("envAllow", VARIABLE_ALLOWED, variable);
    let policy = SpawnPolicy {
        enabled: section.switch("enabled", default.enabled),
        allowed_commands: value_or(commands, default.allowed_commands),
        allowed_dirs: value_or(dirs, default.allowed_dirs),
        concurrent_max: section.count(
            "maxConcurrent",
            1..=SPAWNS_CONCURRENT_MAX as u64,
            default.concurrent_max,
        ),
        queued_max: section.count("maxQueued", 0..=SPAWNS_QUEUED_MAX as u64, default.queued_max),
        timeout: section.seconds("timeoutSeconds", timeouts(), default.timeout),
        grace: section.seconds("graceSeconds", 0..=SPAWN_GRACE_MAX.as_secs(), default.grace),
        leftover_grace: section.seconds(
            "leftoverGraceSeconds",
            0..=SPAWN_GRACE_MAX.as_secs(),
            default.leftover_grace,
        ),
        output_bytes_per_second_max: section
            .number("outputBytesPerSecondMax", KIB..=GIB)
            .unwrap_or(default.output_bytes_per_second_max),
        env_allow: value_or(env_allow, default.env_allow),
        run_as: user(&mut section),
        default_agent: None,
        templates: BTreeMap::new(),
    };
    section.finish();
    policy
}

fn timeouts() -> std::ops::RangeInclusive<u64> {
    1..=SPAWN_TIMEOUT_MAX.as_secs()
}

fn templates(mut agents: Section<'_>, policy: &mut SpawnPolicy) {
    let default = agents.parsed("default", values::NAME_ALLOWED, values::name);
    for (name, section) in agents.named_sections() {
        let place = section.place();
        if values::name(&name).is_none() {
            agents.report(&place, &name, format!("allowed as a name: {}", values::NAME_ALLOWED));
        }
        if let Some(template) = template(section, policy) {
            policy.templates.insert(AgentName::new(name), template);
        }
    }
    if policy.templates.len() > AGENT_TEMPLATES_MAX {
        let problem = format!(
            "found {}; allowed: at most {AGENT_TEMPLATES_MAX} agents",
            policy.templates.len()
        );
        agents.report(&agents.place(), "", problem);
    }
    let Some(Setting { value: default, place }) = default else { return };
    let name = AgentName::new(default.as_str());
    if !agents.has(&default) {
        let names = || policy.templates.keys().map(AgentName::as_str);
        let meant = nearest(&default, names());
        let meant = meant.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
        let problem = format!(
            "found {}; allowed: the name of a table [gateway.agents.NAME]{meant}",
            quoted(&default)
        );
        agents.report(&place, "default", problem);
    }
    policy.default_agent = Some(name);
}

fn template(mut section: Section<'_>, policy: &SpawnPolicy) -> Option<AgentTemplate> {
    let place = section.place();
    let is_set = section.has("command");
    let program = section.parsed("command", PROGRAM_ALLOWED, program);
    if !is_set {
        section.report(&place, "command", format!("missing; allowed: {PROGRAM_ALLOWED}"));
    }
    let args = section.list("args", ARG_ALLOWED, argument);
    let cwd = section.parsed("cwd", DIR_ALLOWED, directory);
    let env = section.texts("env", VALUE_ALLOWED, |name, value| {
        check_variable(name).is_ok() && argument(value).is_some()
    });
    let template = AgentTemplate {
        command: String::new(),
        args: value_or(args, Vec::new()),
        env,
        cwd: cwd.map(|cwd| cwd.value),
        timeout: section.seconds("timeoutSeconds", timeouts(), policy.timeout),
        concurrent_max: section.count(
            "maxConcurrent",
            1..=SPAWNS_CONCURRENT_MAX as u64,
            policy.concurrent_max,
        ),
        stdout_reports: section.switch("stdoutReports", false),
        run_as: user(&mut section),
    };
    section.finish();
    Some(AgentTemplate { command: program?.value, ..template })
}

fn user(section: &mut Section<'_>) -> Option<String> {
    section.parsed("runAs", "the name of a user", values::name).map(|user| user.value)
}

fn value_or<T>(setting: Option<Setting<T>>, default: T) -> T {
    setting.map_or(default, |setting| setting.value)
}

fn command(text: &str) -> Option<String> {
    if text == "*" { Some(text.to_owned()) } else { program(text) }
}

fn program(text: &str) -> Option<String> {
    let is_path = text.starts_with('/');
    let is_fine = !text.is_empty() && !text.chars().any(char::is_control);
    (is_fine && text != "*" && (is_path || !text.contains('/'))).then(|| text.to_owned())
}

fn directory(text: &str) -> Option<PathBuf> {
    let is_fine = text.starts_with('/') && !text.chars().any(char::is_control);
    is_fine.then(|| PathBuf::from(text))
}

fn argument(text: &str) -> Option<String> {
    (!text.contains('\0')).then(|| text.to_owned())
}

/// A variable that may be handed on: not one that holds the gateway's own secrets.
fn variable(text: &str) -> Option<String> {
    let is_name = !text.is_empty() && !text.contains(['=', '\0']);
    (is_name && !text.starts_with("OPENCLAW_")).then(|| text.to_owned())
}
