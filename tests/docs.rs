//! What the documents say is what the program does.
//!
//! `UPDATE_EXPECT=1` rewrites what can be derived (the `--help` in docs/operations.md).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic; the message names the document"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use openclaw_gateway::base::close_reason::CloseReason;
use openclaw_gateway::base::limits::END_GRACE;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[track_caller]
fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What the binary prints for `--help`.
fn help() -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_openclaw-gateway")).arg("--help").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn operations_page_shows_the_help_that_the_binary_prints() {
    const PAGE: &str = "docs/operations.md";
    const OPENING: &str = "```text\n$ openclaw-gateway --help\n";
    let page = read(PAGE);
    let (before, rest) = page.split_once(OPENING).expect("the page has a block for --help");
    let (shown, after) = rest.split_once("```").unwrap();
    let help = help();
    assert!(!help.trim().is_empty(), "--help prints nothing");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(path(PAGE), format!("{before}{OPENING}{help}```{after}")).unwrap();
    } else {
        assert_eq!(shown, help, "UPDATE_EXPECT=1 rewrites {PAGE}");
    }
}

/// One of each. The `match` makes the compiler ask for the next one.
fn all_close_reasons() -> Vec<CloseReason> {
    use CloseReason as Reason;
    let all = vec![
        Reason::ClosedByPeer(None),
        Reason::Vanished,
        Reason::HttpAnswered,
        Reason::TlsFailed,
        Reason::HeadTimeout,
        Reason::HandshakeTimeout,
        Reason::Refused { code: 1008, text: String::new() },
        Reason::ProtocolViolation(""),
        Reason::InvalidUtf8,
        Reason::BinaryFrame,
        Reason::MessageTooLarge,
        Reason::PreauthTooLarge,
        Reason::MessageTimeout,
        Reason::ErrorBudgetSpent,
        Reason::SlowConsumer,
        Reason::HeartbeatTimeout,
        Reason::CredentialWithdrawn,
        Reason::OverCapacity { retry_after: Duration::from_secs(1) },
        Reason::ServerStopping,
        Reason::SocketFailed,
        Reason::Bug,
    ];
    for reason in &all {
        match reason {
            Reason::ClosedByPeer(_)
            | Reason::Vanished
            | Reason::HttpAnswered
            | Reason::TlsFailed
            | Reason::HeadTimeout
            | Reason::HandshakeTimeout
            | Reason::Refused { .. }
            | Reason::ProtocolViolation(_)
            | Reason::InvalidUtf8
            | Reason::BinaryFrame
            | Reason::MessageTooLarge
            | Reason::PreauthTooLarge
            | Reason::MessageTimeout
            | Reason::ErrorBudgetSpent
            | Reason::SlowConsumer
            | Reason::HeartbeatTimeout
            | Reason::CredentialWithdrawn
            | Reason::OverCapacity { .. }
            | Reason::ServerStopping
            | Reason::SocketFailed
            | Reason::Bug => {}
        }
    }
    all
}

#[test]
fn every_close_reason_is_in_the_protocol_document_with_its_code() {
    let document = read("docs/protocol.md");
    let mut missing = Vec::new();
    for reason in all_close_reasons() {
        let name = reason.name();
        let lines = document.lines().filter(|line| line.contains(&format!("`{name}`")));
        let code = reason.code().map(|code| code.to_string()).unwrap_or_default();
        if !lines.into_iter().any(|line| line.contains(&code)) {
            missing.push(format!("{name} {code}"));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn close_reasons_have_different_names_and_texts_that_fit_a_close_frame() {
    let all = all_close_reasons();
    let names: BTreeSet<_> = all.iter().map(CloseReason::name).collect();
    assert_eq!(names.len(), all.len());
    assert_eq!(names, CloseReason::NAMES.iter().copied().collect());
    assert!(all.iter().all(|reason| reason.text().len() <= 123));
    let long = CloseReason::Refused { code: 1008, text: "ü".repeat(100) };
    assert_eq!(long.text().len(), 122, "cut between two characters");
}

/// Targets of the Makefile, and those that its help lists.
fn targets(makefile: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let rules = makefile.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let (mut all, mut listed) = (BTreeSet::new(), BTreeSet::new());
    for (name, rest) in rules.filter_map(|line| line.split_once(':')) {
        all.insert(name);
        if rest.contains("## ") {
            listed.insert(name);
        }
    }
    (all, listed)
}

#[test]
fn make_help_lists_every_target_and_the_documents_name_no_other() {
    let makefile = read("Makefile");
    let (all, listed) = targets(&makefile);
    assert_eq!(all, listed, "a target without a line of help");
    let promised =
        ["run", "test", "check", "build", "install", "conformance", "deny", "clean", "help"];
    for name in promised {
        assert!(all.contains(name), "no target {name}");
    }
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    assert_eq!(all, phony.split(' ').collect(), "every target is phony");
    for document in ["README.md", "ARCHITECTURE.md", "docs/operations.md", ".ci/run"] {
        for line in read(document).lines() {
            for rest in line.split("make ").skip(1) {
                let name: &str = rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap();
                let is_command = line.contains(&format!("`make {name}`"))
                    || line.trim_start().starts_with("make ");
                assert!(!is_command || all.contains(name), "{document}: make {name}");
            }
        }
    }
}

/// Files that a document links to: relative to itself.
fn links(text: &str) -> Vec<&str> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
    links.map(|link| link.split('#').next().unwrap_or(link)).collect()
}

/// Files that a document names in backquotes: relative to the repository.
fn files_named(text: &str) -> Vec<&str> {
    let dirs = ["src/", "tests/", "docs/", "packaging/"];
    let quoted = text.split('`');
    quoted
        .filter(|word| dirs.iter().any(|dir| word.starts_with(dir)) && !word.contains(' '))
        .collect()
}

#[test]
fn files_that_the_documents_name_exist() {
    assert_eq!(links("[a](b.md#c) `src/x` [c](https://d) [e](#f)"), ["b.md"]);
    assert_eq!(files_named("[a](b.md) `src/x` `c` `make docs/ y`"), ["src/x"]);
    let pages = fs::read_dir(path("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let pages = pages.map(|name| format!("docs/{}", name.to_str().unwrap()));
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned);
    let mut missing = Vec::new();
    for document in top.into_iter().chain(pages) {
        let text = read(&document);
        let home = path(&document);
        let linked = links(&text).into_iter().map(|link| (link, home.with_file_name(link)));
        let named = files_named(&text).into_iter().map(|name| (name, path(name)));
        let absent = linked.chain(named).filter(|(_, file)| !file.exists());
        missing.extend(absent.map(|(name, _)| format!("{document}: {name}")));
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// A service manager that signals the programs beside the gateway, leaves what escapes it, or does
/// not wait for it, undoes what the gateway promises about its programs at its end.
#[test]
fn systemd_leaves_the_end_of_programs_to_the_gateway_and_waits_for_it() {
    for document in ["packaging/systemd/openclaw-gateway.service", "docs/children.md"] {
        let text = read(document);
        let value =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        assert_eq!(value("KillMode"), Some("mixed"), "{document}");
        assert_eq!(value("Delegate"), Some("yes"), "{document}");
        let patience = value("TimeoutStopSec").and_then(|seconds| seconds.parse().ok());
        let patience = patience.map(Duration::from_secs);
        assert!(patience > Some(END_GRACE), "{document}: {patience:?} for {END_GRACE:?}");
    }
}
