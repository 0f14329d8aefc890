//! Files: who may read and write them, and how long certificates are good.
//!
//! Secrets and keys are read with the configuration and by the very function of the start; here is
//! what those leave to a person.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;

use super::Finding;
use crate::app::check::{day, load_tls, not_good, read_public, which_of};
use crate::app::config::{AuditConfig, Config, TlsConfig};
use crate::base::limits::CERTIFICATE_WARN;
use crate::base::time::utc;
use crate::shell::audit;
use crate::shell::state_dir;
use crate::shell::tls::{chain_from_pem, is_for, validity};

/// Root may read and write what the gateway's user may not, so what is good for root says little.
pub(super) fn user(state_dir: &Path) -> Option<Finding> {
    let owner = fs::metadata(state_dir).ok()?.uid();
    (geteuid().is_root() && owner != 0).then(|| {
        Finding::warn(
            "user",
            format!("this runs as root, the gateway as user {owner}, who may read and write less"),
            format!("run it as that user: sudo -u '#{owner}' openclaw-gateway doctor"),
        )
    })
}

/// Who else may write the file decides what the gateway does.
pub(super) fn configuration(file: &Path, state_dir: &Path) -> Finding {
    const SUBJECT: &str = "permissions";
    let shown = file.display();
    let found = match fs::metadata(file) {
        Ok(found) => found,
        Err(error) => {
            let advice = "let the gateway's user into the directories above it";
            return Finding::fail(SUBJECT, format!("cannot look at {shown}: {error}"), advice);
        }
    };
    let (mode, owner) = (found.mode(), found.uid());
    let gateway = fs::metadata(state_dir).map(|directory| directory.uid());
    let is_ours = [Some(0), Some(geteuid().as_raw()), gateway.ok()].contains(&Some(owner));
    if mode & 0o002 != 0 {
        let text = format!("everyone may write {shown}");
        return Finding::fail(SUBJECT, text, format!("chmod o-w {shown}"));
    }
    if mode & 0o020 != 0 {
        let text = format!("the group {} may write {shown}", found.gid());
        return Finding::warn(SUBJECT, text, format!("chmod g-w {shown}"));
    }
    if !is_ours {
        let text = format!("{shown} belongs to user {owner}, who may change it");
        return Finding::warn(SUBJECT, text, format!("chown root {shown}"));
    }
    if mode & 0o004 != 0 && holds_secrets(file) {
        return Finding::warn(
            SUBJECT,
            format!("{shown} holds a secret and everyone may read it"),
            format!("chmod o-r {shown}, or move the secret to a file and name it with tokenFile"),
        );
    }
    Finding::ok(SUBJECT, format!("nobody else may change {shown}"))
}

/// Whether a secret stands in the configuration itself.
fn holds_secrets(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    toml::from_str(&text).is_ok_and(|table| holds_secret(&toml::Value::Table(table)))
}

fn holds_secret(value: &toml::Value) -> bool {
    match value {
        toml::Value::Table(table) => table.iter().any(|(key, value)| {
            (value.is_str() && matches!(key.as_str(), "token" | "password")) || holds_secret(value)
        }),
        toml::Value::Array(values) => values.iter().any(holds_secret),
        _ => false,
    }
}

/// The audit file as the start would open it, which would also make it private.
pub(super) fn audit(config: &AuditConfig) -> Finding {
    const SUBJECT: &str = "audit";
    let Some(setup) = config.setup() else {
        return Finding::ok(SUBJECT, "no file is needed: audit is off");
    };
    let file = setup.file.as_path();
    let shown = file.display();
    match audit::usable(file) {
        Ok(()) if fs::metadata(file).is_ok_and(|found| found.mode() & 0o077 != 0) => {
            let text = format!("others may read {shown}");
            Finding::warn(SUBJECT, text, format!("chmod 0600 {shown}"))
        }
        Ok(()) => Finding::ok(SUBJECT, format!("{shown} takes lines")),
        Err(error) => Finding::fail(
            SUBJECT,
            format!("cannot write to audit.logFile, {shown}: {error}"),
            "name a plain file of the gateway's user, in a directory that this user may write to \
             and not everybody: install -d -m 0750 -o USER DIR",
        ),
    }
}

