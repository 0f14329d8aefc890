//! What a service manager hears on `NOTIFY_SOCKET`, with the test in systemd's place.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::kit::{
    Device, FsyncShim, Gateway, HubShim, PATIENCE, Setup, TempDir, entries, eventually,
};

const ALIVE: &str = "WATCHDOG=1";

/// The gateway looks every 10 s how it is; what it finds at one look it may know only at the next.
const TWO_LOOKS: Duration = Duration::from_secs(20);

/// The receiving end of the notification protocol.
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = TempDir::new();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, dir }
    }

    /// The socket as the gateway is told of it.
    fn setup(&self) -> Setup {
        Gateway::setup().environment("NOTIFY_SOCKET", self.dir.path().join("notify"))
    }

    /// What is heard within this time.
    fn hear(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                Some(String::from_utf8(buffer[..length].to_vec()).unwrap().trim_end().to_owned())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    fn next(&self) -> String {
        self.hear(PATIENCE).expect("a notification")
    }

    /// Passes over signs of life; returns what comes after them, and how many they were.
    #[track_caller]
    fn next_but_alive(&self, patience: Duration) -> (String, usize) {
        let deadline = Instant::now() + patience;
        let mut signs = 0;
        loop {
            let heard = self.next();
            if heard != ALIVE {
                return (heard, signs);
            }
            signs += 1;
            assert!(Instant::now() < deadline, "nothing but signs of life");
        }
    }
}

#[test]
fn service_manager_hears_ready_signs_of_life_and_stopping_in_this_order() {
    let manager = Manager::new();
    let mut gateway = manager.setup().environment("WATCHDOG_USEC", "600000").start();
    let ready = manager.next();
    let address = gateway.address();
    assert_eq!(ready, format!("READY=1\nSTATUS=listening on {address}"));
    // Whoever was told READY is served.
    gateway.operator();

    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(manager.next(), ALIVE);
    }
    // Three signs at a third of 600 ms each: never later than the manager's patience.
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());

    gateway.terminate();
    assert_eq!(manager.next_but_alive(PATIENCE).0, "STOPPING=1\nSTATUS=stopping");
    assert!(gateway.exit_status(PATIENCE).success());
}

#[test]
fn manager_that_asks_for_no_signs_of_life_gets_none() {
    let manager = Manager::new();
    let mut gateway = manager.setup().start();
    assert!(manager.next().starts_with("READY=1\n"));
    gateway.terminate();
    assert!(manager.next().starts_with("STOPPING=1\n"));
    assert!(gateway.exit_status(PATIENCE).success());
}

#[test]
fn manager_that_is_gone_does_not_keep_the_gateway_from_starting() {
    let dir = TempDir::new();
    let gateway = Gateway::setup().environment("NOTIFY_SOCKET", dir.path().join("nobody")).start();
    gateway.operator();
    eventually("it is said", PATIENCE, || {
        gateway.diagnostics().contains("cannot tell the service manager").then_some(())
    });
}

#[test]
fn reload_is_announced_and_its_end_too_whether_it_was_good_or_not() {
    let manager = Manager::new();
    let gateway = manager.setup().start();
    let ready = manager.next();
    assert!(ready.starts_with("READY=1\n"), "{ready}");
    let now = || match NotifyState::monotonic_usec_now().unwrap() {
        NotifyState::MonotonicUsec(now) => now,
        other => panic!("{other}"),
    };
    for configuration in ["[gateway.metrics]\nenabled = false\n", "nonsense = true\n"] {
        std::fs::write(gateway.dir().join("config.toml"), configuration).unwrap();
        let before = now();
        gateway.hang_up();
        let reloading = manager.next();
        let time = reloading
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .and_then(|rest| rest.strip_suffix("\nSTATUS=reloading"))
            .unwrap_or_else(|| panic!("{reloading}"));
        // By this time a manager tells an old announcement from the one that it asked for.
        assert!((before..=now()).contains(&time.parse().unwrap()), "{reloading}");
        assert_eq!(manager.next(), ready);
    }
}

