//! The metrics page: what it counts, that it answers whatever happens, and Debian's Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::kit::{
    Client, Connect, Device, Dial, Gateway, Over, PATIENCE, TempDir, binary, entries, eventually,
    exchange,
};

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/prometheus");

/// How long a scrape may take, on a busy machine with two cores and in a debug build.
const SCRAPE_MAX: Duration = Duration::from_secs(5);

fn with_metrics() -> Gateway {
    Gateway::setup().metrics().start()
}

/// Where the page is.
fn metrics_address(gateway: &Gateway) -> SocketAddr {
    let url = gateway.announcement()["metrics"].as_str().unwrap();
    url.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap().parse().unwrap()
}

#[track_caller]
fn scrape(gateway: &Gateway) -> String {
    let began = Instant::now();
    let dial = Dial::new(metrics_address(gateway), None);
    let answer = exchange(&dial, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
    assert!(began.elapsed() < SCRAPE_MAX, "{:?}", began.elapsed());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.body
}

/// Samples by name and labels.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

/// Scrapes until this series has this value: counts may follow an answer by a moment.
#[track_caller]
fn becomes(gateway: &Gateway, series: &str, expected: f64) {
    let mut seen = None;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        seen = samples(&scrape(gateway)).get(series).copied();
        if seen == Some(expected) {
            return;
        }
    }
    panic!("{series} is {seen:?}, not {expected}");
}

#[test]
fn the_page_counts_what_happens_under_the_seeds_five_names() {
    let gateway = with_metrics();
    let name = |rest: &str| format!("openclaw_gateway_{rest}");
    let before = samples(&scrape(&gateway));
    for seeds in [
        "connections_total",
        "messages_sent_total",
        "messages_received_total",
        "spawn_requests_total",
        "auth_failures_total",
    ] {
        assert_eq!(before.get(&name(seeds)), Some(&0.0), "{seeds}: {before:?}");
    }

    let mut operator = gateway.operator();
    let device = Device::new();
    let mut agent = gateway.agent("builder", &device);
    agent.report(["one", "two"]);
    operator.ask("status", Value::Null);
    operator.ask_in_vain("logs.tail", json!({ "limit": "x" }));
    operator.send_request("spawn", json!({ "command": "true" }));
    let mut stranger = gateway.dial().open();
    stranger.refused(&Connect::backend().secret("wrong"));

    becomes(&gateway, &name("connections_closed_total{reason=\"refused\"}"), 1.0);
    for (series, expected) in [
        ("connections_total", 2.0),
        ("connections{role=\"operator\"}", 1.0),
        ("connections{role=\"agent\"}", 1.0),
        ("connections_accepted_total", 3.0),
        ("connections_unauthenticated", 0.0),
        ("auth_failures_total", 1.0),
        ("connects_refused_total{code=\"AUTH_TOKEN_MISMATCH\"}", 1.0),
        ("spawn_requests_total", 1.0),
        // Three connects, a report and three requests.
        ("messages_received_total", 7.0),
        ("handshake_duration_seconds_count", 2.0),
        ("request_duration_seconds_count{method=\"logs.append\"}", 1.0),
        ("request_duration_seconds_count{method=\"status\"}", 1.0),
        ("request_errors_total{code=\"INVALID_REQUEST\"}", 2.0),
        ("journal_entries", 2.0),
        ("devices", 1.0),
        ("hub_inbox_depth", 0.0),
        ("ready", 1.0),
    ] {
        becomes(&gateway, &name(series), expected);
    }
    let after = samples(&scrape(&gateway));
    let value = |series: &str| after[&name(series)];
    // A challenge, an answer and a tick for each of the two, and more.
    assert!(value("messages_sent_total") >= 9.0, "{after:?}");
    assert!(value("store_commit_seconds_count") >= 2.0, "{after:?}");
    assert!(value("hub_turn_seconds_sum") > 0.0, "{after:?}");
    assert!(after["process_resident_memory_bytes"] > 1e6, "{after:?}");
    assert!(after["process_open_fds"] > 8.0, "{after:?}");
    assert!(after["process_start_time_seconds"] > 1.7e9, "{after:?}");
    let version = format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&version), 1.0);

    operator.leave();
    becomes(&gateway, &name("connections_total"), 1.0);
    becomes(&gateway, &name("connections{role=\"operator\"}"), 0.0);
}

