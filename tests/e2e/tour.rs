//! The README's five minutes: its own blocks, executed in terminals, compared with what it shows.
//!
//! A comment before a block says which terminal it is for. Three things differ from a person who
//! pastes: `make` is a script that starts the built binary instead of building it, port 8080 is a
//! free one, and the terminals have no colours. `…` in an output is anything.

use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::kit::{PATIENCE, TempDir, eventually};

/// What `make run` is here. The Makefile's own line is compared below.
const MAKE: &str = "#!/bin/sh\n\
    test \"$*\" = run && exec target/release/openclaw-gateway --state-dir ./state --port \"$PORT\"\n";

/// A block: its marker, its language and its text.
pub(crate) struct Block {
    marker: String,
    pub(crate) language: String,
    pub(crate) text: String,
}

/// The blocks of a section of the README.
pub(crate) fn blocks(section: &str) -> Vec<Block> {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, section) = readme.split_once(&format!("\n## {section}\n")).expect("the section");
    let section = section.split("\n## ").next().unwrap();
    let (mut blocks, mut marker) = (Vec::new(), String::new());
    let mut open: Option<Block> = None;
    for line in section.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let marker = std::mem::take(&mut marker);
                open = Some(Block { marker, language: language.to_owned(), text: String::new() });
            }
            (None, None) if line.starts_with("<!-- ") => {
                marker = line.trim_start_matches("<!-- ").trim_end_matches(" -->").to_owned();
            }
            (None, None) => {}
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
        }
    }
    blocks
}

/// A terminal in which commands run. Hung up on drop, and the gateway in it ended.
struct Terminal {
    child: Child,
    shown: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    fn run(dir: &Path, port: &str, commands: &str) -> Self {
        let path = std::env::var("PATH").unwrap();
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--flush", "--command", commands, "/dev/null"])
            .current_dir(dir)
            .env_clear()
            .env("PATH", format!("{}:{path}", dir.join("bin").display()))
            .env("HOME", dir.join("home"))
            .env("SHELL", "/bin/sh")
            .env("NO_COLOR", "1")
            .env("PORT", port)
            .env("OPENCLAW_GATEWAY_URL", format!("ws://127.0.0.1:{port}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut stdout, into) = (child.stdout.take().unwrap(), Arc::clone(&shown));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).replace('\r', "");
                into.lock().unwrap().push_str(&text);
            }
        });
        Self { child, shown, reader: Some(reader) }
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until it shows this.
    #[track_caller]
    fn shows(&self, expected: &str) {
        eventually(&format!("a terminal shows:\n{expected}"), PATIENCE, || {
            is_shown(expected, &self.shown()).then_some(())
        });
    }

    /// Waits until its commands have ended, and succeeded.
    #[track_caller]
    fn succeeds(mut self) -> String {
        let status = eventually("the commands end", PATIENCE, || self.child.try_wait().unwrap());
        self.reader.take().unwrap().join().unwrap();
        assert!(status.success(), "{status}: {}", self.shown());
        self.shown()
    }

    /// What the gateway in it announced.
    fn announcement(&self) -> Value {
        eventually("the gateway listens", PATIENCE, || {
            let shown = self.shown();
            let line = shown.lines().find(|line| line.contains("\"listening\""))?;
            serde_json::from_str(line).ok()
        })
    }

    /// Ctrl-C, as far as the gateway is concerned.
    fn signal(&self, signal: Signal) -> Option<()> {
        let line = self.shown();
        let line = line.lines().find(|line| line.contains("\"listening\""))?;
        let announcement: Value = serde_json::from_str(line).ok()?;
        let pid = Pid::from_raw(announcement["pid"].as_i64()?.try_into().ok()?)?;
        kill_process(pid, signal).ok()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- a terminal shows:\n{}", self.shown());
        }
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(Signal::TERM);
            // The hang-up ends whatever else runs there.
            let _ended = self.child.kill();
            let _waited = self.child.wait();
        }
    }
}

