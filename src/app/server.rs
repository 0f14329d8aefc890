//! Puts the gateway together, runs it, and takes it down in order.
//!
//! Owns the order of start and stop, and nothing else. The port listens only once everything
//! behind it is ready, so that whatever answers can serve.
//! Called by `app::run`.

use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, tick};

use super::announce;
use super::args::Args;
use super::check::{Identity, load_tls};
use super::config::Config;
use super::config::error::{ConfigError, ConfigErrors};
use super::error::StartError;
use super::metrics;
use super::reload::{self, Live, Reloader};
use crate::base::limits::{END_GRACE, HUB_INBOX_MAX, STORE_REPORTS_MAX, WATCHDOG_INTERVAL};
use crate::base::secret::Secret;
use crate::hub::Hub;
use crate::hub::input::Input;
use crate::hub::records::DurableState;
use crate::protocol::origin::OriginPolicy;
use crate::protocol::peer::ProxyPolicy;
use crate::shell::audit::Audit;
use crate::shell::bounds::{Bounds, ConnectionLimits};
use crate::shell::capacity::{Capacity, Machine};
use crate::shell::children::{self, Children, ChildrenSetup, ChildrenThread, Unheard};
use crate::shell::clock;
use crate::shell::control_socket::{CONTROL_SOCKET, ControlSocket};
use crate::shell::diagnostics::Diagnostics;
use crate::shell::dialogue::Shared;
use crate::shell::ending::Ending;
use crate::shell::fanout;
use crate::shell::flusher::FlusherThread;
use crate::shell::hub_thread::{HubThread, Inbound, Told};
use crate::shell::listener::{self, Listener, ListenerSetup};
use crate::shell::metrics::{Metrics, MetricsPage};
use crate::shell::own_process;
use crate::shell::readiness::Readiness;
use crate::shell::refusals::Refusals;
use crate::shell::registry::Registry;
use crate::shell::service::{GatewayService, OwnerService, ReloadRequest};
use crate::shell::service_manager::ServiceManager;
use crate::shell::signals::{self, StopSignal};
use crate::shell::signing_habits::SigningHabits;
use crate::shell::store::{SnapshotSource, Store, StoreHandle, StoreReport};
use crate::shell::tls::TlsSlot;
use crate::shell::watchdog::Watchdog;

/// What the main thread waits for.
enum Wake {
    /// A signal.
    Signal(StopSignal),
    /// The hub has closed every connection and committed everything; its store.
    Finished(StoreHandle),
    /// The configuration was read again, or was not good.
    Reloaded,
    /// Connections are joined and the store is closed.
    Gathered,
    /// This thread panicked: what the hub knows is not to be trusted any more.
    Broken(&'static str),
}

/// What the main thread works with once everything runs.
struct Running {
    shared: Arc<Shared>,
    listener: Listener,
    control: ControlSocket,
    watchdog: Watchdog,
    ending: Ending,
    _page: Option<MetricsPage>,
    manager: ServiceManager,
    reloads: Sender<ReloadRequest>,
    /// What the service manager was told last.
    status: String,
}

impl Running {
    /// Where the gateway listens, and why it is not ready if it is not; or that it stops.
    fn describe(&self) -> String {
        if self.shared.readiness.is_draining() {
            return "stopping".to_owned();
        }
        let mut status = format!("listening on {}", self.listener.address());
        if let Some(reason) = self.shared.readiness.not_ready() {
            status.push_str(&format!(", not ready: {reason}"));
        }
        status
    }

    /// SIGHUP. The service manager waits for the end of whatever it was told began.
    fn reload(&self) {
        self.shared.refusals.audit().reopen();
        self.manager.reloading();
        if !reload::ask(&self.reloads) {
            log::warn!("SIGHUP: enough reloads wait already, which will read the same");
            self.manager.ready(&self.status);
        }
    }