#[test]
fn spawns_runs_and_jobs_are_counted_by_what_became_of_them() {
    let gateway = Gateway::setup()
        .metrics()
        .config(
            "[gateway.spawn]\nallowedCommands = [\"true\", \"false\", \"sleep\"]\n\
             allowedDirs = [\"/\"]\nmaxConcurrent = 1\n",
        )
        .start();
    let mut operator = gateway.operator();
    let mut agent = gateway.agent("builder", &Device::new());
    let spawn = |operator: &mut Client, command: &str, args: &[&str]| {
        operator.ask("spawn", json!({ "command": command, "args": args }))["spawnId"].clone()
    };
    for command in ["true", "false"] {
        spawn(&mut operator, command, &[]);
    }
    let slow = spawn(&mut operator, "sleep", &["600"]);
    spawn(&mut operator, "true", &[]);
    for (key, state) in [("one", "final"), ("two", "error")] {
        let ask = json!({ "agentId": "builder", "message": "x", "idempotencyKey": key });
        operator.ask("agent", ask);
        let run = agent.event("agent.request")["payload"]["runId"].clone();
        agent.ask("run.update", json!({ "runId": run, "state": state, "text": "y" }));
    }
    operator.ask("agent", json!({ "agentId": "builder", "message": "waits" }));
    let job = operator.ask(
        "cron.add",
        json!({
            "name": "tea",
            "schedule": { "kind": "every", "everyMs": 3_600_000 },
            "payload": { "kind": "systemEvent", "text": "tea" },
        }),
    );
    operator.ask("cron.run", json!({ "id": job["id"] }));
    let check = |expected: &[(&str, f64)]| {
        for (series, expected) in expected {
            becomes(&gateway, &format!("openclaw_gateway_{series}"), *expected);
        }
    };
    check(&[
        ("spawns{status=\"running\"}", 1.0),
        ("spawns{status=\"queued\"}", 1.0),
        ("spawns_ended_total{status=\"completed\"}", 1.0),
        ("spawns_ended_total{status=\"failed\"}", 1.0),
        ("runs_open", 1.0),
        ("runs_ended_total{state=\"final\"}", 1.0),
        ("runs_ended_total{state=\"error\"}", 1.0),
        ("cron_jobs", 1.0),
        ("cron_runs_open", 0.0),
        ("cron_runs_total{status=\"ok\"}", 1.0),
        ("cron_occurrences_missed_total{status=\"missed\"}", 0.0),
    ]);
    operator.ask("spawn.cancel", json!({ "id": slow }));
    check(&[
        ("spawns_ended_total{status=\"cancelled\"}", 1.0),
        ("spawns_ended_total{status=\"completed\"}", 2.0),
        ("spawns{status=\"running\"}", 0.0),
        ("spawns{status=\"queued\"}", 0.0),
    ]);
}

#[test]
fn peers_can_add_no_series_and_put_no_word_of_theirs_on_the_page() {
    let gateway = with_metrics();
    let mut operator = gateway.operator();
    let mut agent = gateway.agent("word-agent", &Device::new());
    agent.request("word-method", json!({}));
    agent.request("session.update", json!({ "key": "word-agent:word-session" }));
    agent.report(["word-message"]);
    agent.request("events.publish", json!({ "event": "word-event", "payload": {} }));
    operator.request("sessions.get", json!({ "key": "word-key" }));
    let _refused = gateway.dial().origin("http://word-origin").open();
    let page = scrape(&gateway);
    assert!(!page.contains("word-"), "{page}");
    // Every family is there from the start, so that a rule never waits for a first event; only
    // methods show once they were called.
    let families = |page: &str| -> BTreeSet<String> {
        page.lines().filter(|line| line.starts_with("# TYPE")).map(str::to_owned).collect()
    };
    let fresh = with_metrics();
    assert_eq!(families(&page), families(&scrape(&fresh)));
}

