//! `make install`: what lands where, and that systemd and logrotate take it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use openclaw_gateway::base::limits::END_GRACE;
use openclaw_gateway::hub::policy::SpawnPolicy;
use openclaw_gateway::shell::capacity::Machine;

use crate::kit::TempDir;

/// What `systemd-analyze security` gives at most, in tenths: 0 is sealed, 100 is wide open. The
/// unit has 20 where this was written; a directive that is lost adds at least one.
const EXPOSURE_MAX: &str = "20";

/// With `run-as.conf`, which gives three capabilities back.
const EXPOSURE_RUN_AS_MAX: &str = "26";

const UNIT: &str = "openclaw-gateway.service";

/// Every installed file, with its mode.
const EXPECTED: [(&str, u32); 13] = [
    ("etc/logrotate.d/openclaw-gateway", 0o644),
    ("etc/openclaw/gateway.toml", 0o640),
    ("usr/local/bin/openclaw-gateway", 0o755),
    ("usr/local/lib/systemd/system/openclaw-gateway.service", 0o644),
    ("usr/local/lib/sysusers.d/openclaw-gateway.conf", 0o644),
    ("usr/local/lib/tmpfiles.d/openclaw-gateway.conf", 0o644),
    ("usr/local/share/doc/openclaw-gateway/README.md", 0o644),
    ("usr/local/share/doc/openclaw-gateway/config.example.toml", 0o644),
    ("usr/local/share/doc/openclaw-gateway/docs/children.md", 0o644),
    ("usr/local/share/doc/openclaw-gateway/docs/operations.md", 0o644),
    ("usr/local/share/doc/openclaw-gateway/docs/protocol.md", 0o644),
    ("usr/local/share/doc/openclaw-gateway/nginx.conf", 0o644),
    ("usr/local/share/doc/openclaw-gateway/run-as.conf", 0o644),
];

fn make_install(destination: &Path, more: &[&str]) {
    let mut command = Command::new("make");
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("install");
    command.arg(format!("DESTDIR={}", destination.display()));
    command.arg(concat!("BINARY=", env!("CARGO_BIN_EXE_openclaw-gateway")));
    // A `make` that runs the tests passes flags of its own on.
    command.args(more).env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    succeeds(&mut command);
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    output
}

/// The files below a directory, relative to it, with their modes.
fn files(root: &Path) -> BTreeSet<(String, u32)> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.insert((name, metadata.permissions().mode() & 0o7777));
            }
        }
    }
    found
}

/// Whether this machine has the program.
fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&paths).chain(sbin).any(|dir| dir.join(program).is_file())
}

/// A file that is packaged.
fn packaged(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)).unwrap()
}

/// The number that follows this on a line of its own.
#[track_caller]
fn number(text: &str, before: &str) -> u64 {
    let found = text.lines().find_map(|line| line.trim().strip_prefix(before));
    let found = found.unwrap_or_else(|| panic!("no line begins with {before:?}"));
    let digits = found.trim().trim_end_matches('s');
    digits.parse().unwrap_or_else(|_| panic!("{before}{found}"))
}

#[test]
fn install_puts_exactly_these_files_below_destdir() {
    let dir = TempDir::new();
    make_install(dir.path(), &[]);
    let expected = EXPECTED.map(|(name, mode)| (name.to_owned(), mode));
    assert_eq!(files(dir.path()), BTreeSet::from(expected));
}

