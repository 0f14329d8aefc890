//! The rules of this code base that no compiler checks, as tests over its own text.
//!
//! Each rule is a pure function from text to complaints, applied to the whole tree by one test
//! and to a small example that breaks it by another, so that a rule which never fires is noticed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic; the message names the file"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file over this is two things.
const FILE_LINES_MAX: usize = 500;

/// The layers, lowest first, each with those that it may import besides itself.
const LAYERS: [(&str, &[&str]); 6] = [
    ("base", &[]),
    ("protocol", &["base"]),
    ("wire", &["base"]),
    ("hub", &["base", "protocol"]),
    ("shell", &["base", "protocol", "wire", "hub"]),
    ("app", &["base", "protocol", "wire", "hub", "shell"]),
];

/// Calls that need a clock, a thread or an exit, and who may make them. Pieces are joined here so
/// that this file does not trip over itself.
const SHELL_ONLY: [&str; 7] = [
    concat!("Instant", "::now"),
    concat!("SystemTime", "::now"),
    concat!("thread", "::spawn"),
    concat!("thread", "::Builder"),
    concat!("thread", "::sleep"),
    concat!("process", "::exit"),
    concat!("channel::", "unbounded"),
];

/// What is never committed, in product or test code.
const LEFTOVERS: [&str; 8] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("#[ig", "nore"),
    concat!("#[should_", "panic"),
    concat!("db", "g!("),
    concat!("todo", "!("),
    concat!("unimpl", "emented!("),
];

/// Directories of the machine on which something happened to be written.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/tm", "p/"), concat!("/wo", "rk/")];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a directory of the package with one of these extensions, with its text.
fn files(under: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(under)];
    while let Some(dir) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            if path.is_dir() {
                waiting.push(path);
            } else if extensions.contains(&extension) {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    files("src", &["rs"])
}

/// All Rust of the package.
fn rust_files() -> Vec<(String, String)> {
    ["src", "tests", "examples", "benches", "fuzz/src", "fuzz/fuzz_targets"]
        .iter()
        .flat_map(|dir| files(dir, &["rs"]))
        .collect()
}

/// What people read and run besides Rust.
fn other_files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in [
        "Makefile",
        "Cargo.toml",
        "config.example.toml",
        "deny.toml",
        ".ci/run",
        "fuzz/Cargo.toml",
        "fuzz/run.sh",
    ] {
        if let Ok(text) = fs::read_to_string(root().join(name)) {
            found.push((name.to_owned(), text));
        }
    }
    for dir in ["docs", "packaging", "tests"] {
        found.extend(files(dir, &["md", "sh", "py", "toml", "service", "json", "jsonl"]));
    }
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// Applies a rule to files and lists every complaint at once.
#[track_caller]
fn check(files: Vec<(String, String)>, rule: impl Fn(&str, &str) -> Vec<String>) {
    assert!(!files.is_empty(), "no files to look at");
    let complaints: Vec<_> = files.iter().flat_map(|(name, text)| rule(name, text)).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Shows that a rule fires on one text and is silent on another.
#[track_caller]
fn shows(rule: impl Fn(&str, &str) -> Vec<String>, name: &str, bad: &str, good: &str) {
    assert!(!rule(name, bad).is_empty(), "silent on {bad:?}");
    assert_eq!(rule(name, good), Vec::<String>::new(), "fires on {good:?}");
}

/// The layer of a source file: `src/hub/verbs/x.rs` is of `hub`. The roots belong to none.
fn layer(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("src/")?;
    let first = rest.split('/').next()?;
    LAYERS.iter().map(|(layer, _)| *layer).find(|layer| {
        first == *layer || first.strip_suffix(".rs").is_some_and(|stem| stem == *layer)
    })
}

/// The part of a file before its unit tests, which may use what the product may not.
fn product_part(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

/// Code without its comments, line by line, numbered from one.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| {
        let code = if line.trim_start().starts_with("//") { "" } else { line };
        (index + 1, code.split(" // ").next().unwrap_or_default())
    })
}

/// The layers that a line names, as in `crate::hub::…`.
fn layers_named(code: &str) -> BTreeSet<&'static str> {
    let rests = ["crate::", "openclaw_gateway::"].iter().flat_map(|root| code.split(root).skip(1));
    let words =
        rests.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
    let words: BTreeSet<_> = words.collect();
    LAYERS.iter().map(|(layer, _)| *layer).filter(|layer| words.contains(layer)).collect()
}

