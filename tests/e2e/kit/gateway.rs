//! The real binary, started, watched, killed and started again.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;

use super::tls::TestTls;
use super::{Client, Connect, Device, Dial, FsyncShim, HubShim, PATIENCE, TempDir};

/// The shared secret of the gateways that have one.
pub(crate) const SECRET: &str = "e2e-shared-secret-6f1d0c";

/// What a gateway is to be started with.
pub(crate) struct Setup {
    config: String,
    secret: Option<&'static str>,
    tls: bool,
    metrics: bool,
    state_dir: Option<PathBuf>,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Setup {
    /// TOML that is added to the configuration file.
    pub(crate) fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }

    /// Configures no shared secret at all.
    pub(crate) fn without_secret(mut self) -> Self {
        self.secret = None;
        self
    }

    /// Serves TLS, with a certificate made for this gateway.
    pub(crate) fn tls(mut self, on: bool) -> Self {
        self.tls = on;
        self
    }

    /// Serves the metrics page.
    pub(crate) fn metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// Keeps the state in this directory instead of a fresh one.
    pub(crate) fn state_dir(mut self, path: &Path) -> Self {
        self.state_dir = Some(path.to_owned());
        self
    }

    /// Puts this disk between the gateway and its kernel.
    pub(crate) fn disk(mut self, shim: &FsyncShim) -> Self {
        self.environment.extend(shim.environment());
        self
    }

    /// Lets this decide when the hub hangs.
    pub(crate) fn hub(mut self, shim: &HubShim) -> Self {
        self.environment.extend(shim.environment());
        self
    }

    /// Sets a variable in the gateway's environment.
    pub(crate) fn environment(mut self, name: &'static str, value: impl Into<PathBuf>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Starts the gateway and waits until it says that it listens.
    #[track_caller]
    pub(crate) fn start(self) -> Gateway {
        let dir = TempDir::new();
        let tls = self.tls.then(|| TestTls::new(&dir));
        let mut config = self.config;
        if let Some(tls) = &tls {
            config.push_str(&format!(
                "[gateway.tls]\nenabled = true\ncertFile = {:?}\nkeyFile = {:?}\n",
                tls.cert_file, tls.key_file
            ));
        }
        let config_file = dir.write("config.toml", &config);
        let state_dir = self.state_dir.unwrap_or_else(|| dir.path().join("state"));
        let mut command = binary();
        command.arg("--config").arg(config_file).arg("--state-dir").arg(state_dir);
        command.args(["--bind", "127.0.0.1", "--port", "0"]);
        if self.metrics {
            command.args(["--metrics-port", "0"]);
        }
        if let Some(secret) = self.secret {
            command.env("OPENCLAW_GATEWAY_TOKEN", secret);
        }
        command.envs(self.environment);
        let process = Process::start(&mut command);
        Gateway { process, command, tls, dir }
    }
}

/// The binary under test, with nothing of our own environment that it would listen to.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openclaw-gateway"));
    for name in ["OPENCLAW_CONFIG", "OPENCLAW_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_URL", "LOG_LEVEL"] {
        command.env_remove(name);
    }
    command
}

/// A running gateway with its configuration and state. Ended on drop: TERM, wait, KILL, wait.
pub(crate) struct Gateway {
    // Fields drop in this order: the process goes before its directory.
    process: Process,
    command: Command,
    tls: Option<TestTls>,
    dir: TempDir,
}

