//! `make demo`, as a stranger sees it: two sample agents, started and watched.

use std::collections::BTreeSet;
use std::process::Command;

use crate::kit::TempDir;

/// The numbers in the column TOKENS of a session's lines.
fn tokens(shown: &str, agent: &str) -> BTreeSet<u64> {
    let lines = shown.lines().filter(|line| line.starts_with(&format!("{agent}:sp-")));
    lines.map(|line| line.split_whitespace().nth(3).unwrap().parse().unwrap()).collect()
}

#[test]
fn the_demo_shows_two_agents_at_work_and_leaves_nothing() {
    let root = env!("CARGO_MANIFEST_DIR");
    let dir = TempDir::new();
    let makefile = std::fs::read_to_string(format!("{root}/Makefile")).unwrap();
    let recipe = "\t@examples/demo.sh \"$(or $(BINARY),$(TARGET_DIR)/release/$(BIN))\"\n";
    assert!(makefile.contains(recipe), "`make demo` is no longer what is run here");
    let output = Command::new(format!("{root}/examples/demo.sh"))
        .arg(env!("CARGO_BIN_EXE_openclaw-gateway"))
        .current_dir(dir.path())
        .env("TMPDIR", dir.path())
        .env("DEMO_PAUSE", "2")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{}: {said}\n{shown}", output.status);
    for agent in ["builder", "reviewer"] {
        assert!(tokens(&shown, agent).len() > 2, "tokens of {agent} grow: {shown}");
        assert!(shown.lines().any(|line| line == format!("{agent} completed")), "{shown}");
        for status in ["busy", "idle"] {
            let line = format!("demo: status: {agent} {status} (");
            assert!(shown.contains(&line), "{agent} is {status}: {shown}");
        }
    }
    assert!(shown.contains(" WARN  builder ["), "what goes to stderr is shown: {shown}");
    // The journal comes live, not when all is over.
    let place = |text: &str| shown.find(text).unwrap_or_else(|| panic!("no {text:?}: {shown}"));
    assert!(place("configure: begins") < place("compile: begins"));
    assert!(place("compile: begins") < shown.rfind("SESSION ").unwrap());
    assert!(place("compile: begins") < place("demo: sessions at the end"));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_demo_says_what_is_missing_and_fails() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo.sh");
    let dir = TempDir::new();
    let run = |binary: &str| {
        let output = Command::new(demo).arg(binary).env("TMPDIR", dir.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run("/bin/false");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the gateway does not start"), "{said}");
    assert_eq!(run("/nonexistent").0, Some(2));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