    /// What is done every `WATCHDOG_INTERVAL`.
    fn look(&mut self) {
        self.watchdog.look();
        self.shared.refusals.summarise();
        let status = self.describe();
        if status != self.status {
            self.manager.status(&status);
            self.status = status;
        }
    }
}

/// Starts the gateway, runs it until it is told to stop, and stops it.
pub(super) fn serve(
    config: &Config,
    args: &Args,
    diagnostics: &Diagnostics,
) -> Result<(), StartError> {
    let (wake, woken) = bounded(WAKES_MAX);
    let signalled = wake.clone();
    // First of all, so that a stop that is asked for during the start is one.
    let _signals = signals::watch(move |signal| drop(signalled.send(Wake::Signal(signal))))
        .map_err(io_error("cannot listen for signals"))?;
    own_process::hide_memory().map_err(io_error("cannot keep its memory to itself"))?;
    let open_files = own_process::open_files();
    let readiness = Arc::new(Readiness::new(clock::instant()));
    let limits = connection_limits(config, &Machine::read().capacity(config.spawn.concurrent_max))?;
    let identity = load_tls(&config.tls)?.inspect(Identity::warn);
    let (store, state) = Store::open(&config.state_dir, config.durability)?;
    let socket = listen(config)?;
    let metrics_socket = metrics::bind(config)?;
    let metrics = Arc::new(Metrics::default());
    let refusals = Arc::new(Refusals::new(start_audit(config)?));

    let pairing_code = announce::pairing_code(config, &state).map_err(no_randomness)?;
    let hub = new_hub(config, state, pairing_code.as_ref())?;

    let (inbox, hub_inbox) = bounded(HUB_INBOX_MAX);
    let address = socket.local_addr().map_err(io_error("cannot tell its own address"))?;
    let setup = ChildrenSetup::own(announce::url_for_children(address, config), open_files);
    let (children, reaper) = start_children(setup, inbox.clone(), wake.clone())?;
    let store = store.measured_by(Arc::clone(&metrics));
    let told = Told { readiness: Arc::clone(&readiness), metrics: Arc::clone(&metrics), refusals };
    let snapshots = start_hub(hub, store, children, hub_inbox, told.clone(), wake.clone())?;
    readiness.wait_for_start(clock::instant() + START_GRACE);
    let flusher = FlusherThread::start().map_err(io_error("cannot start the flusher"))?;
    let registry = Registry::new();
    let bounds = Bounds::new(limits);
    let owner_bounds = Bounds::new(limits.of_owner(config.limits.message_bytes_max));
    let shared = Arc::new(shared(config, inbox.clone(), Arc::clone(&bounds), told));
    let service = service(config, Arc::clone(&shared));
    let identity = identity.map(|loaded| (TlsSlot::new(loaded.config), loaded.digest));
    let setup = ListenerSetup {
        bounds,
        metrics,
        tls: identity.as_ref().map(|(slot, _)| Arc::clone(slot)),
        gap_frame: fanout::gap_frame,
        flusher: flusher.handle(),
        registry: Arc::clone(&registry),
    };
    let gathered = wake.clone();
    let watchdog = Watchdog::new(inbox.clone(), readiness);
    let gathered = move || drop(gathered.send(Wake::Gathered));
    let ending = Ending::start(inbox, Arc::clone(&registry), reaper, gathered)
        .map_err(io_error("cannot start the thread for the end"))?;
    let live = Live::new(&shared, &owner_bounds, identity, diagnostics);
    let reloads = start_reloads(config, args, live, wake)?;
    let gateway = Arc::clone(&service);
    let owner = OwnerService { gateway, snapshots, reloads: reloads.clone() };
    let control = start_control(config, owner, &setup, owner_bounds)?;
    let listener =
        Listener::start(socket, service, setup).map_err(io_error("cannot start the listener"))?;
    let page = metrics::start(metrics_socket, &shared, registry)?;
    let metrics_address = page.as_ref().map(MetricsPage::address);
    announce::listening(listener.address(), metrics_address, config, pairing_code.as_ref())
        .map_err(io_error("cannot say that the gateway listens"))?;

    run(
        &woken,
        Running {
            shared,
            listener,
            control,
            watchdog,
            ending,
            _page: page,
            manager: ServiceManager::from_environment(),
            reloads,
            status: String::new(),
        },
    )
}

/// Says that the gateway is ready, and runs it to its end.
fn run(woken: &Receiver<Wake>, mut running: Running) -> Result<(), StartError> {
    running.status = running.describe();
    running.manager.ready(&running.status);
    let refusals = Arc::clone(&running.shared.refusals);
    let stopped = wait_and_stop(woken, running);
    refusals.finish();
    stopped
}

/// The hub as the configuration and the disk have it.
fn new_hub(
    config: &Config,
    state: DurableState,
    pairing_code: Option<&Secret>,
) -> Result<Hub, StartError> {
    let policy = config.policy(env!("CARGO_PKG_VERSION"), pairing_code.map(Secret::hash));
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(no_randomness)?;
    Ok(Hub::new(policy, state, seed, clock::moment()))
}

/// Starts the thread that reads the configuration again; returns how it is asked to.
fn start_reloads(
    config: &Config,
    args: &Args,
    live: Live,
    wake: Sender<Wake>,
) -> Result<Sender<ReloadRequest>, StartError> {
    let (reloads, requests) = bounded(reload::REQUESTS_MAX);
    let (args, config) = (args.clone(), config.clone());
    Reloader { args, config, live }
        .start(requests, move || drop(wake.send(Wake::Reloaded)))
        .map_err(io_error("cannot start the thread for reloads"))?;
    Ok(reloads)
}

/// Starts the owner's door.
fn start_control(
    config: &Config,
    owner: OwnerService,
    setup: &ListenerSetup,
    bounds: Arc<Bounds>,
) -> Result<ControlSocket, StartError> {
    let path = config.state_dir.join(CONTROL_SOCKET);
    ControlSocket::start(&config.state_dir, Arc::new(owner), setup, bounds)
        .map_err(io_error(format_args!("cannot listen on {}", path.display())))
}

/// Starts recording, if that is wanted.
fn start_audit(config: &Config) -> Result<Audit, StartError> {
    let Some(setup) = config.audit.setup() else { return Ok(Audit::default()) };
    let file = setup.file.display();
    Audit::start(setup).map_err(io_error(format_args!("cannot write to audit.logFile, {file}")))
}

/// How long the first commit may take before the port listens all the same, not ready.
const START_GRACE: Duration = Duration::from_secs(5);

/// Signals and the hub's end; a signal that finds no room has one before it that was not seen yet.
const WAKES_MAX: usize = 8;

/// Waits for the first signal, stops in order, and returns when everything is committed and
/// closed; at once on a second signal, and in any case within `END_GRACE` of the first. Never waits
/// for anything but the next thing to happen.
fn wait_and_stop(woken: &Receiver<Wake>, mut running: Running) -> Result<(), StartError> {
    let mut deadline = never();
    let mut watch = tick(WATCHDOG_INTERVAL);
    let mut signs = running.manager.sign_interval().map_or_else(never, tick);
    loop {
        let wake = select! {
            recv(watch) -> _ => {
                running.look();
                continue;
            }
            recv(signs) -> _ => {
                if running.watchdog.has_progressed() {
                    running.manager.alive();
                }
                continue;
            }
            recv(woken) -> wake => wake.unwrap_or(Wake::Broken("hub")),
            recv(deadline) -> _ => return Err(StartError::Other(format!(
                "did not stop within {} s, ended without waiting for the rest; \
                 what was answered is kept",
                END_GRACE.as_secs()
            ))),
        };
        match wake {
            Wake::Signal(StopSignal::Stop(signal)) => {
                log::info!("{signal}: stopping");
                deadline = after(END_GRACE);
                running.shared.readiness.drain();
                running.status = running.describe();
                running.manager.stopping(&running.status);
                running.listener.stop();
                running.control.stop();
                running.ending.ask("service restart".to_owned());
            }
            Wake::Signal(StopSignal::Reload) => running.reload(),
            // It has been told that the gateway stops.
            Wake::Reloaded if running.shared.readiness.is_draining() => {}
            Wake::Reloaded => running.manager.ready(&running.status),
            Wake::Signal(StopSignal::StopNow) => {
                return Err(StartError::Other("stopped at once by a second signal".to_owned()));
            }
            Wake::Finished(store) => {
                // There is no hub to watch any more.
                watch = never();
                signs = never();
                running.ending.gather(store);
            }
            Wake::Gathered => return Ok(()),
            Wake::Broken(thread) => {
                let problem = format!("the {thread} thread panicked; this is a bug");
                return Err(StartError::Other(problem));
            }
        }
    }
}

/// Starts the threads that look after child processes; what they tell goes to the hub's inbox.
fn start_children(
    setup: ChildrenSetup,
    inbox: Sender<Inbound>,
    wake: Sender<Wake>,
) -> Result<(Children, ChildrenThread), StartError> {
    let tell = move |news| {
        let told = inbox.send(Inbound::Input(Input::Child(Box::new(news))));
        told.map_err(|_hub_has_gone| Unheard)
    };
    children::start(setup, Box::new(tell), move || drop(wake.send(Wake::Broken("reaper"))))
        .map_err(io_error("cannot start the threads for child processes"))
}

/// Starts the store, fan-out and hub threads; `wake` hears of the hub's end. Returns where
/// snapshots of the store are taken.
fn start_hub(
    hub: Hub,
    store: Store,
    children: Children,
    inbox: Receiver<Inbound>,
    told: Told,
    wake: Sender<Wake>,
) -> Result<SnapshotSource, StartError> {
    let (report, reports) = bounded(STORE_REPORTS_MAX);
    let store = store
        .start(move |told| {
            // A hub that is gone asks for nothing any more.
            let _gone = report.send(match told {
                StoreReport::Stored(ticket) => Input::Stored(ticket),
                StoreReport::Failed { ticket, error } => Input::StoreFailed { ticket, error },
                StoreReport::Recovered => Input::StoreRecovered,
            });
        })
        .map_err(io_error("cannot start the store thread"))?;
    let fanout = fanout::start(Arc::clone(&told.metrics))
        .map_err(io_error("cannot start the fan-out thread"))?;
    let snapshots = store.snapshots();
    HubThread::new(hub, inbox, reports, fanout, store, children, told)
        .start(move |end| drop(wake.send(end.map_or(Wake::Broken("hub"), Wake::Finished))))
        .map_err(io_error("cannot start the hub thread"))?;
    Ok(snapshots)
}

fn shared(config: &Config, inbox: Sender<Inbound>, bounds: Arc<Bounds>, told: Told) -> Shared {
    Shared {
        inbox,
        bounds,
        origins: origins(config).into(),
        readiness: told.readiness,
        device_auth_required: config.auth.device.enabled && config.auth.device.require_signature,
        refusals: told.refusals,
        metrics: told.metrics,
        habits: SigningHabits::default(),
    }
}

/// Which pages may connect.
pub(super) fn origins(config: &Config) -> OriginPolicy {
    let ui = &config.control_ui;
    OriginPolicy::new(ui.enabled, &ui.allowed_origins, config.public_hosts.clone())
}

fn service(config: &Config, shared: Arc<Shared>) -> Arc<GatewayService> {
    let (trusted, public_hosts) = (config.trusted_proxies.clone(), config.public_hosts.clone());
    Arc::new(GatewayService { shared, proxies: ProxyPolicy { trusted, public_hosts } })
}

/// The limits as configured; a number of connections that the machine cannot carry is refused.
pub(super) fn connection_limits(
    config: &Config,
    machine: &Capacity,
) -> Result<ConnectionLimits, StartError> {
    let limits = &config.limits;
    if let Some(asked) = limits.connections_max.as_ref().filter(|n| n.value > machine.connections) {
        let problem = format!("found {}; {machine}", asked.value);
        let errors = ConfigError::new(&asked.place, "gateway.limits.connections", problem);
        return Err(ConfigErrors::from(errors).into());
    }
    let connections = limits.connections_max.as_ref().map_or(machine.connections, |n| n.value);
    Ok(ConnectionLimits {
        connections,
        connections_per_address: limits.connections_per_address_max,
        handshake: limits.handshake,
        preauth_connections: limits.preauth_connections_max,
        // Half, so that one address cannot keep everybody else out.
        preauth_connections_per_address: limits.preauth_connections_max.div_ceil(2),
        preauth_bytes: limits.preauth_bytes_max,
        backlog_bytes: limits.backlog_bytes_max,
        inbound_bytes_total: limits.inbound_bytes_total_max,
        backlog_bytes_total: limits.backlog_bytes_total_max,
    })
}

fn listen(config: &Config) -> Result<TcpListener, StartError> {
    let place = SocketAddr::new(config.bind, config.port);
    let keys = ["--port or gateway.port", "--bind or gateway.bind"];
    listener::bind(place).map_err(|why| StartError::cannot_listen(place, &why, keys))
}

fn io_error(what: impl Display) -> impl FnOnce(io::Error) -> StartError {
    let what = what.to_string();
    move |source| StartError::Io { what, source }
}

fn no_randomness(error: getrandom::Error) -> StartError {
    StartError::Other(format!("the system gives no randomness: {error}"))
}