#[test]
fn the_document_lists_the_families_of_the_page_and_no_other() {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md"));
    let document = document.unwrap();
    let section = document.split("\n## Metrics\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    let documented: BTreeSet<String> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(|name| name_of(name).replace('…', "openclaw_gateway"))
        .filter(|name| name.starts_with("openclaw_gateway_"))
        .collect();
    let page = scrape(&with_metrics());
    let declared = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let shown: BTreeSet<String> = declared
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .filter(|name| name.starts_with("openclaw_gateway_"))
        .collect();
    assert_eq!(documented, shown);
}

#[test]
fn mistaken_and_hostile_scrapers_are_answered_or_ended_and_take_nobodys_place() {
    let gateway = with_metrics();
    let address = metrics_address(&gateway);
    let dial = Dial::new(address, None);
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
        (upgrade, 404),
        (&long, 431),
        ("nonsense\r\n\r\n", 400),
    ] {
        assert_eq!(exchange(&dial, request.as_bytes()).status, expected, "{request:.40}");
    }
    // More than there are places for, and none of them says a word.
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    gateway.operator().leave();
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = Vec::new();
        // Reset, or told that there is no room, or that it took too long: ended in any case.
        let ended = stream.read_to_end(&mut said);
        assert!(
            ended.as_ref().map_or_else(|e| e.kind() != std::io::ErrorKind::WouldBlock, |_| true)
        );
    }
    scrape(&gateway);
}

#[test]
fn chosen_metrics_port_that_is_taken_ends_the_start() {
    let gateway = with_metrics();
    let taken = metrics_address(&gateway).port().to_string();
    let state = TempDir::new();
    let mut command = binary();
    command.arg("--state-dir").arg(state.path().join("state"));
    let output = command.args(["--port", "0", "--metrics-port", &taken]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("127.0.0.1:{taken} for metrics: Address already")), "{said}");
    assert!(said.contains("choose another port with --metrics-port"), "{said}");
}

/// A program of Debian's `prometheus` package.
fn tool(name: &str) -> Option<Command> {
    Command::new(name).arg("--version").output().ok()?;
    Some(Command::new(name))
}

#[track_caller]
fn promtool(arguments: &[&str], stdin: &str) -> Output {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Operators that ask and agents that report, until told to stop.
fn load(gateway: &Gateway, stop: &AtomicBool) {
    thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                let device = Device::new();
                let mut agent = gateway.agent(&format!("agent-{number}"), &device);
                let lines: Vec<String> = (0..50).map(|line| format!("line {line}")).collect();
                while !stop.load(Ordering::Relaxed) {
                    agent.ask("logs.append", entries(lines.iter().map(String::as_str)));
                    agent.ask("ping", Value::Null);
                }
            });
            scope.spawn(move || {
                let mut operator = gateway.operator();
                while !stop.load(Ordering::Relaxed) {
                    operator.ask("logs.tail", json!({ "limit": 10 }));
                    operator.forget_events();
                }
            });
        }
    });
}

#[test]
fn promtool_has_nothing_to_say_but_that_the_seed_calls_a_gauge_total() {
    const NAME: &str = "promtool_has_nothing_to_say_but_that_the_seed_calls_a_gauge_total";
    if tool("promtool").is_none() {
        skip!(NAME, "promtool (prometheus) is missing");
    }
    let gateway = with_metrics();
    gateway.operator().ask("status", Value::Null);
    let output = promtool(&["check", "metrics"], &scrape(&gateway));
    let said = String::from_utf8_lossy(&output.stderr);
    let lints: Vec<_> = said.lines().collect();
    let expected = "openclaw_gateway_connections_total non-counter metrics should not have \
                    \"_total\" suffix";
    assert_eq!(lints, [expected]);
}

