//! The container: what of its files can be checked without an engine.
//!
//! The commands that they hold are run by the real binary. Nothing here builds or starts an image.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::kit::{Gateway, TempDir, binary};

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
