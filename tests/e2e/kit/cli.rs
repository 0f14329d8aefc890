//! The command-line client as a person runs it: with a home of its own, one command at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use serde_json::Value;

use super::{Gateway, PATIENCE, SECRET, TempDir, binary, eventually};

/// A person's account on a machine.
pub(crate) struct Cli {
    home: TempDir,
    url: String,
    secret: Option<&'static str>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Cli {
    /// Somebody who knows where the gateway is, and its secret.
    pub(crate) fn new(gateway: &Gateway) -> Self {
        let url = gateway.announcement()["url"].as_str().unwrap().to_owned();
        Self { home: TempDir::new(), url, secret: Some(SECRET) }
    }

    /// Somebody who knows another address, and no secret.
    pub(crate) fn elsewhere(url: &str) -> Self {
        Self { home: TempDir::new(), url: url.to_owned(), secret: None }
    }

    /// The same person without the secret.
    pub(crate) fn without_secret(mut self) -> Self {
        self.secret = None;
        self
    }

    /// The user's configuration directory.
    pub(crate) fn config_home(&self) -> &Path {
        self.home.path()
    }

    /// A command about to be run.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = binary();
        command.args(words).env("XDG_CONFIG_HOME", self.home.path());
        command.env("OPENCLAW_GATEWAY_URL", &self.url).current_dir(self.home.path());
        for name in ["OPENCLAW_PAIRING_CODE", "SSL_CERT_FILE"] {
            command.env_remove(name);
        }
        if let Some(secret) = self.secret {
            command.env("OPENCLAW_GATEWAY_TOKEN", secret);
        }
        command
    }

    /// Runs a command with nothing on its standard input.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> Done {
        self.run_with(words, "")
    }

    /// Runs a command with this on its standard input.
    #[track_caller]
    pub(crate) fn run_with(&self, words: &[&str], input: &str) -> Done {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that ends without reading has its reasons.
        let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
        let mut child = Running { child, lines: None, reader: None };
        let out = child.child.stdout.take().unwrap();
        let err = child.child.stderr.take().unwrap();
        let read = |mut from: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut text = String::new();
                from.read_to_string(&mut text).unwrap();
                text
            })
        };
        let (out, err) = (read(Box::new(out)), read(Box::new(err)));
        let code = child.exit_code();
        Done { code, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
    }

    /// Runs a command that must succeed; returns its standard output.
    #[track_caller]
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let done = self.run(words);
        assert_eq!(done.code, 0, "{words:?}: {}", done.stderr);
        done.stdout
    }

    /// Starts a command that goes on, to read its standard output line by line.
    #[track_caller]
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = bounded(100_000);
        let reader = std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Running { child, lines: Some(lines), reader: Some(reader) }
    }
}

/// A command that goes on. Killed on drop.
pub(crate) struct Running {
    child: Child,
    lines: Option<Receiver<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// The next line of its standard output.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        match self.lines.as_ref().unwrap().recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("ended: {:?}", self.child.wait()),
        }
    }

    /// The message of the next line, which is a log entry in JSON.
    #[track_caller]
    pub(crate) fn entry(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Writes to its standard input.
    #[track_caller]
    pub(crate) fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Ends its standard input.
    pub(crate) fn hang_up(&mut self) {
        self.child.stdin = None;
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn exit_code(&mut self) -> i32 {
        let began = Instant::now();
        let status = eventually("the command ends", PATIENCE, || self.child.try_wait().unwrap());
        status.code().unwrap_or_else(|| panic!("{status} after {:?}", began.elapsed()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        if let Some(reader) = self.reader.take() {
            self.lines = None;
            let _panicked = reader.join();
        }
    }
}