fn layers_are_kept(name: &str, text: &str) -> Vec<String> {
    let Some(own) = layer(name) else { return Vec::new() };
    let (_, below) = LAYERS.iter().find(|(layer, _)| *layer == own).unwrap();
    let mut complaints = Vec::new();
    for (number, code) in code_lines(product_part(text)) {
        if code.contains("crate::{") {
            complaints.push(format!("{name}:{number}: import from one layer per line"));
        }
        for named in layers_named(code) {
            if named != own && !below.contains(&named) {
                complaints.push(format!("{name}:{number}: {own} must not know {named}"));
            }
        }
    }
    complaints
}

fn files_are_short(name: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!("{name}: {lines} lines; over {FILE_LINES_MAX} it is two things")]
}

fn modules_introduce_themselves(name: &str, text: &str) -> Vec<String> {
    if text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("{name}: opens without `//!`: what it owns, what it does not do, who calls it")]
}

fn clocks_and_threads_live_in_the_shell(name: &str, text: &str) -> Vec<String> {
    if layer(name) == Some("shell") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (number, code) in code_lines(product_part(text)) {
        for banned in SHELL_ONLY.iter().filter(|banned| code.contains(*banned)) {
            complaints.push(format!("{name}:{number}: {banned} belongs into shell"));
        }
    }
    complaints
}

/// `print!` and `println!` go nowhere but through the one line on stdout, which is written
/// explicitly; diagnostics have their own queue.
fn nothing_is_printed(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, code) in code_lines(product_part(text)) {
        if code.contains("print!(") || code.contains("println!(") {
            complaints.push(format!("{name}:{number}: prints"));
        }
    }
    complaints
}

fn nothing_is_left_over(name: &str, text: &str) -> Vec<String> {
    let words = LEFTOVERS.iter().chain(&MACHINE_PATHS);
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in words.clone().filter(|word| contains_word(line, word)) {
            complaints.push(format!("{name}:{}: {word}", number + 1));
        }
    }
    complaints
}

/// Whether a line holds a word that is not the tail of a longer one, path or name.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let word_ends_open = word.ends_with(|c: char| c.is_alphanumeric());
        !is_letter(before) && before != Some('}') && !(word_ends_open && is_letter(after))
    })
}

fn limits_give_their_arithmetic(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().collect();
    let mut complaints = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let documented = index > 0 && lines[index - 1].trim_start().starts_with("///");
        if line.starts_with("pub const ") && !documented {
            complaints.push(format!("{name}:{}: a limit without its reason", index + 1));
        }
    }
    complaints
}

fn dependencies_give_their_reason(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            inside = line.contains("dependencies]");
        } else if inside
            && line.contains('=')
            && !line.starts_with('#')
            && !line.contains("} # ")
            && !line.contains("\" # ")
        {
            complaints.push(format!("{name}:{}: {line}: what does it spare us?", index + 1));
        }
    }
    complaints
}

/// Prose has one sentence per line, so that a change shows which sentence changed.
fn sentences_have_a_line_each(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let is_prose = !in_code && !line.starts_with('|') && !line.starts_with("    ");
        if is_prose && has_two_sentences(line) {
            complaints.push(format!("{name}:{}: two sentences on a line", index + 1));
        }
    }
    complaints
}

fn has_two_sentences(line: &str) -> bool {
    line.match_indices(". ").any(|(at, _)| {
        let word = line[..at].rsplit([' ', '(']).next().unwrap_or_default();
        let is_number = word.chars().all(|c| c.is_ascii_digit());
        let is_abbreviation = ["e.g", "i.e", "etc", "vs", "cf", "approx"].contains(&word);
        let next = line[at + 2..].trim_start_matches(['*', '`', '_', '[', '"']);
        let starts = next.chars().next().is_some_and(char::is_uppercase);
        starts && !is_number && !is_abbreviation
    })
}

/// Source files that no `mod` line reaches.
fn dead_files(sources: &[(String, String)]) -> Vec<String> {
    let mut alive = BTreeSet::new();
    let mut waiting = vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()];
    while let Some(name) = waiting.pop() {
        let Some((_, text)) = sources.iter().find(|(held, _)| *held == name) else { continue };
        if !alive.insert(name.clone()) {
            continue;
        }
        let path = Path::new(&name);
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let dir = match stem {
            "lib" | "main" | "mod" => path.parent().unwrap().to_path_buf(),
            _ => path.with_extension(""),
        };
        for (_, code) in code_lines(text) {
            let Some(module) = declared_module(code) else { continue };
            for file in [format!("{module}.rs"), format!("{module}/mod.rs")] {
                waiting.push(dir.join(file).display().to_string());
            }
        }
    }
    let all = sources.iter().map(|(name, _)| name);
    let dead = all.filter(|name| !alive.contains(*name));
    dead.map(|name| format!("{name}: no `mod` reaches it")).collect()
}

