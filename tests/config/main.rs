//! The configuration: defaults, the example, precedence, what is refused and how it is said.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod checks;
mod errors;
mod example;
mod precedence;
mod secrets;

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use openclaw_gateway::app::args::Args;
use openclaw_gateway::app::config::error::ConfigErrors;
use openclaw_gateway::app::config::{Config, Environment};

/// The configuration that a file with this text makes.
fn load(text: &str) -> Result<Config, ConfigErrors> {
    load_with(text, "", &[])
}

/// The same with flags and environment variables.
fn load_with(text: &str, flags: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::from_text(Path::new("gateway.toml"), text, &args(flags), &environment(variables))
}

fn args(flags: &str) -> Args {
    let words = ["openclaw-gateway"].into_iter().chain(flags.split_whitespace());
    Args::parse(words.map(OsString::from)).unwrap()
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::read(|name| {
        let found = variables.iter().find(|(variable, _)| *variable == name)?;
        Some(found.1.into())
    })
}

/// A directory of a test's own, removed when the test ends.
struct TestDir(PathBuf);

impl TestDir {
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("openclaw-config-{}-{number}", process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file with these permissions and returns its path.
    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
