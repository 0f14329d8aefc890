//! The container: what of its files can be checked without an engine.
//!
//! The commands that they hold are run by the real binary, also as an engine would run it: as the
//! first process of a namespace, in a root directory that holds what the image does, read-only, as
//! the image's user. Nothing here builds an image.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::kit::{Gateway, PATIENCE, TempDir, binary, eventually};

const STATE: &str = "/var/lib/openclaw/sessions";
const BINARY: &str = "/usr/local/bin/openclaw-gateway";

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/docker").join(name);
    fs::read_to_string(path).unwrap()
}

/// The instructions of the Dockerfile, continued lines joined, without comments.
fn instructions() -> Vec<(String, String)> {
    let text = read("Dockerfile");
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty());
    let pair = |line: &str| {
        let (name, rest) = line.split_once(' ').unwrap();
        (name.to_owned(), rest.trim().to_owned())
    };
    lines.map(pair).collect()
}

/// The words of an instruction in its exec form, which needs no shell.
#[track_caller]
fn exec_form(instruction: &str) -> Vec<String> {
    let all = instructions();
    let (_, rest) = all.iter().rfind(|(name, _)| name == instruction).expect(instruction);
    let words = &rest[rest.find('[').expect("exec form")..];
    serde_json::from_str(words).unwrap()
}

/// Runs the words of the image with this state directory in the place of the volume.
fn run(words: &[String], state: &Path, more: &[&str]) -> Output {
    let state = state.display().to_string();
    let words = words.iter().map(|word| word.replace(STATE, &state));
    binary().args(words).args(more).output().unwrap()
}

#[test]
fn image_runs_as_nobody_in_particular_and_keeps_its_state_in_the_volume() {
    let all = instructions();
    let position = |name: &str| all.iter().rposition(|(found, _)| found == name).expect(name);
    assert_eq!(all.iter().filter(|(name, _)| name == "FROM").count(), 2, "built elsewhere");
    assert!(position("FROM") < position("USER") && position("USER") < position("ENTRYPOINT"));
    let user = &all[position("USER")].1;
    assert!(!user.starts_with('0') && !user.contains("root"), "{user}");
    assert_eq!(all[position("VOLUME")].1, STATE);
    assert_eq!(exec_form("ENTRYPOINT"), [BINARY]);
}