/// Certificate and key as the start would load them; then dates and names.
pub(super) fn certificates(config: &Config, now_ms: u64) -> Vec<Finding> {
    const SUBJECT: &str = "certificate";
    const PAIR: &str = "gateway.tls.certFile and keyFile must be a pair, both PEM";
    let TlsConfig::On { cert_file, .. } = &config.tls else {
        return vec![Finding::ok(SUBJECT, "none is needed: gateway.tls is off")];
    };
    if let Err(errors) = load_tls(&config.tls) {
        let each = errors.0.iter().map(|error| Finding::fail(SUBJECT, error.to_string(), PAIR));
        return each.collect();
    }
    let file = cert_file.value.as_path();
    let chain = read_public(file)
        .and_then(|pem| chain_from_pem(file, &pem).map_err(|error| error.to_string()));
    let chain = match chain {
        Ok(chain) => chain,
        Err(problem) => return vec![Finding::fail(SUBJECT, problem, PAIR)],
    };
    let mut findings: Vec<_> = chain
        .iter()
        .enumerate()
        .map(|(number, certificate)| {
            dates(&which_of(file, number), validity(certificate), now_ms / 1_000)
        })
        .collect();
    let missing = config
        .public_hosts
        .iter()
        .filter(|host| !chain.first().is_some_and(|certificate| is_for(certificate, host)));
    findings.extend(missing.map(|host| {
        let text = format!("{} is not for {host}, which is in publicHosts", file.display());
        Finding::warn(
            SUBJECT,
            text,
            "fine behind a proxy with a certificate of its own; else renew",
        )
    }));
    findings
}

fn dates(which: &str, validity: Option<(u64, u64)>, now: u64) -> Finding {
    const SUBJECT: &str = "certificate";
    let Some((from, until)) = validity else {
        let advice = "see what `openssl x509 -noout -dates` says of it, or have it issued anew";
        return Finding::warn(SUBJECT, format!("{which}: cannot read its dates"), advice);
    };
    let renew = "renew it, then run `openclaw-gateway reload`";
    if let Some(text) = not_good(which, (from, until), now) {
        let advice = if now < from { "wait, or see whether the clock is right" } else { renew };
        return Finding::fail(SUBJECT, text, advice);
    }
    let left = until - now;
    let text = format!("{which} is good for {} days, until {}", left / 86_400, day(until));
    match left < CERTIFICATE_WARN.as_secs() {
        true => Finding::warn(SUBJECT, text, renew),
        false => Finding::ok(SUBJECT, text),
    }
}

/// The state directory and what is in it.
pub(super) fn state(path: &Path, now_ms: u64) -> Vec<Finding> {
    const SUBJECT: &str = "state";
    const OWNER: &str =
        "run this as the gateway's user, or let that user own it: chown -R USER DIR";
    let shown = path.display();
    if let Err(error) = state_dir::check(path) {
        return vec![Finding::fail(SUBJECT, super::super::with_cause(&error), OWNER)];
    }
    let Ok(directory) = fs::metadata(path) else {
        return vec![Finding::ok(SUBJECT, format!("{shown} will be made by the first start"))];
    };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            return vec![Finding::fail(SUBJECT, format!("cannot read {shown}: {error}"), OWNER)];
        }
    };
    let mut findings = Vec::new();
    if directory.mode() & 0o077 != 0 {
        let text = format!("others may look into {shown}");
        findings.push(Finding::warn(SUBJECT, text, format!("chmod 0700 {shown}")));
    }
    for entry in entries.flatten() {
        let Ok(found) = entry.metadata() else { continue };
        let file = entry.path();
        let file = file.display();
        if found.uid() != directory.uid() {
            let text = format!("{file} belongs to another user than its directory");
            let advice = format!("chown --reference={shown} {file}");
            findings.push(Finding::fail(SUBJECT, text, advice));
        }
        if found.mode() & 0o077 != 0 {
            let text = format!("others may read {file}");
            findings.push(Finding::warn(SUBJECT, text, format!("chmod 0600 {file}")));
        }
        let written = u64::try_from(found.mtime()).unwrap_or_default();
        if written > now_ms / 1_000 + 60 {
            let text = format!("{file} was written in the future, at {}", utc(written * 1_000));
            findings.push(Finding::warn(SUBJECT, text, "see whether the clock is right"));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(SUBJECT, format!("{shown} is private and complete")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const DAY: u64 = 86_400;

    #[track_caller]
    fn check(from: u64, until: u64, level: Level, expected: &str) {
        let found = dates("c", Some((from * DAY, until * DAY)), 1_000 * DAY);
        assert_eq!((found.level, found.text.as_str()), (level, expected));
    }

    #[test]
    fn certificate_is_good_then_warned_of_then_over() {
        check(0, 1_021, Level::Ok, "c is good for 21 days, until 1972-10-18");
        check(0, 1_020, Level::Warn, "c is good for 20 days, until 1972-10-17");
        check(0, 1_000, Level::Warn, "c is good for 0 days, until 1972-09-27");
        check(0, 999, Level::Fail, "c has ended on 1972-09-26");
        check(1_001, 1_100, Level::Fail, "c is not good before 1972-09-28");
    }
}
