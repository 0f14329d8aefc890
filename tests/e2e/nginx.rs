//! Debian's nginx in front of the gateway, with the packaged configuration.
//!
//! TLS ends at nginx, the gateway is plain behind it. Only paths, certificates and addresses of the
//! packaged file are replaced. nginx takes over a socket that the test has bound, as it does from
//! its own predecessor in an upgrade, so that no port has to be guessed.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

use crate::kit::{
    Answer, Client, Connect, Device, Dial, Gateway, Heard, PATIENCE, TempDir, TestTls, eventually,
    exchange,
};

const NGINX: &str = "/usr/sbin/nginx";
const PACKAGED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/nginx/openclaw-gateway.conf");

/// Leaves the test where there is no nginx.
macro_rules! needs_nginx {
    ($name:expr) => {
        if !Path::new(NGINX).is_file() {
            skip!($name, "nginx is missing (apt-get install nginx)");
        }
    };
}

/// A gateway behind nginx. Both end on drop.
struct Site {
    nginx: Child,
    address: SocketAddr,
    tls: TestTls,
    gateway: Gateway,
    dir: TempDir,
}

impl Site {
    #[track_caller]
    fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// With these texts of the packaged file replaced, beside those that must be.
    #[track_caller]
    fn start_with(config: &str, more: &[(&str, &str)]) -> Self {
        let proxies =
            "[gateway]\ntrustedProxies = [\"127.0.0.1\"]\npublicHosts = [\"127.0.0.1\"]\n";
        let dir = TempDir::new();
        let audit = dir.path().join("audit.log");
        let audit = format!("[audit]\nenabled = true\nlogFile = {audit:?}");
        let gateway = Gateway::setup().config(proxies).config(&audit).config(config).start();
        let tls = TestTls::new(&dir);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut replacements = vec![
            ("server 127.0.0.1:8080;", format!("server {};", gateway.address())),
            ("listen 443 ssl", format!("listen {address} ssl")),
            ("gateway.example.com;", "127.0.0.1;".to_owned()),
            (
                "/etc/letsencrypt/live/gateway.example.com/fullchain.pem",
                tls.cert_file.display().to_string(),
            ),
            (
                "/etc/letsencrypt/live/gateway.example.com/privkey.pem",
                tls.key_file.display().to_string(),
            ),
            ("/var/log/nginx/openclaw-gateway.log", dir.path().join("log").display().to_string()),
        ];
        replacements.extend(more.iter().map(|(from, to)| (*from, (*to).to_owned())));
        let site = packaged(&replacements);
        dir.write("site.conf", &site);
        let whole = "pid nginx.pid;\nerror_log stderr notice;\nworker_processes 1;\ndaemon off;\n\
                     events { worker_connections 256; }\nhttp {\n  client_body_temp_path body;\n  \
                     proxy_temp_path proxy;\n  fastcgi_temp_path fastcgi;\n  uwsgi_temp_path \
                     uwsgi;\n  scgi_temp_path scgi;\n  include site.conf;\n}\n";
        let config = dir.write("nginx.conf", whole);
        let stderr = fs::File::create(dir.path().join("stderr")).unwrap();
        let nginx = Command::new(NGINX)
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(config)
            .args(["-e", "stderr"])
            // "Listening sockets that you inherit: descriptor 0."
            .env("NGINX", "0;")
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut site = Self { nginx, address, tls, gateway, dir };
        eventually("nginx answers", PATIENCE, || {
            let ended = site.nginx.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", site.file("stderr"));
            (get(&site.dial("127.0.0.1"), "/health").status == 200).then_some(())
        });
        site
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    /// The audit file's lines of this event come to be of these addresses.
    #[track_caller]
    fn audits<const N: usize>(&self, event: &str, peers: [&str; N]) {
        eventually(&format!("{event} of {peers:?}"), PATIENCE, || {
            let text = self.file("audit.log");
            // The last line may be on its way.
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let of_event = lines.filter(|line| line["event"] == event);
            let found = of_event.map(|line| line["peer"].as_str().unwrap().to_owned());
            (found.collect::<BTreeSet<_>>() == peers.map(str::to_owned).into()).then_some(())
        });
    }

    /// A client at this address, on its way to nginx.
    fn dial(&self, from: &str) -> Dial {
        Dial::new(self.address, Some(Arc::clone(&self.tls.client))).from(from)
    }

    /// A new operator who knows the secret, at this address.
    #[track_caller]
    fn operator(&self, from: &str) -> Client {
        let device = Device::new();
        let mut client = self.dial(from).open();
        client.admitted(&Connect::operator(&device).secret(crate::kit::SECRET));
        client
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // TERM, because a master that is killed leaves its worker behind.
        let pid = i32::try_from(self.nginx.id()).ok().and_then(Pid::from_raw).unwrap();
        let _ended = kill_process(pid, Signal::TERM);
        let _ended = self.nginx.wait();
        if std::thread::panicking() {
            eprintln!("--- nginx stderr:\n{}", self.file("stderr"));
            eprintln!("--- nginx log:\n{}", self.file("log"));
        }
    }
}

fn get(dial: &Dial, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    exchange(dial, request.as_bytes())
}

/// The packaged file with these texts replaced; each must be there.
#[track_caller]
fn packaged(replacements: &[(&str, String)]) -> String {
    let mut text = fs::read_to_string(PACKAGED).unwrap();
    for (from, to) in replacements {
        assert!(text.contains(from), "the packaged file has no {from:?}");
        text = text.replace(from, to);
    }
    text
}

/// Guesses the secret at the dialled gateway until it is locked out.
#[track_caller]
fn guess_until_locked_out(dial: impl Fn() -> Dial) {
    for _ in 0..10 {
        let mut client = dial().open();
        let refusal = client.refused(&Connect::backend().secret("a wrong guess"));
        if refusal.details_code() == "AUTH_RATE_LIMITED" {
            return;
        }
    }
    panic!("not locked out after ten wrong guesses");
}

const THREE_GUESSES: &str = "[gateway.auth.rateLimit]\nmaxAttempts = 3\n";

#[test]
fn packaged_file_has_the_time_outs_and_http_2() {
    let text = fs::read_to_string(PACKAGED).unwrap();
    for line in ["proxy_read_timeout 300s;", "proxy_send_timeout 300s;", "listen 443 ssl http2;"] {
        assert!(text.lines().any(|found| found.trim() == line), "{line}");
    }
}

#[test]
fn lock_out_hits_the_address_behind_nginx_and_no_other() {
    needs_nginx!("lock_out_hits_the_address_behind_nginx_and_no_other");
    let site = Site::start(THREE_GUESSES);
    guess_until_locked_out(|| site.dial("127.0.0.2"));
    let mut neighbour = site.operator("127.0.0.3");
    neighbour.ask("health", serde_json::json!({}));
    // The audit file and the diagnostics name the client and not the proxy.
    // What came last is written last, so nothing is missing from the failures.
    site.audits("auth.success", ["127.0.0.3"]);
    site.audits("auth.failure", ["127.0.0.2"]);
    eventually("the refusals are reported", PATIENCE * 2, || {
        site.gateway.diagnostics().contains("127.0.0.2").then_some(())
    });
}

#[test]
fn forwarded_address_that_a_client_made_up_is_not_believed() {
    needs_nginx!("forwarded_address_that_a_client_made_up_is_not_believed");
    let site = Site::start(THREE_GUESSES);
    // Through nginx: the right-most address is the one that nginx saw.
    let spoof =
        |dial: Dial| dial.header("X-Forwarded-For", "127.0.0.5").header("X-Real-IP", "127.0.0.5");
    guess_until_locked_out(|| spoof(site.dial("127.0.0.4")));
    site.operator("127.0.0.5");
    let mut locked_out = site.dial("127.0.0.4").open();
    let refusal = locked_out.refused(&Connect::backend());
    assert_eq!(refusal.details_code(), "AUTH_RATE_LIMITED");

    // Past nginx, from an address that is no trusted proxy's.
    let past = |from| Dial::new(site.gateway.address(), None).from(from);
    guess_until_locked_out(|| {
        past("127.0.0.6").header("X-Forwarded-For", "127.0.0.7").header("X-Real-IP", "127.0.0.7")
    });
    site.operator("127.0.0.7");
    site.audits("auth.success", ["127.0.0.5", "127.0.0.7"]);
    site.audits("auth.failure", ["127.0.0.4", "127.0.0.6"]);
}

/// Time-outs that a test can wait for.
const SHORT_TIME_OUTS: &[(&str, &str)] = &[
    ("proxy_read_timeout 300s", "proxy_read_timeout 2s"),
    ("proxy_send_timeout 300s", "proxy_send_timeout 2s"),
];

#[test]
fn connection_that_is_idle_for_longer_than_the_heartbeat_stays_up() {
    needs_nginx!("connection_that_is_idle_for_longer_than_the_heartbeat_stays_up");
    let heartbeat = "[gateway.heartbeat]\nintervalSeconds = 1\nmissedMax = 2\n";
    let site = Site::start_with(heartbeat, SHORT_TIME_OUTS);
    let mut client = site.operator("127.0.0.2");
    let deadline = Instant::now() + PATIENCE;
    let mut pings = 0;
    // More than the two that the gateway bears unanswered, and twice as long as nginx bears silence.
    while pings < 5 {
        match client.hear(deadline) {
            Some(Heard::Ping) => pings += 1,
            Some(Heard::Frame(_)) => {}
            other => panic!("after {pings} pings: {other:?}"),
        }
    }
    client.ask("health", serde_json::json!({}));
}

#[test]
fn connection_without_a_heartbeat_is_ended_by_the_time_outs_of_nginx() {
    needs_nginx!("connection_without_a_heartbeat_is_ended_by_the_time_outs_of_nginx");
    let site = Site::start_with("", SHORT_TIME_OUTS);
    let mut client = site.operator("127.0.0.2");
    assert!(matches!(client.ended(), Heard::Gone(_)));
}

#[test]
fn front_speaks_http_2() {
    needs_nginx!("front_speaks_http_2");
    let site = Site::start("");
    // A browser offers both; a page comes over HTTP/2, a WebSocket over HTTP/1.1.
    let mut config = ClientConfig::clone(&site.tls.client);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::from(site.address.ip());
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = std::net::TcpStream::connect(site.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));

    let url = format!("https://{}/health", site.address);
    // Whom to trust is not the question here.
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--http2", "--noproxy", "*"])
        .args(["--write-out", " over %{http_version}", &url])
        .output();
    let Ok(output) = output else { skip!("front_speaks_http_2", "curl is missing") };
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        r#"{"ok":true,"status":"live"} over 2"#,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn token_in_a_query_string_reaches_no_log() {
    needs_nginx!("token_in_a_query_string_reaches_no_log");
    let site = Site::start("");
    let answer = get(&site.dial("127.0.0.2"), "/health?token=hush-hush");
    assert_eq!(answer.status, 200);
    let log = eventually("nginx has logged it", PATIENCE, || {
        Some(site.file("log")).filter(|log| log.contains("127.0.0.2"))
    });
    assert!(log.contains("\"GET /health HTTP/1.1\""), "{log}");
    assert!(!log.contains("hush-hush"), "{log}");
}