impl Gateway {
    /// A plain gateway with the shared secret [`SECRET`] and defaults for the rest.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::setup().start()
    }

    /// The same, to be changed before it starts.
    pub(crate) fn setup() -> Setup {
        let config = "[gateway.metrics]\nenabled = false\n".to_owned();
        Setup {
            config,
            secret: Some(SECRET),
            tls: false,
            metrics: false,
            state_dir: None,
            environment: Vec::new(),
        }
    }

    /// Runs the binary with `--check` on this configuration text and these further arguments.
    pub(crate) fn check(config: &str, arguments: &[&str]) -> Output {
        Self::check_file("config.toml", config, arguments)
    }

    /// The same for a file of another name.
    pub(crate) fn check_file(name: &str, config: &str, arguments: &[&str]) -> Output {
        let dir = TempDir::new();
        let file = dir.write(name, config);
        let state_dir = dir.path().join("state");
        let mut command = binary();
        command.current_dir(dir.path());
        command.arg("--check").arg("--config").arg(file).arg("--state-dir").arg(state_dir);
        command.args(arguments).output().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address
    }

    /// The certificate of the authority that signed the gateway's, as PEM.
    pub(crate) fn ca_file(&self) -> &Path {
        &self.tls.as_ref().expect("a gateway with TLS").ca_file
    }

    /// Another certificate of the same authority in the gateway's files, which it has not read yet.
    pub(crate) fn renew_certificate(&self) -> CertificateDer<'static> {
        self.tls.as_ref().expect("a gateway with TLS").renew()
    }

    /// The certificate that a new connection is shown.
    #[track_caller]
    pub(crate) fn served_certificate(&self) -> CertificateDer<'static> {
        let tls = self.tls.as_ref().expect("a gateway with TLS");
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::clone(&tls.client), name).unwrap();
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        while client.is_handshaking() {
            client.complete_io(&mut stream).unwrap();
        }
        client.peer_certificates().unwrap()[0].clone().into_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// The first line on stdout.
    pub(crate) fn announcement(&self) -> &Value {
        &self.process.announcement
    }

    /// The directory that holds the configuration and, unless it was set, the state.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Everything on stderr so far.
    pub(crate) fn diagnostics(&self) -> String {
        self.process.stderr.lock().unwrap().clone()
    }

    /// A connection about to be opened.
    pub(crate) fn dial(&self) -> Dial {
        Dial::new(self.address(), self.tls.as_ref().map(|tls| Arc::clone(&tls.client)))
    }

    /// Where the control socket is.
    pub(crate) fn control_path(&self) -> PathBuf {
        self.dir().join("state/control.sock")
    }

    /// A connection to the control socket, about to be opened.
    pub(crate) fn dial_control(&self) -> Dial {
        Dial::control(self.control_path())
    }

    /// The owner, over the control socket.
    #[track_caller]
    pub(crate) fn owner(&self) -> Client {
        let mut client = self.dial_control().open();
        client.admitted(&Connect::bare());
        client
    }

    /// An operator with every scope: the shared secret and no device.
    #[track_caller]
    pub(crate) fn operator(&self) -> Client {
        let mut client = self.dial().open();
        client.admitted(&Connect::backend());
        client
    }

    /// An agent of this name on this device; a new device registers the name.
    #[track_caller]
    pub(crate) fn agent(&self, name: &str, device: &Device) -> Client {
        let mut client = self.dial().open();
        client.admitted(&Connect::agent(name, device));
        client
    }

    /// Asks the gateway to stop, as a service manager does.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Asks the gateway to stop, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.process.signal(Signal::INT);
    }

    /// Asks the gateway to read its configuration again, as a service manager does.
    pub(crate) fn hang_up(&self) {
        self.process.signal(Signal::HUP);
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub(crate) fn exit_status(&mut self, patience: Duration) -> ExitStatus {
        self.process.wait(patience).unwrap_or_else(|| panic!("still running after {patience:?}"))
    }

    /// Ends the process at once: no warning, no flush.
    pub(crate) fn kill_9(&mut self) {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
    }

    /// Starts it again after it has ended, with the same configuration and state.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.wait(Duration::ZERO).is_some(), "still running");
        self.process = Process::start(&mut self.command);
    }

    /// The same on the port that it had, so that whoever was connected finds it again.
    #[track_caller]
    pub(crate) fn start_again_on(&mut self, port: u16) {
        self.command.args(["--port", &port.to_string()]);
        self.start_again();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.process.end();
        if std::thread::panicking() {
            let config = std::fs::read_to_string(self.dir.path().join("config.toml"));
            eprintln!("--- gateway: {:?}", self.command);
            eprintln!("--- configuration:\n{}", config.unwrap_or_default());
            eprintln!("--- announcement: {}", self.process.announcement);
            eprintln!("--- stderr:\n{}", self.process.stderr.lock().unwrap());
        }
    }
}

/// One run of the binary.
struct Process {
    child: Child,
    announcement: Value,
    address: SocketAddr,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    #[track_caller]
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let collector = collect(child.stderr.take().unwrap(), Arc::clone(&stderr));
        let (line, reader) = first_line(child.stdout.take().unwrap());
        let readers = vec![collector, reader];
        let announced = line.recv_timeout(PATIENCE);
        let announcement = announced
            .as_deref()
            .map_err(RecvTimeoutError::to_string)
            .and_then(|line| serde_json::from_str(line).map_err(|error| error.to_string()))
            .unwrap_or(Value::Null);
        let address = address_in(&announcement);
        let mut process = Self {
            child,
            announcement,
            address: address.unwrap_or_else(|| SocketAddr::from(([0; 4], 0))),
            stderr,
            readers,
        };
        if address.is_none() {
            process.end();
            let stderr = process.stderr.lock().unwrap();
            panic!(
                "{command:?} announced {announced:?} and not that it listens; stderr:\n{stderr}"
            );
        }
        process
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.readers.drain(..).for_each(|reader| reader.join().unwrap());
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// TERM, wait, KILL, wait. Does nothing to a process that has been waited for.
    fn end(&mut self) {
        if self.wait(Duration::ZERO).is_some() {
            return;
        }
        self.signal(Signal::TERM);
        if self.wait(PATIENCE).is_none() {
            eprintln!("the gateway outlived TERM by {PATIENCE:?}");
            self.child.kill().unwrap();
            self.wait(PATIENCE);
        }
    }
}

fn address_in(announcement: &Value) -> Option<SocketAddr> {
    let url = announcement["url"].as_str()?;
    let (_scheme, rest) = url.split_once("://")?;
    rest.trim_end_matches('/').parse().ok()
}

/// Sends the first line on; whatever follows it on stdout breaks the promise of a single line.
fn first_line(stdout: impl Read + Send + 'static) -> (Receiver<String>, JoinHandle<()>) {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let reader = std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        if let Some(line) = lines.next() {
            let _nobody_waits = sender.send(line);
        }
        let rest: Vec<_> = lines.collect();
        assert!(rest.is_empty(), "more than one line on stdout: {rest:?}");
    });
    (receiver, reader)
}

fn collect(stderr: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut text = into.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    })
}
