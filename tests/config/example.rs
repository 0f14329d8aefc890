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
        ("gateway", "[gateway]"),
        ("gateway.tls", "[gateway.tls]"),
        ("gateway.controlUi", "[gateway.controlUi]"),
        ("gateway.auth", "[gateway.auth]"),
        ("gateway.auth.users", "[[gateway.auth.users]]"),
        ("gateway.auth.deviceAuth", "[gateway.auth.deviceAuth]"),
        ("gateway.auth.rateLimit", "[gateway.auth.rateLimit]"),
        ("gateway.heartbeat", "[gateway.heartbeat]"),
        ("gateway.cron", "[gateway.cron]"),
        ("gateway.limits", "[gateway.limits]"),
        ("gateway.metrics", "[gateway.metrics]"),
        ("log", "[log]"),
    ];
    let example = uncommented(true);
    for (section, header) in sections {
        let error = load(&format!("{header}\nzzz = 1\n")).unwrap_err().to_string();
        let allowed = error.split_once("; allowed in ").unwrap().1.lines().next().unwrap();
        let names = allowed.split_once(": ").unwrap().1;
        let shown = example.split_once(&format!("{header}\n")).unwrap().1;
        let shown = shown.split("\n[").next().unwrap();
        for name in names.split(", ") {
            let is_section = sections.iter().any(|(path, _)| *path == format!("{section}.{name}"));
            let is_shown = shown.lines().any(|line| line.starts_with(&format!("{name} = ")));
            assert!(is_section || is_shown, "{section}.{name} is not in the example");
        }
    }
}

#[test]
fn defaults_are_safe() {
    assert_eq!(load("").unwrap().warnings(), Vec::<String>::new());
}
