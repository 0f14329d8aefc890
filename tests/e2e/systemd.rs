//! What a service manager hears on `NOTIFY_SOCKET`, with the test in systemd's place.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::kit::{Gateway, PATIENCE, TempDir};

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

    #[track_caller]
    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a notification");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Passes over signs of life.
    #[track_caller]
    fn next_but_watchdog(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let heard = self.next();
            if heard.trim_end() != "WATCHDOG=1" {
                return heard;
            }
            assert!(Instant::now() < deadline, "nothing but signs of life");
        }
    }
}

#[test]
fn service_manager_hears_ready_signs_of_life_and_stopping_in_this_order() {
    let manager = Manager::new();
    let mut gateway = Gateway::setup()
        .environment("NOTIFY_SOCKET", manager.dir.path().join("notify"))
        .environment("WATCHDOG_USEC", "600000")
        .start();
    let ready = manager.next();
    let address = gateway.address();
    assert_eq!(ready.trim_end(), format!("READY=1\nSTATUS=listening on {address}"));
    // Whoever was told READY is served.
    gateway.operator();

    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(manager.next().trim_end(), "WATCHDOG=1");
    }
    // Three signs at a third of 600 ms each: never later than the manager's patience.
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());

    gateway.terminate();
    assert_eq!(manager.next_but_watchdog().trim_end(), "STOPPING=1\nSTATUS=stopping");
    assert!(gateway.exit_status(PATIENCE).success());
}

#[test]
fn manager_that_asks_for_no_signs_of_life_gets_none() {
    let manager = Manager::new();
    let mut gateway =
        Gateway::setup().environment("NOTIFY_SOCKET", manager.dir.path().join("notify")).start();
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
    assert!(gateway.diagnostics().contains("cannot tell the service manager"));
}
