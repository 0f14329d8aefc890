//! `config.example.toml` says what is so.

use super::load;

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The example with its defaults in force; with `all`, also what has no default.
fn uncommented(all: bool) -> String {
    let lines = EXAMPLE.lines().filter_map(|line| match line.strip_prefix("## ") {
        Some(setting) => all.then_some(setting),
        None => {
            let setting = line.strip_prefix('#').unwrap_or(line);
            Some(setting).filter(|setting| !setting.starts_with(' '))
        }
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn example_as_shipped_is_the_defaults() {
    assert_eq!(load(EXAMPLE).unwrap(), load("").unwrap());
}

#[test]
fn uncommented_example_is_the_defaults() {
    let text = uncommented(false);
    assert!(text.lines().count() > 40, "{text}");
    assert_eq!(load(&text).unwrap(), load("").unwrap());
}

#[test]
fn example_cut_anywhere_is_a_configuration_or_an_error() {
    for text in [EXAMPLE, &uncommented(true), &uncommented(true).replace(" = ", ": ")] {
        for (end, _) in text.char_indices().step_by(3) {
            drop(load(&text[..end]));
        }
    }
}

#[test]
fn every_key_is_in_the_example() {
    // The gateway lists the keys of a section when it finds one that it does not know.
    let sections = [
        ("", ""),
        ("gateway", "[gateway]"),
        ("gateway.tls", "[gateway.tls]"),
        ("gateway.controlUi", "[gateway.controlUi]"),
        ("gateway.auth", "[gateway.auth]"),
        ("gateway.auth.users", "[[gateway.auth.users]]"),
        ("gateway.auth.deviceAuth", "[gateway.auth.deviceAuth]"),
        ("gateway.auth.rateLimit", "[gateway.auth.rateLimit]"),
        ("gateway.approvals", "[gateway.approvals]"),
        ("gateway.heartbeat", "[gateway.heartbeat]"),
        ("gateway.cron", "[gateway.cron]"),
        ("gateway.limits", "[gateway.limits]"),
        ("gateway.spawn", "[gateway.spawn]"),
        ("gateway.agents.agent1", "[gateway.agents.agent1]"),
        ("gateway.metrics", "[gateway.metrics]"),
        ("audit", "[audit]"),
        ("log", "[log]"),
    ];
    let example = uncommented(true);
    for (section, header) in sections {
        let error = load(&format!("{header}\nzzz = 1\n")).unwrap_err().to_string();
        let allowed = error.split_once("; allowed ").unwrap().1.lines().next().unwrap();
        let names = allowed.split_once(": ").unwrap().1;
        let shown = example.split_once(&format!("{header}\n")).unwrap().1;
        let shown = shown.split("\n[").next().unwrap();
        for name in names.split(", ") {
            let path = format!("{section}.{name}");
            let path = path.trim_start_matches('.');
            let begins = |known: &str| known == path || known.starts_with(&format!("{path}."));
            let is_section = sections.iter().any(|(known, _)| begins(known));
            let is_shown = shown.lines().any(|line| line.starts_with(&format!("{name} = ")));
            assert!(is_section || is_shown, "{path} is not in the example");
        }
    }
}

/// What the example says of a key, such as `gateway.tls.port`: its default, or `None` for one that
/// has none.
#[track_caller]
fn default_in_example(path: &str) -> Option<&'static str> {
    let (section, key) = path.rsplit_once('.').unwrap();
    let mut lines = EXAMPLE.lines().skip_while(|line| *line != format!("#[{section}]"));
    assert!(lines.next().is_some(), "no section {section}");
    let assigned = format!("{key} = ");
    lines
        .take_while(|line| !line.starts_with("#[") && !line.starts_with("## [["))
        .find_map(|line| {
            if line.strip_prefix("## ").is_some_and(|line| line.starts_with(&assigned)) {
                return Some(None);
            }
            line.strip_prefix('#')?.strip_prefix(&assigned).map(Some)
        })
        .unwrap_or_else(|| panic!("{path} is not in the example"))
}

#[test]
fn keys_and_defaults_of_the_readme_are_those_of_the_example() {
    let readme = include_str!("../../README.md");
    let table = readme.split_once("| key | default | meaning |\n|---|---|---|\n").unwrap().1;
    let rows: Vec<_> = table.lines().map_while(|line| line.strip_prefix("| ")).collect();
    assert!(rows.len() > 15, "{rows:?}");
    for row in rows {
        let cells: Vec<_> = row.split(" | ").collect();
        let [keys, shown, meaning] = cells[..] else { panic!("{row}") };
        assert!(meaning.len() > 10, "{row}");
        for key in keys.split(", ") {
            let default = default_in_example(key.trim_matches('`'));
            let default =
                default.map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
            assert_eq!(shown, default, "{key}");
        }
    }
}

#[test]
fn defaults_are_safe() {
    assert_eq!(load("").unwrap().warnings(), Vec::<String>::new());
}