fn declared_module(code: &str) -> Option<&str> {
    let code = code.trim();
    let (_, rest) = code.split_once("mod ").filter(|(before, _)| {
        before.is_empty() || before.trim_end() == "pub" || before.starts_with("pub(")
    })?;
    rest.strip_suffix(';')
}

#[test]
fn each_layer_imports_only_what_is_below_it() {
    check(sources(), layers_are_kept);
    shows(layers_are_kept, "src/hub/mod.rs", "use crate::wire::frame;", "use crate::base::ids;");
    let group = "use crate::{base::ids, shell};";
    shows(layers_are_kept, "src/protocol/a.rs", group, "// crate::shell calls this");
    shows(layers_are_kept, "src/wire/mod.rs", "x: crate::protocol::A", "use crate::wire::b;");
}

#[test]
fn no_source_file_is_longer_than_five_hundred_lines() {
    check(rust_files(), files_are_short);
    shows(files_are_short, "src/a.rs", &"x\n".repeat(501), &"x\n".repeat(500));
}

#[test]
fn every_file_says_what_it_is_for() {
    check(rust_files(), modules_introduce_themselves);
    shows(modules_introduce_themselves, "src/a.rs", "use std::io;", "//! Owns nothing.\n");
}

#[test]
fn clocks_threads_and_exits_are_in_the_shell_alone() {
    check(sources(), clocks_and_threads_live_in_the_shell);
    let bad = format!("let now = {}();", SHELL_ONLY[0]);
    let good = format!("// not {}\n#[cfg(test)]\n{bad}", SHELL_ONLY[0]);
    shows(clocks_and_threads_live_in_the_shell, "src/hub/a.rs", &bad, &good);
    assert!(clocks_and_threads_live_in_the_shell("src/shell/a.rs", &bad).is_empty());
}

#[test]
fn product_code_prints_nothing() {
    check(sources(), nothing_is_printed);
    shows(nothing_is_printed, "src/a.rs", "println!(\"x\");", "writeln!(out, \"x\")?;");
}

#[test]
fn no_leftovers_and_no_paths_of_somebodys_machine() {
    check(rust_files().into_iter().chain(other_files()).collect(), nothing_is_left_over);
    for word in LEFTOVERS.iter().chain(&MACHINE_PATHS) {
        shows(nothing_is_left_over, "a.rs", &format!("see {word} there"), "var/tmp/x");
    }
}

#[test]
fn every_limit_has_its_reason() {
    let limits: Vec<_> =
        sources().into_iter().filter(|(name, _)| name == "src/base/limits.rs").collect();
    check(limits, limits_give_their_arithmetic);
    let good = "/// Why.\npub const A_MAX: u32 = 1;";
    shows(limits_give_their_arithmetic, "limits.rs", "pub const A_MAX: u32 = 1;", good);
}

#[test]
fn every_dependency_says_what_it_spares_us() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    check(vec![("Cargo.toml".to_owned(), manifest)], dependencies_give_their_reason);
    let (bad, good) = ("[dependencies]\nlog = \"0.4\"", "[dependencies]\nlog = \"0.4\" # why");
    shows(dependencies_give_their_reason, "Cargo.toml", bad, good);
}

#[test]
fn prose_has_one_sentence_per_line() {
    let prose = other_files().into_iter().filter(|(name, _)| name.ends_with(".md")).collect();
    check(prose, sentences_have_a_line_each);
    let good = "One sentence, e.g. This one.\n1. A list item.\n```\nCode. Is free.\n```";
    shows(sentences_have_a_line_each, "a.md", "One. Two.", good);
}

#[test]
fn every_source_file_is_reachable() {
    assert_eq!(dead_files(&sources()), Vec::<String>::new());
    let example = [("src/lib.rs", "pub mod a;"), ("src/a.rs", "mod b;"), ("src/a/b.rs", "")];
    let mut example: Vec<_> =
        example.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    assert_eq!(dead_files(&example), Vec::<String>::new());
    example.push(("src/c.rs".to_owned(), String::new()));
    assert_eq!(dead_files(&example).len(), 1);
}