#[test]
fn packaged_scrape_configuration_and_rules_are_good_and_name_what_there_is() {
    const NAME: &str = "packaged_scrape_configuration_and_rules_are_good_and_name_what_there_is";
    if tool("promtool").is_none() {
        skip!(NAME, "promtool (prometheus) is missing");
    }
    for (what, file) in [("config", "prometheus.yml"), ("rules", "openclaw-gateway.rules.yml")] {
        let file = format!("{PACKAGING}/{file}");
        let output = promtool(&["check", what, &file], "");
        assert!(output.status.success(), "{output:?}");
    }
    let gateway = with_metrics();
    let page = samples(&scrape(&gateway));
    let known: BTreeSet<&str> = page.keys().map(|series| name_of(series)).collect();
    let rules = fs::read_to_string(format!("{PACKAGING}/openclaw-gateway.rules.yml")).unwrap();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named: BTreeSet<&str> = rules
        .split(|c| !is_word(c))
        .filter(|word| word.starts_with("openclaw_gateway_") || word.starts_with("process_"))
        .collect();
    assert!(named.len() > 8, "{named:?}");
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "no such metrics: {unknown:?}");
}

/// A series without its labels.
fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap()
}

/// Debian's Prometheus with the packaged configuration, scraping this page every second.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Prometheus {
    fn start(mut command: Command, page: SocketAddr) -> Self {
        let dir = TempDir::new();
        let packaged = fs::read_to_string(Path::new(PACKAGING).join("prometheus.yml")).unwrap();
        let config = packaged.replace("127.0.0.1:9090", &page.to_string()).replace(": 15s", ": 1s");
        assert_ne!(config, packaged);
        let rules = fs::read_to_string(format!("{PACKAGING}/openclaw-gateway.rules.yml")).unwrap();
        dir.write("openclaw-gateway.rules.yml", &rules);
        let config = dir.write("prometheus.yml", &config);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
        command.arg("--web.listen-address=127.0.0.1:0").stdin(Stdio::null());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains("msg=\"Listening on\""))
            .and_then(|line| line.rsplit_once("address=")?.1.trim().parse().ok())
            .expect("Prometheus listens");
        // Whoever does not read would stop it.
        thread::spawn(move || lines.for_each(drop));
        Self { child, address, _dir: dir }
    }

    /// The first value of an instant query.
    fn query(&self, query: &str) -> Option<f64> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let request = format!(
            "GET /api/v1/query?query={escaped} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        let answer = exchange(&Dial::new(self.address, None), request.as_bytes());
        // It says 503 until it has read its own storage.
        if answer.status == 503 {
            return None;
        }
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        let json = answer.json();
        json["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        let _gone = kill_process(pid, Signal::KILL);
        let _reaped = self.child.wait();
    }
}

#[test]
fn debians_prometheus_scrapes_a_busy_gateway_and_finds_what_it_did() {
    const NAME: &str = "debians_prometheus_scrapes_a_busy_gateway_and_finds_what_it_did";
    let Some(command) = tool("prometheus") else { skip!(NAME, "prometheus is missing") };
    let gateway = with_metrics();
    let prometheus = Prometheus::start(command, metrics_address(&gateway));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| load(&gateway, &stop));
        let _over = Over(&stop);
        let finds = |what: &str, query: &str, is_so: fn(f64) -> bool| {
            eventually(what, 2 * PATIENCE, || {
                prometheus.query(query).filter(|value| is_so(*value))
            });
        };
        finds("eight connections", "openclaw_gateway_connections_total", |count| count >= 8.0);
        finds("a rate", "rate(openclaw_gateway_messages_received_total[10s])", |rate| rate > 1.0);
        finds(
            "a quantile of commits",
            "histogram_quantile(0.9,openclaw_gateway_store_commit_seconds_bucket)",
            |seconds| seconds > 0.0,
        );
        finds(
            "requests by method",
            "openclaw_gateway_request_duration_seconds_count{method=\"logs.append\"}",
            |count| count > 0.0,
        );
        finds("it is up", "up", |up| up == 1.0);
        // While it is that busy, the page answers us, too.
        scrape(&gateway);
    });
}
