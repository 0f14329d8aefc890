//! Every error names file, line, key, what was found and what is allowed.

use expect_test::{Expect, expect};
use openclaw_gateway::app::config::Config;

use super::{TestDir, args, environment, load_with};

#[track_caller]
fn check(text: &str, expected: Expect) {
    check_with(text, "", &[], expected);
}

#[track_caller]
fn check_with(text: &str, flags: &str, variables: &[(&str, &str)], expected: Expect) {
    let errors = load_with(text, flags, variables).unwrap_err();
    expected.assert_eq(&format!("{errors}\n"));
}

#[test]
fn wrong_values_are_refused() {
    check(
        "[gateway]\nport = 70000\nbind = \"localhost\"\ndurability = \"some\"\nstateDir = \"\"\n\
         trustedProxies = [\"10.0.0.0/8\", \"proxy\", 7]\npublicHosts = \"a\"\n",
        expect![[r#"
            configuration refused
              gateway.toml:2: gateway.port: found 70000; allowed: an integer from 0 to 65535
              gateway.toml:3: gateway.bind: found "localhost"; allowed: an IP address, such as "127.0.0.1", "0.0.0.0" or "::1"
              gateway.toml:4: gateway.durability: found "some"; allowed: "full" or "relaxed"
              gateway.toml:5: gateway.stateDir: found ""; allowed: a text that is not empty
              gateway.toml:6: gateway.trustedProxies: found "proxy"; allowed: an IP address or a network in CIDR form, such as "10.0.0.1" or "10.0.0.0/8"
              gateway.toml:6: gateway.trustedProxies: found 7; allowed: an IP address or a network in CIDR form, such as "10.0.0.1" or "10.0.0.0/8"
              gateway.toml:7: gateway.publicHosts: found "a"; allowed: a list of at most 1000 texts, each a host name or address without scheme, port or path, such as "gateway.example.com"
        "#]],
    );
    check(
        "[gateway.controlUi]\nenabled = \"yes\"\nallowedOrigins = [\"https://a.example/\"]\n\
         [gateway.auth.deviceAuth]\ntokenTTL = 0\nregistration = \"closed\"\n\
         [gateway.heartbeat]\nintervalSeconds = -5\nmissedMax = 1.5\n",
        expect![[r#"
            configuration refused
              gateway.toml:2: gateway.controlUi.enabled: found "yes"; allowed: true or false
              gateway.toml:3: gateway.controlUi.allowedOrigins: found "https://a.example/"; allowed: "*", or scheme://host[:port] without a path, such as "https://mc.example.com"
              gateway.toml:5: gateway.auth.deviceAuth.tokenTTL: found 0; allowed: an integer from 1 to 31536000
              gateway.toml:6: gateway.auth.deviceAuth.registration: found "closed"; allowed: "auto", "open" or "manual"
              gateway.toml:8: gateway.heartbeat.intervalSeconds: found -5; allowed: an integer from 1 to 3600
              gateway.toml:9: gateway.heartbeat.missedMax: found 1.5; allowed: an integer from 1 to 100
        "#]],
    );
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    check(
        "[gatway]\nport = 1\n",
        expect![[r#"
            configuration refused
              gateway.toml:1: gatway: unknown key (did you mean gateway?); allowed at the top of the file: gateway, audit, log
        "#]],
    );
    check(
        "[gateway.tls]\ncert_file = \"a\"\n",
        expect![[r#"
            configuration refused
              gateway.toml:2: gateway.tls.cert_file: unknown key (did you mean certFile?); allowed in [gateway.tls]: enabled, certFile, keyFile, port
        "#]],
    );
    check(
        "[gateway.heartbeat]\nfrobnicate = 1\n",
        expect![[r#"
        configuration refused
          gateway.toml:2: gateway.heartbeat.frobnicate: unknown key; allowed in [gateway.heartbeat]: intervalSeconds, missedMax
    "#]],
    );
    check(
        "port = 1\n",
        expect![[r#"
            configuration refused
              gateway.toml:1: port: unknown key; allowed at the top of the file: gateway, audit, log
        "#]],
    );
}

#[test]
fn wrong_shapes_are_refused() {
    check(
        "gateway = 1\n[log]\nlevel = [\"info\"]\n",
        expect![[r#"
        configuration refused
          gateway.toml:1: gateway: found 1; allowed: a table, [gateway]
          gateway.toml:3: log.level: found a list of 1; allowed: one of "error", "warn", "info", "debug", "trace"
    "#]],
    );
    check(
        "[gateway.auth]\nusers = \"alice\"\n",
        expect![[r#"
        configuration refused
          gateway.toml:2: gateway.auth.users: found "alice"; allowed: tables, each under [[gateway.auth.users]]
    "#]],
    );
    check(
        "[gateway.auth]\nusers = [1]\n",
        expect![[r#"
        configuration refused
          gateway.toml:2: gateway.auth.users: found 1; allowed: tables, each under [[gateway.auth.users]]
    "#]],
    );
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    check(
        "[gateway]\nport = \n",
        expect![[r#"
        configuration refused
          gateway.toml:2: not TOML: string values must be quoted, expected literal string
    "#]],
    );
    check(
        "[gateway]\nport = 1\nport = 2\n",
        expect![[r#"
        configuration refused
          gateway.toml:3: not TOML: duplicate key
    "#]],
    );
    check(
        "[gateway\n",
        expect![[r#"
        configuration refused
          gateway.toml:1: not TOML: unclosed table, expected `]`
    "#]],
    );
}

#[test]
fn flags_and_variables_are_named_instead_of_lines() {
    check_with(
        "",
        "--port http --bind here --log-level loud --metrics-port -1",
        &[("LOG_LEVEL", "quiet"), ("OPENCLAW_GATEWAY_TOKEN", "a|b")],
        expect![[r#"
            configuration refused
              OPENCLAW_GATEWAY_TOKEN: gateway.auth.token: found a text (not shown); allowed: a text of at most 4096 bytes without "|" and control characters, which a client could not sign
              LOG_LEVEL: log.level: found "quiet"; allowed: one of "error", "warn", "info", "debug", "trace"
              --bind: gateway.bind: found "here"; allowed: an IP address, such as "127.0.0.1", "0.0.0.0" or "::1"
              --port: gateway.port: found "http"; allowed: a number from 0 to 65535
              --metrics-port: gateway.metrics.port: found "-1"; allowed: a number from 0 to 65535
              --log-level: log.level: found "loud"; allowed: one of "error", "warn", "info", "debug", "trace"
        "#]],
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    check(
        "[gateway]\nport = 1\n[gateway.tls]\nport = 2\n",
        expect![[r#"
        configuration refused
          gateway.toml:4: gateway.tls.port: found 2, but gateway.port (gateway.toml:2) is 1; allowed: one of the two, or the same
    "#]],
    );
    check(
        "[gateway.tls]\nenabled = true\ncertFile = \"a\"\n",
        expect![[r#"
        configuration refused
          gateway.toml:2: gateway.tls.keyFile: missing; needed because gateway.tls.enabled is true
    "#]],
    );
    check(
        "[gateway.limits]\npreauthBytes = 1048576\nmessageBytes = 65536\n\
         backlogBytesTotal = 1048576\n",
        expect![[r#"
            configuration refused
              gateway.toml:2: gateway.limits.preauthBytes: found 1048576; allowed: at most messageBytes, 65536
              gateway.toml:4: gateway.limits.backlogBytes: found 4194304; allowed: at most backlogBytesTotal, 1048576
        "#]],
    );
}

#[test]
fn users_must_be_complete_and_distinct() {
    check(
        "[gateway.auth]\ntoken = \"one\"\n\
         [[gateway.auth.users]]\nname = \"alice\"\ntoken = \"one\"\nscopes = [\"operator.read\"]\n\
         [[gateway.auth.users]]\nname = \"alice\"\ntoken = \"two\"\nscopes = []\n\
         [[gateway.auth.users]]\nname = \"default\"\ntoken = \"3\"\nscopes = [\"operator.read\"]\n\
         [[gateway.auth.users]]\n",
        expect![[r#"
            configuration refused
              gateway.toml:3: gateway.auth.users.token: found one that is in use already; allowed: a token of the user's own
              gateway.toml:7: gateway.auth.users.scopes: found none; allowed: a list of one or more, each one of "operator.read", "operator.write", "operator.admin", "operator.approvals", "operator.pairing"
              gateway.toml:8: gateway.auth.users.name: found "alice"; allowed: a name of its own, not "default"
              gateway.toml:12: gateway.auth.users.name: found "default"; allowed: a name of its own, not "default"
              gateway.toml:15: gateway.auth.users.name: missing
              gateway.toml:15: gateway.auth.users.token: missing
              gateway.toml:15: gateway.auth.users.scopes: found none; allowed: a list of one or more, each one of "operator.read", "operator.write", "operator.admin", "operator.approvals", "operator.pairing"
        "#]],
    );
}

#[test]
fn secrets_are_never_shown() {
    let text = "[gateway.auth]\ntoken = \"hunter|2\"\npassword = 42\n\
                [[gateway.auth.users]]\nname = \"a\"\ntoken = \"hunter\\n3\"\n\
                scopes = [\"operator.read\"]\n";
    check_with(
        text,
        "",
        &[("OPENCLAW_GATEWAY_TOKEN", "hunter\n4")],
        expect![[r#"
            configuration refused
              gateway.toml:2: gateway.auth.token: found a value of type string (not shown); allowed: a text of at most 4096 bytes without "|" and control characters, which a client could not sign
              gateway.toml:3: gateway.auth.password: found a value of type integer (not shown); allowed: a text of at most 4096 bytes without control characters
              gateway.toml:6: gateway.auth.users.token: found a value of type string (not shown); allowed: a text of at most 4096 bytes without "|" and control characters, which a client could not sign
              OPENCLAW_GATEWAY_TOKEN: gateway.auth.token: found a text (not shown); allowed: a text of at most 4096 bytes without "|" and control characters, which a client could not sign
        "#]],
    );
    // Not even by a parser that quotes the line it stumbles over.
    check(
        "[gateway.auth]\ntoken = \"hunter2\n",
        expect![[r#"
        configuration refused
          gateway.toml:2: not TOML: invalid basic string, expected `"`
    "#]],
    );
}

#[test]
fn yaml_is_answered_with_toml() {
    let yaml = "# openclaw-gateway.yml\ngateway:\n  controlUi:\n    enabled: true\n    \
                allowedOrigins:\n      - https://mc.example.com  # Production\n    \
                requireDeviceAuth: true\n";
    check(
        yaml,
        expect![[r#"
            configuration refused
              gateway.toml:2: this is YAML, and the gateway reads TOML; put this into a file that ends in .toml:

            [gateway.controlUi]
            enabled = true
            allowedOrigins = ["https://mc.example.com"]
            requireDeviceAuth = true

        "#]],
    );
    let dir = TestDir::new();
    let file = dir.file("gateway.yml", "{a: b}\n", 0o644);
    let errors = Config::load(&args(&format!("--config {file}")), &environment(&[])).unwrap_err();
    assert!(errors.to_string().contains("gateway.yml:1: this is YAML"), "{errors}");
}

#[test]
fn unreadable_file_is_named_with_the_flag() {
    let error = Config::load(&args("--config /nonexistent.toml"), &environment(&[])).unwrap_err();
    expect![[r#"
        configuration refused
          --config: cannot read /nonexistent.toml: No such file or directory (os error 2)
    "#]]
    .assert_eq(&format!("{error}\n"));
    let environment = environment(&[("OPENCLAW_CONFIG", "/nonexistent.toml")]);
    let error = Config::load(&args(""), &environment).unwrap_err();
    expect![[r#"
        configuration refused
          OPENCLAW_CONFIG: cannot read /nonexistent.toml: No such file or directory (os error 2)
    "#]]
    .assert_eq(&format!("{error}\n"));
}

#[test]
fn great_many_errors_are_cut_short() {
    let text: String = (0..30).map(|n| format!("key{n} = 1\n")).collect();
    let error = load_with(&text, "", &[]).unwrap_err().to_string();
    assert!(error.ends_with("\n  and 10 more"), "{error}");
}

#[test]
fn spawn_rules_and_templates_are_checked() {
    check(
        "[gateway.spawn]\nenabled = 1\nallowedCommands = [\"bin/x\", \"\"]\nallowedDirs = [\"work\"]\n\
         maxConcurrent = 0\ntimeoutSeconds = 0\nenvAllow = [\"OPENCLAW_GATEWAY_TOKEN\"]\n\
         allowedCommand = []\n",
        expect![[r#"
            configuration refused
              gateway.toml:2: gateway.spawn.enabled: found 1; allowed: true or false
              gateway.toml:3: gateway.spawn.allowedCommands: found "bin/x"; allowed: a name, an absolute path, or "*" for every program
              gateway.toml:3: gateway.spawn.allowedCommands: found ""; allowed: a name, an absolute path, or "*" for every program
              gateway.toml:4: gateway.spawn.allowedDirs: found "work"; allowed: an absolute path
              gateway.toml:5: gateway.spawn.maxConcurrent: found 0; allowed: an integer from 1 to 1000
              gateway.toml:6: gateway.spawn.timeoutSeconds: found 0; allowed: an integer from 1 to 31622400
              gateway.toml:7: gateway.spawn.envAllow: found "OPENCLAW_GATEWAY_TOKEN"; allowed: the name of a variable that is not the gateway's own (OPENCLAW_…)
              gateway.toml:8: gateway.spawn.allowedCommand: unknown key (did you mean allowedCommands?); allowed in [gateway.spawn]: allowedCommands, allowedDirs, envAllow, enabled, maxConcurrent, maxQueued, timeoutSeconds, graceSeconds, leftoverGraceSeconds, outputBytesPerSecondMax, runAs
        "#]],
    );
    check(
        "[gateway.agents]\ndefualt = \"a\"\n[gateway.agents.a]\nargs = [\"{task}\"]\n\
         [gateway.agents.b]\ncommand = \"*\"\nstdoutReport = true\ncwd = \"work\"\n\
         [gateway.agents.c.env]\nPATH = \"/x\"\nLD_PRELOAD = \"/x\"\nOPENCLAW_X = \"\"\nN = 1\n\
         [gateway.agents.\"a b\"]\ncommand = \"x\"\n",
        expect![[r#"
            configuration refused
              gateway.toml:2: gateway.agents.defualt: found "a"; allowed: a table, [gateway.agents.NAME] (did you mean default?)
              gateway.toml:3: gateway.agents.a.command: missing; allowed: a name or an absolute path
              gateway.toml:6: gateway.agents.b.command: found "*"; allowed: a name or an absolute path
              gateway.toml:7: gateway.agents.b.stdoutReport: unknown key (did you mean stdoutReports?); allowed in [gateway.agents.b]: command, args, cwd, env, timeoutSeconds, maxConcurrent, stdoutReports, runAs
              gateway.toml:8: gateway.agents.b.cwd: found "work"; allowed: an absolute path
              gateway.toml:9: gateway.agents.c.command: missing; allowed: a name or an absolute path
              gateway.toml:10: gateway.agents.c.env.PATH: allowed: texts without NUL, under names other than PATH, LD_… and OPENCLAW_…, which may not be set
              gateway.toml:11: gateway.agents.c.env.LD_PRELOAD: allowed: texts without NUL, under names other than PATH, LD_… and OPENCLAW_…, which may not be set
              gateway.toml:12: gateway.agents.c.env.OPENCLAW_X: allowed: texts without NUL, under names other than PATH, LD_… and OPENCLAW_…, which may not be set
              gateway.toml:13: gateway.agents.c.env.N: allowed: texts without NUL, under names other than PATH, LD_… and OPENCLAW_…, which may not be set
              gateway.toml:14: gateway.agents.a b: allowed as a name: 1 to 64 of the characters A-Z a-z 0-9 . _ -
        "#]],
    );
}