/// A secret on a disk that hangs holds one reload up, and four wait behind it.
#[test]
fn reload_that_there_is_no_room_for_is_over_at_once() {
    let manager = Manager::new();
    let mut gateway = manager.setup().start();
    let ready = manager.next();
    let slow = gateway.dir().join("secret");
    assert!(Command::new("mkfifo").arg("-m0600").arg(&slow).status().unwrap().success());
    let configuration = format!("[gateway.auth]\npasswordFile = {slow:?}\n");
    std::fs::write(gateway.dir().join("config.toml"), configuration).unwrap();
    let mut is_over = false;
    for _ in 0..6 {
        gateway.hang_up();
        let mut heard = manager.next();
        // The first may not have been taken up yet when the fifth came.
        if heard == ready {
            is_over = true;
            heard = manager.next();
        }
        assert!(heard.starts_with("RELOADING=1\n"), "{heard}");
    }
    assert!(is_over || manager.next() == ready);
    gateway.terminate();
    while !manager.next().starts_with("STOPPING=1\n") {}
    assert!(gateway.exit_status(PATIENCE).success());
}

#[test]
fn hub_that_hangs_gives_no_sign_of_life_until_it_goes_on() {
    let hub = match HubShim::build() {
        Ok(hub) => hub,
        Err(why) => skip!("hub_that_hangs_gives_no_sign_of_life_until_it_goes_on", &why),
    };
    let manager = Manager::new();
    let gateway = manager.setup().hub(&hub).environment("WATCHDOG_USEC", "600000").start();
    let ready = manager.next();
    assert_eq!(manager.next(), ALIVE);

    hub.hang(true);
    let (status, signs) = manager.next_but_alive(TWO_LOOKS + PATIENCE);
    let listening = ready.strip_prefix("READY=1\n").unwrap();
    assert_eq!(status, format!("{listening}, not ready: the hub makes no progress"));
    // One may be for what the hub did before, and one was under way; of some fifty in this time.
    assert!(signs <= 2, "{signs}");
    // Only the hub hangs: whoever asks is told.
    assert_eq!(gateway.http("GET", "/healthz").status, 200);
    assert_eq!(gateway.http("GET", "/readyz").status, 503);

    hub.hang(false);
    assert_eq!(manager.next(), ALIVE);
    assert_eq!(manager.next_but_alive(TWO_LOOKS + PATIENCE).0, listening);
    gateway.operator();
}

#[test]
fn status_says_why_the_gateway_is_not_ready() {
    let disk = match FsyncShim::build() {
        Ok(disk) => disk,
        Err(why) => skip!("status_says_why_the_gateway_is_not_ready", &why),
    };
    let manager = Manager::new();
    let gateway = manager.setup().disk(&disk).start();
    let ready = manager.next();
    let listening = ready.strip_prefix("READY=1\n").unwrap();
    let mut agent = gateway.agent("agent1", &Device::new());
    disk.fail(true);
    assert_eq!(agent.request("logs.append", entries(["refused"]))["ok"], false);
    assert_eq!(manager.next(), format!("{listening}, not ready: the store takes no writes"));
    disk.fail(false);
    assert_eq!(manager.next(), listening);
}

#[test]
fn status_of_a_stop_that_takes_long_is_that_it_stops() {
    let hub = match HubShim::build() {
        Ok(hub) => hub,
        Err(why) => skip!("status_of_a_stop_that_takes_long_is_that_it_stops", &why),
    };
    let manager = Manager::new();
    let mut gateway = manager.setup().hub(&hub).start();
    assert!(manager.next().starts_with("READY=1\n"));
    hub.hang(true);
    gateway.terminate();
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=stopping");
    // The gateway looks at itself twice until it gives up.
    assert_eq!(gateway.exit_status(TWO_LOOKS + PATIENCE).code(), Some(1));
    assert_eq!(manager.hear(Duration::from_millis(1)), None);
}
