//! Words that make no sense, and what is missing on this machine.

use std::os::unix::net::UnixListener;

use expect_test::{Expect, expect};

use crate::{check, run};

const USAGE: i32 = 2;
const LOCAL: i32 = 1;
const UNREACHABLE: i32 = 3;

/// Compares what is said of wrong usage; what to do about it is always the same.
#[track_caller]
fn usage(line: &str, expected: &Expect) {
    let words: Vec<_> = line.split_whitespace().collect();
    let (code, stdout, stderr) = run(&words);
    assert_eq!((code, stdout.as_str()), (USAGE, ""), "{line}");
    let command = format!("openclaw-gateway {}", words[0]);
    let said = stderr.strip_prefix(&format!("{command}: "));
    let advice = format!("\n  {command} --help shows what there is\n");
    let said = said.and_then(|said| said.strip_suffix(&advice));
    expected.assert_eq(said.unwrap_or(&stderr));
}

#[test]
fn mistyped_words_are_answered_with_the_nearest() {
    check(
        "tial",
        USAGE,
        &expect![[r#"
        gateway: unknown command "tial"; did you mean tail?; --help shows what there is
    "#]],
    );
    usage("tail --sesion x", &expect![[r#"unknown option "--sesion"; did you mean --session?"#]]);
    usage("call ping --uri x", &expect![[r#"unknown option "--uri"; did you mean --url?"#]]);
    usage("devices aprove x", &expect![[r#"unknown action "aprove"; did you mean approve?"#]]);
    usage(
        "devices frobnicate",
        &expect![[
            r#"unknown action "frobnicate"; there are list, approve, reject, revoke, forget, pair"#
        ]],
    );
    usage("report usgae x", &expect![[r#"unknown kind of report "usgae"; did you mean usage?"#]]);
    usage("report log --coast 1 x", &expect![[r#"unknown option "--coast""#]]);
    usage("tail -x", &expect![["unknown option -x"]]);
}

#[test]
fn missing_and_superfluous_words_are_named() {
    usage("call", &expect![["METHOD is missing"]]);
    assert_eq!(run(&["call", ""]).2, run(&["call"]).2);
    usage("call ping {} more", &expect![[r#"unexpected argument "more""#]]);
    usage("tail now", &expect![[r#"unexpected argument "now""#]]);
    usage("status now", &expect![[r#"unexpected argument "now""#]]);
    usage("sessions now", &expect![[r#"unexpected argument "now""#]]);
    usage("report", &expect![["what to report: log, session, usage, status, event"]]);
    usage("report session", &expect![["report session needs a session KEY"]]);
    usage("report usage a:b c", &expect![[r#"unexpected argument "c""#]]);
    usage("report status", &expect![["report status needs a STATUS"]]);
    usage("report event notification", &expect![["report event needs a JSON payload"]]);
    usage(
        "devices approve",
        &expect![["devices approve needs a REQUEST; devices list shows them"]],
    );
    usage("devices revoke", &expect![["devices revoke needs a DEVICE; devices list shows them"]]);
    usage("devices list more", &expect![[r#"unexpected argument "more""#]]);
    usage("tail --level", &expect![["missing argument for option '--level'"]]);
    check(
        "--port 1 tail",
        USAGE,
        &expect![[r#"
        gateway: options of tail come after it; --help shows what there is
    "#]],
    );
}

#[test]
fn the_launcher_is_for_the_gateway_alone() {
    for line in ["launch", "launch --help", "launch sh -c true"] {
        check(
            line,
            USAGE,
            &expect![[r#"
        openclaw-gateway launch: for the gateway alone, which starts programs through it; spawn is the method for that
    "#]],
        );
    }
}

#[test]
fn values_that_do_not_fit_are_told_what_would() {
    usage(
        "tail --level loud",
        &expect![[r#"--level must be debug, info, warn or error, not "loud""#]],
    );
    usage(
        "tail --since yesterday",
        &expect![[
            r#"--since must be a duration such as 10m, or a UTC time such as 2026-11-22T18:30, not "yesterday""#
        ]],
    );
    usage(
        "tail --lines few",
        &expect![[r#"--lines must be a whole number, at most 9007199254740992, not "few""#]],
    );
    usage(
        "report usage a:b --input-tokens 9007199254740993",
        &expect![[
            r#"--input-tokens must be a whole number, at most 9007199254740992, not "9007199254740993""#
        ]],
    );
    usage(
        "tail --timeout 0",
        &expect![[r#"--timeout must be a duration such as 10s or 500ms, up to a day, not "0""#]],
    );
    usage(
        "sessions --active-within soon",
        &expect![[r#"--active-within must be a duration such as 10m or 2h, not "soon""#]],
    );
    usage(
        "report usage a:b --cost cheap",
        &expect![[r#"--cost must be a number such as 0.0042, not "cheap""#]],
    );
    usage(
        "report session a:b --active maybe",
        &expect![[r#"--active must be true or false, not "maybe""#]],
    );
    usage("report log --extra [1] x", &expect![[r#"--extra must be a JSON object, not "[1]""#]]);
    usage(
        "report log --agent a/b x",
        &expect![[r#"--agent must be letters, digits and . _ - (at most 64), not "a/b""#]],
    );
    usage(
        "call ping [1]",
        &expect![["the parameters must be a JSON object: found something else"]],
    );
    usage(
        "call ping {",
        &expect![[
            "the parameters must be a JSON object: EOF while parsing an object at line 1 column 1"
        ]],
    );
    usage(
        "call ping --scopes a,,b",
        &expect![[r#"--scopes must be scopes with , between, not "a,,b""#]],
    );
}

#[test]
fn the_gateway_is_named_in_one_way() {
    usage(
        "status --url http://127.0.0.1:1",
        &expect![[
            r#"no WebSocket URL: "http://127.0.0.1:1": expected ws://HOST:PORT or wss://HOST:PORT"#
        ]],
    );
    usage(
        "status --url ws://127.0.0.1:99999",
        &expect![[
            r#"the port in "ws://127.0.0.1:99999" is not a number up to 65535: expected ws://HOST:PORT or wss://HOST:PORT"#
        ]],
    );
    usage(
        "status --url ws://user:secret@127.0.0.1:1",
        &expect![[
            "a URL with a user or password is not accepted: expected ws://HOST:PORT or wss://HOST:PORT"
        ]],
    );
    usage(
        "status --url ws://127.0.0.1:1 --insecure",
        &expect![[
            "--ca and --insecure are for wss:// URLs: expected ws://HOST:PORT or wss://HOST:PORT"
        ]],
    );
    usage(
        "status --url wss://127.0.0.1:1 --insecure --ca x",
        &expect![["--ca and --insecure exclude each other"]],
    );
    usage(
        "status --url ws://127.0.0.1:1 --state-dir x",
        &expect![[
            "--url reaches over the network, --state-dir and --config reach a gateway on this machine; choose one"
        ]],
    );
    usage(
        "report log --state-dir x --agent a hi",
        &expect![["an agent connects over --url; the local socket is the owner's"]],
    );
}

#[test]
fn what_is_missing_here_is_told_before_anything_is_dialled() {
    check(
        "status --url ws://127.0.0.1:1",
        LOCAL,
        &expect![[r#"
        openclaw-gateway status: no place for the device key: set HOME or XDG_CONFIG_HOME
    "#]],
    );
    check(
        "status --token-file no-such-file",
        LOCAL,
        &expect![[r#"
        openclaw-gateway status: cannot read no-such-file: No such file or directory (os error 2)
    "#]],
    );
    check(
        "status --config no-such-file",
        LOCAL,
        &expect![[r#"
        openclaw-gateway status: configuration refused
          --config: cannot read no-such-file: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn no_gateway_in_the_state_directory() {
    check(
        "devices --state-dir no-such-dir",
        UNREACHABLE,
        &expect![[r#"
        openclaw-gateway devices: cannot connect to no-such-dir/control.sock: No such file or directory (os error 2)
          no gateway runs with this state directory; name its directory with --state-dir or --config, or reach it with --url
    "#]],
    );
    check(
        "devices approve pair-1 --state-dir no-such-dir",
        UNREACHABLE,
        &expect![[r#"
        openclaw-gateway devices: cannot connect to no-such-dir/control.sock: No such file or directory (os error 2)
          no gateway runs with this state directory; name its directory with --state-dir or --config, or reach it with --url
    "#]],
    );
}

#[test]
fn a_socket_without_a_free_place_is_not_taken_for_another_protocol() {
    let dir = std::env::temp_dir().join(format!("openclaw-cli-full-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let listener = UnixListener::bind(dir.join("control.sock")).unwrap();
    let full = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let (code, stdout, stderr) = run(&["status", "--state-dir", dir.to_str().unwrap()]);
    full.join().unwrap();
    let said = stderr.replace(dir.to_str().unwrap(), "DIR");
    std::fs::remove_dir_all(dir).unwrap();
    assert_eq!((code, stdout.as_str()), (UNREACHABLE, ""));
    expect![[r#"
        openclaw-gateway status: DIR/control.sock was closed before it answered
          the gateway is stopping, or as many clients as may are at its socket; try again
    "#]]
    .assert_eq(&said);
}

#[test]
fn commands_for_files_name_what_is_missing() {
    usage("backup", &expect![["FILE is missing"]]);
    usage("restore", &expect![["FILE is missing"]]);
    usage("backup a b", &expect![[r#"unexpected argument "b""#]]);
    usage(
        "restore --stat-dir x a",
        &expect![[r#"unknown option "--stat-dir"; did you mean --state-dir?"#]],
    );
    usage("health now", &expect![[r#"unexpected argument "now""#]]);
    usage("doctor now", &expect![[r#"unexpected argument "now""#]]);
    usage("doctor --jsno", &expect![[r#"unknown option "--jsno"; did you mean --json?"#]]);
    check(
        "health --state-dir no-such-dir",
        LOCAL,
        &expect![[r#"
        openclaw-gateway health: no gateway runs on no-such-dir
    "#]],
    );
    check(
        "restore no-such-file --state-dir no-such-dir",
        LOCAL,
        &expect![[r#"
        openclaw-gateway restore: cannot restore no-such-file: No such file or directory (os error 2)
    "#]],
    );
    check(
        "backup no-such-file --state-dir no-such-dir",
        LOCAL,
        &expect![[r#"
        openclaw-gateway backup: cannot write the backup no-such-file: there is no database no-such-dir/gateway.redb
    "#]],
    );
}