/// Whether these lines stand somewhere in the text, one after the other.
pub(crate) fn is_shown(expected: &str, text: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let (expected, lines) = (lines(expected), lines(text));
    (0..=lines.len()).any(|start| begins_with(&lines[start..], &expected))
}

fn begins_with(lines: &[String], expected: &[String]) -> bool {
    match (expected, lines) {
        ([], _) => true,
        ([any, rest @ ..], _) if any == "…" => {
            (0..=lines.len()).any(|skipped| begins_with(&lines[skipped..], rest))
        }
        ([first, rest @ ..], [line, others @ ..]) => fits(first, line) && begins_with(others, rest),
        (_, []) => false,
    }
}

/// Whether a line is this one, with anything in place of each `…`.
fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn an_output_fits_what_is_shown_of_it_and_nothing_else() {
    assert!(is_shown("a  …\n…\nd\n", "x\na b\nc\nd\n"));
    assert!(is_shown("… INFO …, up …\n", "12:00 INFO x, up 1s\n"));
    for (expected, text) in
        [("a\nd\n", "a\nc\nd\n"), ("a…c\n", "abd\n"), ("a\n", "ab\n"), ("a\n", "")]
    {
        assert!(!is_shown(expected, text), "{expected:?} in {text:?}");
    }
}

/// A fresh clone, as far as the tour needs one, after `make build`.
fn fresh_clone() -> TempDir {
    let dir = TempDir::new();
    for path in ["bin", "home", "target/release"] {
        std::fs::create_dir_all(dir.path().join(path)).unwrap();
    }
    let binary = env!("CARGO_BIN_EXE_openclaw-gateway");
    symlink(binary, dir.path().join("target/release/openclaw-gateway")).unwrap();
    let make = dir.write("bin/make", MAKE);
    std::fs::set_permissions(make, std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

#[test]
fn five_minutes_of_the_readme_work_as_printed() {
    let makefile = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile"));
    let recipe = "\t@$(CARGO) run --release --locked -- --state-dir ./state $(ARGS)\n";
    assert!(makefile.unwrap().contains(recipe), "`make run` is no longer what stands in for it");
    if Command::new("script").arg("--version").output().is_err() {
        skip!("five_minutes_of_the_readme_work_as_printed", "script (util-linux) is missing");
    }
    let dir = fresh_clone();
    // Port 0 until the gateway has found a free one; then it keeps that.
    let mut port = "0".to_owned();
    let (mut gateway, mut watcher, mut output) = (None, None, None);
    let mut exports = String::new();
    let mut compared = 0;
    for Block { marker, language, text } in blocks("Five minutes") {
        let text = text.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
        let commands = format!("set -e\n{exports}{text}");
        let run = |port: &str| Terminal::run(dir.path(), port, &commands);
        match (marker.as_str(), language.as_str()) {
            ("tour: gateway", "sh") => {
                // What stopped has given its state back.
                gateway.take().map(Terminal::succeeds);
                let started = run(&port);
                let url = started.announcement()["url"].as_str().unwrap().to_owned();
                port = url.rsplit(':').next().unwrap().to_owned();
                gateway = Some(started);
            }
            ("tour: watcher", "sh") => watcher = Some(run(&port)),
            ("tour", "sh") => {
                let lines = text.lines().filter(|line| line.starts_with("export "));
                exports.extend(lines.flat_map(|line| [line, "\n"]));
                output = Some(run(&port).succeeds());
            }
            ("tour: interrupt", "text") => {
                let gateway = gateway.as_ref().expect("a gateway runs");
                gateway.signal(Signal::INT).expect("its pid is announced");
                gateway.shows(&text);
            }
            ("tour: watcher shows", "text") => watcher.as_ref().unwrap().shows(&text),
            ("", "text") => match &output {
                Some(output) => {
                    assert!(is_shown(&text, output), "expected:\n{text}\nis:\n{output}")
                }
                None => gateway.as_ref().unwrap().shows(&text),
            },
            other => panic!("what is {other:?}?"),
        }
        compared += usize::from(language == "text");
    }
    assert!(compared > 7, "{compared} outputs");
}