#[test]
fn command_of_the_image_is_one_that_starts() {
    let dir = TempDir::new();
    let output = run(&exec_form("CMD"), &dir.path().join("state"), &["--check", "--port", "0"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "the configuration is good\n");
}

#[test]
fn health_check_of_the_image_tells_a_gateway_that_lives_from_one_that_does_not() {
    let words = exec_form("HEALTHCHECK");
    assert_eq!(words[0], BINARY);
    let mut gateway = Gateway::start();
    let state = gateway.dir().join("state");
    assert!(run(&words[1..], &state, &[]).status.success());
    gateway.kill_9();
    // The only other code that a health check may have.
    assert_eq!(run(&words[1..], &state, &[]).status.code(), Some(1));
}

/// What the base image (distroless "cc") has of what a program may be linked with.
const LIBRARIES: [&str; 4] = ["libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux-"];

/// The user of the image.
const USER: u32 = 65_532;

/// A directory with what the image holds.
fn image() -> TempDir {
    let dir = TempDir::new();
    let copy = |from: &str, to: &str| {
        let to = dir.path().join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    let program = env!("CARGO_BIN_EXE_openclaw-gateway");
    copy(program, BINARY);
    let linked = Command::new("ldd").arg(program).output().unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    for path in linked.split_whitespace().filter(|word| word.starts_with('/')) {
        let name = path.rsplit('/').next().unwrap();
        assert!(LIBRARIES.iter().any(|known| name.starts_with(known)), "the image has no {name}");
        copy(path, path);
    }
    let config = dir.path().join("etc/openclaw");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("gateway.toml"), "[gateway.limits]\nsessions = 100\n").unwrap();
    fs::create_dir(dir.path().join("proc")).unwrap();
    let volume = dir.path().join(STATE.trim_start_matches('/'));
    fs::create_dir_all(volume.parent().unwrap()).unwrap();
    fs::DirBuilder::new().mode(0o700).create(&volume).unwrap();
    chown(&volume, Some(USER), Some(USER)).unwrap();
    // The root of a container is everybody's to look into.
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

/// Namespaces of its own, a root directory that is read-only but for the volume, no new rights.
/// The words after the directory and the volume are what becomes process 1.
const ENGINE: &str = r#"
    root=$1 volume=$1$2; shift 2
    mount --bind "$root" "$root"
    mount --bind "$volume" "$volume"
    mount -t proc proc "$root/proc"
    mount -o remount,bind,ro "$root"
    exec setpriv --no-new-privs chroot --userspec=65532:65532 "$root" "$@"
"#;

/// A gateway in the place of a container. Killed on drop.
struct Container {
    engine: Child,
    image: TempDir,
}

impl Container {
    fn start() -> Self {
        let image = image();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--net", "--fork", "sh", "-ec", ENGINE]);
        command.arg("engine").arg(image.path()).arg(STATE);
        command.args(exec_form("ENTRYPOINT")).args(exec_form("CMD"));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let compose = read("compose.yaml");
        let variables = compose.lines().filter_map(|line| line.trim().strip_prefix("- "));
        let variables = variables.take_while(|item| !item.starts_with("GATEWAY_URL"));
        command.envs(variables.filter_map(|item| item.split_once('=')));
        let stderr = fs::File::create(image.path().join("stderr")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        Self { engine: command.spawn().unwrap(), image }
    }

    /// The first line on stdout, which comes when it listens.
    fn first_line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.engine.stdout.take().unwrap()).read_line(&mut line).unwrap();
        line
    }

    /// The first process of the namespace, as it is known outside, while it lives.
    fn process_1(&self) -> Option<Pid> {
        let engine = self.engine.id();
        let children = fs::read_to_string(format!("/proc/{engine}/task/{engine}/children"));
        children.ok()?.trim().parse().ok().and_then(Pid::from_raw)
    }

    /// The health check, beside the gateway in its namespaces.
    fn health(&self) -> Output {
        let namespaces = format!("/proc/{}/ns", self.engine.id());
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount={namespaces}/mnt"));
        command.arg(format!("--pid={namespaces}/pid_for_children"));
        command.args(["chroot", "--userspec=65532:65532"]).arg(self.image.path());
        command.args(exec_form("HEALTHCHECK")).output().unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // With its first process a namespace ends. The engine waits for that one, and only it could
        // be asked in vain: a change of user takes the signal for a dead parent away.
        if let Some(process) = self.process_1() {
            let _gone = kill_process(process, Signal::KILL);
        }
        let _gone = self.engine.wait();
        if std::thread::panicking() {
            let said = fs::read_to_string(self.image.path().join("stderr")).unwrap_or_default();
            eprintln!("--- container stderr:\n{said}");
        }
    }
}

#[test]
fn image_needs_no_more_than_it_holds_and_stops_when_it_is_told_to() {
    const NAME: &str = "image_needs_no_more_than_it_holds_and_stops_when_it_is_told_to";
    if !rustix::process::geteuid().is_root() {
        skip!(NAME, "only root makes namespaces everywhere");
    }
    let probe = ["--mount", "--pid", "--net", "--fork", "mount", "--bind", "/tmp", "/tmp"];
    let probe = Command::new("unshare").args(probe).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        skip!(NAME, "this machine lets nobody make namespaces or mount in them");
    }
    let mut container = Container::start();
    let line = container.first_line();
    assert!(line.contains("\"url\":\"ws://0.0.0.0:8080\""), "{line}");
    assert!(line.contains("\"pid\":1,"), "{line}");
    let process = container.process_1().unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap();
    for expected in
        ["Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"]
    {
        assert!(status.lines().any(|line| line == expected), "{expected} in {status}");
    }
    let health = container.health();
    assert!(health.status.success(), "{health:?}");
    // The owner of the mounted state needs no engine; from inside they are nobody's process.
    let state = container.image.path().join(STATE.trim_start_matches('/'));
    let reload = binary().arg("reload").arg("--state-dir").arg(state).output().unwrap();
    assert!(reload.status.success(), "{reload:?}");

    kill_process(process, Signal::TERM).unwrap();
    let ended = eventually("it ends", PATIENCE, || container.engine.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn what_lies_beside_the_compose_file_does_not_go_into_the_image() {
    let ignored = read("Dockerfile.dockerignore");
    let compose = read("compose.yaml");
    let mounted = compose.lines().filter_map(|line| line.trim().strip_prefix("- ./"));
    let mut count = 0;
    for name in mounted.map(|mount| mount.split(':').next().unwrap()) {
        let path = format!("/packaging/docker/{name}");
        assert!(ignored.lines().any(|line| line == path), "{path}");
        count += 1;
    }
    assert_eq!(count, 2, "{compose}");
}

#[test]
fn image_is_built_for_the_debian_that_it_runs_on_by_a_compiler_that_is_new_enough() {
    let all = instructions();
    let bases: Vec<_> = all.iter().filter(|(name, _)| name == "FROM").map(|(_, b)| b).collect();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let wanted = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    let wanted = wanted.trim_matches('"');
    // Debian 13 is trixie: what is linked with its C library runs on no older one.
    assert_eq!(bases[0], &format!("docker.io/library/rust:{wanted}-slim-trixie AS build"));
    assert_eq!(bases[1], "gcr.io/distroless/cc-debian13:nonroot");
}

#[test]
fn compose_file_has_the_variables_and_the_volume_of_the_image() {
    let text = read("compose.yaml");
    let items: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("- ")).collect();
    for item in [
        "OPENCLAW_CONFIG=/etc/openclaw/gateway.toml",
        "LOG_LEVEL=info",
        "./gateway.toml:/etc/openclaw/gateway.toml:ro",
        "./sessions:/var/lib/openclaw/sessions",
    ] {
        assert!(items.contains(&item), "{item} in {items:?}");
    }
}

#[test]
fn configuration_in_yaml_where_the_container_expects_toml_is_answered_with_toml() {
    let dir = TempDir::new();
    let file = dir.write("gateway.yml", "gateway:\n  controlUi:\n    enabled: true\n");
    let output = binary().arg("--check").env("OPENCLAW_CONFIG", file).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.contains("[gateway.controlUi]") && stderr.contains("enabled = true"),
        "{stderr}"
    );
}
