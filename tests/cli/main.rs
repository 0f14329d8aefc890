//! What the command line says by itself: help, mistakes, exit codes, and how it shows answers.
//!
//! Golden: `UPDATE_EXPECT=1` writes what the binary says now. Against a gateway: `tests/e2e/cli*`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may panic and start threads"
)]

mod calling;
mod fake;
mod following;
mod help;
mod mistakes;
mod tables;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use expect_test::Expect;

/// How long a command may take on a busy machine; then it is killed, with -1 for its exit code.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the binary with these words, without anything of our environment that it would listen to;
/// its configuration would be in the package's directory, where it has none.
fn run(words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openclaw-gateway"));
    for name in [
        "OPENCLAW_CONFIG",
        "OPENCLAW_GATEWAY_TOKEN",
        "OPENCLAW_GATEWAY_URL",
        "OPENCLAW_PAIRING_CODE",
        "LOG_LEVEL",
        "XDG_CONFIG_HOME",
        "HOME",
    ] {
        command.env_remove(name);
    }
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = String::new();
            from.read_to_string(&mut text).unwrap();
            text
        })
    };
    let (stdout, stderr) = (read(Box::new(stdout)), read(Box::new(stderr)));
    let deadline = Instant::now() + PATIENCE;
    let code = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code().unwrap(),
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                break -1;
            }
        }
    };
    (code, stdout.join().unwrap(), stderr.join().unwrap())
}

/// Compares what a command line says on stderr, with its exit code and nothing on stdout.
#[track_caller]
fn check(line: &str, code: i32, expected: &Expect) {
    let words: Vec<_> = line.split_whitespace().collect();
    let (found, stdout, stderr) = run(&words);
    expected.assert_eq(&stderr);
    assert_eq!((found, stdout.as_str()), (code, ""), "{words:?}");
}
