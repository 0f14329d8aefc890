//! What the command line says when nobody is connected: help, mistakes, exit codes.
//!
//! Golden: `UPDATE_EXPECT=1` writes what the binary says now. Against a gateway: `tests/e2e/cli*`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod help;
mod mistakes;

use std::process::{Command, Stdio};

use expect_test::Expect;

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
    let output = command.args(words).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Compares what a command line says on stderr, with its exit code and nothing on stdout.
#[track_caller]
fn check(line: &str, code: i32, expected: &Expect) {
    let words: Vec<_> = line.split_whitespace().collect();
    let (found, stdout, stderr) = run(&words);
    expected.assert_eq(&stderr);
    assert_eq!((found, stdout.as_str()), (code, ""), "{words:?}");
}