#[test]
fn install_keeps_a_configuration_that_is_there() {
    let dir = TempDir::new();
    let config = dir.path().join("etc/openclaw/gateway.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(&config, "# mine\n").unwrap();
    make_install(dir.path(), &[]);
    assert_eq!(fs::read_to_string(config).unwrap(), "# mine\n");
}

#[test]
fn unit_names_the_binary_where_it_was_installed() {
    let dir = TempDir::new();
    make_install(dir.path(), &["PREFIX=/usr"]);
    let unit = fs::read_to_string(dir.path().join("usr/lib/systemd/system").join(UNIT)).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/")).unwrap();
    let program = start.split(' ').next().unwrap();
    assert!(dir.path().join(program).is_file(), "{program}");
    assert!(!unit.contains("/usr/local"), "a path of another prefix");
    let config = fs::read_to_string(dir.path().join("etc/openclaw/gateway.toml")).unwrap();
    assert!(!config.contains("/usr/local"), "a path of another prefix");
    let example = dir.path().join("usr/share/doc/openclaw-gateway/config.example.toml");
    assert!(config.contains("/usr/share/doc/openclaw-gateway/config.example.toml"));
    assert!(example.is_file());
}

#[test]
fn service_and_container_have_a_task_and_a_descriptor_for_each_connection() {
    let children = SpawnPolicy::default().concurrent_max;
    let usual = Machine {
        mappings: Some(65_530),
        threads: None,
        pids: None,
        user_processes: None,
        descriptors: None,
    };
    let most = usual.capacity(children);
    let unit = packaged("systemd/openclaw-gateway.service");
    let compose = packaged("docker/compose.yaml");
    for (tasks, descriptors) in [
        (number(&unit, "TasksMax="), number(&unit, "LimitNOFILE=")),
        (number(&compose, "pids_limit:"), number(&compose, "nofile:")),
    ] {
        let served = Machine { pids: Some(tasks), descriptors: Some(descriptors), ..usual };
        // What the memory mappings allow is not made less by what we set.
        assert_eq!(served.capacity(children), most);
        let too_few = Machine { pids: Some(tasks / 2), ..served };
        assert!(too_few.capacity(children).connections < most.connections);
    }
    let thousands = format!("{},{:03}", most.connections / 1_000, most.connections % 1_000);
    assert!(unit.contains(&format!("carries {thousands} connections")), "{thousands}");

    // Whoever stops it waits for longer than it takes at most, whatever hangs.
    for seconds in [number(&unit, "TimeoutStopSec="), number(&compose, "stop_grace_period:")] {
        assert!(Duration::from_secs(seconds) > END_GRACE, "{seconds}");
    }
}

#[test]
fn unit_has_what_the_gateway_relies_on() {
    let unit = packaged("systemd/openclaw-gateway.service");
    for directive in [
        // It notifies, and is watched; nobody else notifies in its place.
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=60",
        // TERM is for the gateway, which ends its programs itself.
        "KillMode=mixed",
        "Restart=always",
        "RestartPreventExitStatus=2",
        "User=openclaw",
        "StateDirectory=openclaw",
        "LogsDirectory=openclaw",
        // Control groups for its programs.
        "Delegate=yes",
    ] {
        assert!(unit.lines().any(|line| line == directive), "{directive}");
    }
}

#[test]
fn installed_configuration_is_one_that_the_gateway_takes() {
    let dir = TempDir::new();
    make_install(dir.path(), &[]);
    let config = dir.path().join("etc/openclaw/gateway.toml");
    let state = dir.path().join("state");
    let mut command = crate::kit::binary();
    succeeds(command.arg("--check").arg("--config").arg(config).arg("--state-dir").arg(state));
}

#[test]
fn systemd_takes_the_unit_without_a_complaint_and_finds_it_sealed() {
    const NAME: &str = "systemd_takes_the_unit_without_a_complaint_and_finds_it_sealed";
    if !has("systemd-analyze") {
        skip!(NAME, "systemd-analyze is missing (apt-get install systemd)");
    }
    let dir = TempDir::new();
    make_install(dir.path(), &[]);
    // The units that ours refers to.
    let units = dir.path().join("usr/lib/systemd");
    fs::create_dir_all(&units).unwrap();
    succeeds(Command::new("cp").arg("-r").arg("/usr/lib/systemd/system").arg(units));
    let root = format!("--root={}", dir.path().display());

    let verify = || {
        let mut command = Command::new("systemd-analyze");
        let output = succeeds(command.args(["verify", "--man=no", &root, UNIT]));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    };
    let security = |most: &str| {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", &root]);
        succeeds(command.arg(format!("--threshold={most}")).arg(UNIT));
    };
    verify();
    security(EXPOSURE_MAX);

    let drop_in = dir.path().join(format!("etc/systemd/system/{UNIT}.d"));
    fs::create_dir_all(&drop_in).unwrap();
    let run_as = dir.path().join("usr/local/share/doc/openclaw-gateway/run-as.conf");
    fs::copy(run_as, drop_in.join("run-as.conf")).unwrap();
    verify();
    security(EXPOSURE_RUN_AS_MAX);
}

#[test]
fn every_directive_of_the_unit_has_its_reason() {
    for name in ["openclaw-gateway.service", "run-as.conf"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd").join(name);
        let text = fs::read_to_string(path).unwrap();
        let mut explained = false;
        for line in text.lines() {
            match line {
                "" => explained = false,
                line if line.starts_with('[') => explained = line != "[Service]",
                line if line.starts_with('#') => explained = true,
                line => assert!(explained || line.starts_with("Exec"), "{name}: {line}"),
            }
        }
    }
}

#[test]
fn the_users_and_directories_are_made_as_described() {
    const NAME: &str = "the_users_and_directories_are_made_as_described";
    if !has("systemd-sysusers") || !has("systemd-tmpfiles") {
        skip!(NAME, "systemd-sysusers or systemd-tmpfiles is missing (apt-get install systemd)");
    }
    if !rustix::process::geteuid().is_root() {
        skip!(NAME, "only root gives files to other users");
    }
    let dir = TempDir::new();
    make_install(dir.path(), &[]);
    let root = format!("--root={}", dir.path().display());
    succeeds(Command::new("systemd-sysusers").args([&root, "openclaw-gateway.conf"]));
    let users = fs::read_to_string(dir.path().join("etc/passwd")).unwrap();
    let user = users.lines().find(|line| line.starts_with("openclaw:")).expect("the user");
    assert!(user.ends_with(":/var/lib/openclaw:/usr/sbin/nologin"), "{user}");

    succeeds(Command::new("systemd-tmpfiles").args([&root, "--create", "openclaw-gateway.conf"]));
    for (path, mode) in [
        ("etc/openclaw", 0o750),
        ("etc/openclaw/gateway.toml", 0o640),
        ("var/lib/openclaw", 0o700),
        ("var/log/openclaw", 0o750),
    ] {
        let metadata = fs::metadata(dir.path().join(path)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{path}");
    }
}

#[test]
fn logrotate_rotates_what_the_gateway_logs() {
    const NAME: &str = "logrotate_rotates_what_the_gateway_logs";
    if !has("logrotate") {
        skip!(NAME, "logrotate is missing (apt-get install logrotate)");
    }
    let dir = TempDir::new();
    make_install(dir.path(), &[]);
    let rules = fs::read_to_string(dir.path().join("etc/logrotate.d/openclaw-gateway")).unwrap();
    let id = |flag: &str| {
        let output = succeeds(Command::new("id").arg(flag));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let ours = format!("{} {}", id("-un"), id("-gn"));
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o750)).unwrap();
    let rules = rules
        .replace("openclaw openclaw", &ours)
        .replace("/var/log/openclaw", &logs.display().to_string())
        // There is no service here that could be told.
        .replace("[ -d /run/systemd/system ]", "false");
    let rules = dir.write("rules", &rules);
    fs::set_permissions(&rules, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(logs.join("audit.log"), "{}\n").unwrap();

    let state = dir.path().join("logrotate.state");
    let mut command = Command::new("logrotate");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg("--force");
    let output = succeeds(command.arg("--state").arg(state).arg(rules));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let kept = files(&logs);
    assert!(kept.contains(&("audit.log".to_owned(), 0o600)), "{kept:?}");
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!(fs::read_to_string(logs.join("audit.log")).unwrap(), "");
}
