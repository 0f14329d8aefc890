//! The help of every subcommand.

use expect_test::{Expect, expect};

use crate::run;

/// Compares a subcommand's own part of the help; all end with the same options.
#[track_caller]
fn check(name: &str, expected: &Expect) {
    let (code, stdout, stderr) = run(&[name, "--help"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let (own, common) = stdout.split_once("\nWhich gateway:\n").expect("the common part");
    expected.assert_eq(own);
    let (_, status, _) = run(&["status", "--help"]);
    assert!(status.ends_with(common));
    assert_eq!(run(&[name, "-h"]), (0, stdout.clone(), String::new()));
    assert_eq!(run(&[name, "--nonsense", "--help"]), (0, stdout.clone(), String::new()));
    for line in stdout.lines() {
        assert!(line.chars().count() <= 100, "too long for a terminal: {line}");
    }
}

#[test]
fn the_options_that_all_have() {
    let (_, stdout, _) = run(&["status", "--help"]);
    let (_, common) = stdout.split_once("\nWhich gateway:\n").unwrap();
    expect![[r#"
          --url URL            ws://HOST:PORT or wss://HOST:PORT (also: OPENCLAW_GATEWAY_URL;
                               default: ws://127.0.0.1:8080)
          --state-dir DIR      instead, the gateway on this machine that keeps its state in DIR: through
                               its local socket, as its owner, without credentials
          --config FILE        the same, with the state directory of this configuration
          --ca FILE            trust these certificates (PEM): an authority's, or the gateway's own
          --insecure           trust any certificate; whoever is in between can read and change everything

        As whom:
          --token-file FILE    the gateway's shared secret (also: OPENCLAW_GATEWAY_TOKEN); only the first
                               connect of a device may need it
          --scopes LIST        ask for less than operator.admin, such as operator.read
          OPENCLAW_PAIRING_CODE holds the one-time code that the gateway's start or `devices pair` printed.
          The device key is made at first use, in openclaw-gateway/device.key below XDG_CONFIG_HOME or
          ~/.config; every agent name has its own in openclaw-gateway/agents/.

        How:
          --timeout TIME       how long to wait for a connection, and for each answer: 30s
          --json, --text       one JSON document per line, or text for people; call and tail choose JSON
                               where the output is no terminal, the others text
          -h, --help           show this text

        Exit status: 0 done, 1 the gateway answered with an error or something failed here, 2 wrong usage,
        3 cannot connect or connection lost, 4 timed out, 5 not admitted: pairing or credentials.
    "#]].assert_eq(common);
}

#[test]
fn help_of_call() {
    check(
        "call",
        &expect![[r#"
            openclaw-gateway call: call a method and print the answer

            Usage: openclaw-gateway call METHOD [JSON] [OPTIONS]

            JSON is an object with the parameters; - reads it from standard input. The answer is indented on a
            terminal and on one line in a pipe. Where the first answer says "accepted", the final one follows
            it; --timeout is for each. docs/protocol.md lists the methods.

              openclaw-gateway call status
              openclaw-gateway call logs.tail '{"limit":3,"level":"warn"}'
        "#]],
    );
}

#[test]
fn help_of_tail() {
    check(
        "tail",
        &expect![[r#"
        openclaw-gateway tail: show the journal as it grows

        Usage: openclaw-gateway tail [OPTIONS]

        Shows the newest entries and then each new one: coloured text on a terminal, one JSON document per
        line in a pipe. When the connection is lost it connects again, after 1, 2, 4, 8, 16, then every 30
        seconds, and goes on where it stopped: every entry once, in order. Control and bidirectional
        characters are shown as escapes.

          --session KEY        only this session
          --source NAME        only this agent
          --level LEVEL        only debug, info, warn or error and what is more severe
          --since TIME         begin so long ago (10m, 2h, 3d) or at a time in UTC (2026-11-22T18:30)
          --cursor N           begin after the entry with this cursor; 0 is the oldest kept
          -n, --lines N        begin with the newest N entries: 10
          --no-follow          end when everything that is there was shown
    "#]],
    );
}

#[test]
fn help_of_report() {
    check(
        "report",
        &expect![[r#"
            openclaw-gateway report: say something as an agent, so that a shell script can be one

            Usage: openclaw-gateway report log [MESSAGE...] [--agent NAME] [OPTIONS]
                   openclaw-gateway report session KEY [--agent NAME] [OPTIONS]
                   openclaw-gateway report usage KEY [--agent NAME] [OPTIONS]
                   openclaw-gateway report status STATUS [--agent NAME] [OPTIONS]
                   openclaw-gateway report event EVENT JSON [--agent NAME] [OPTIONS]

            When it ends with 0 the report is on the gateway's disk. Without --agent the report is an
            operator's. Without MESSAGE, every line of standard input is an entry, as long as it lasts; after a
            lost connection it goes on with the same line. A KEY without a colon is the agent's own: NAME:KEY.

            In a program that a gateway started, the environment says who it is: without --agent the report is
            that agent's and, without a session or KEY, about the program's own session.

              --agent NAME         be this agent; the name belongs to the key that used it first
              --key KEY            an idempotency key: the same report under the same key counts once

            log:
              --level LEVEL        debug, info (default), warn or error
              --session KEY        the session it belongs to
              --source NAME        who says it (operators only)
              --timestamp MS       when, in milliseconds since 1970
              --extra JSON         an object with more

            session (what holds now) and usage (what is added):
              --kind --model --label TEXT
              --total-tokens --context-tokens --message-count N, --active true|false (session)
              --input-tokens --output-tokens N, --cost AMOUNT
              --messages N (usage)

            status:
              --id N               the number under which clients know the agent
              --name NAME          whose status (operators only)
              --last-activity TEXT what it did last

              make 2>&1 | openclaw-gateway report log --agent builder --session nightly
              openclaw-gateway report usage chat --agent builder --input-tokens 1200 --output-tokens 80
        "#]],
    );
}

#[test]
fn help_of_sessions() {
    check(
        "sessions",
        &expect![[r#"
        openclaw-gateway sessions: list the agents' sessions, most recently active first

        Usage: openclaw-gateway sessions [OPTIONS]

          --agent NAME         only this agent's
          --active-within TIME only those that changed within this time, such as 10m
          --limit N            at most so many; all without it
    "#]],
    );
}

#[test]
fn help_of_status() {
    check(
        "status",
        &expect![[r#"
        openclaw-gateway status: how the gateway is, in a few lines

        Usage: openclaw-gateway status [OPTIONS]
    "#]],
    );
}

#[test]
fn help_of_devices() {
    check(
        "devices",
        &expect![[r#"
        openclaw-gateway devices: who may connect, and who waits to be let in

        Usage: openclaw-gateway devices [list] [OPTIONS]
               openclaw-gateway devices approve REQUEST [OPTIONS]
               openclaw-gateway devices reject REQUEST [OPTIONS]
               openclaw-gateway devices revoke DEVICE [OPTIONS]
               openclaw-gateway devices forget DEVICE [OPTIONS]
               openclaw-gateway devices pair [OPTIONS]

        Without --url or OPENCLAW_GATEWAY_URL it uses the local socket of the gateway that keeps its state
        in ./state, which also works while nobody can log in.

          list                 requests that wait, then devices; the default
          approve REQUEST      let a device in, with what it asks for
          reject REQUEST       do not; it may ask again
          revoke DEVICE        end its connections and tokens at once, and keep its key out
          forget DEVICE        let a revoked key ask again (local socket only)
          pair                 print a one-time code that lets one device in (local socket only)
    "#]],
    );
}

/// The same for a subcommand about a gateway's files, whose help is whole.
#[track_caller]
fn check_whole(name: &str, expected: &Expect) {
    let (code, stdout, stderr) = run(&[name, "--help"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    expected.assert_eq(&stdout);
    assert_eq!(run(&[name, "-h"]).1, stdout);
    for line in stdout.lines() {
        assert!(line.chars().count() <= 100, "too long for a terminal: {line}");
    }
}

#[test]
fn help_of_backup() {
    check_whole(
        "backup",
        &expect![[r#"
        openclaw-gateway backup: copy the gateway's state into one file, while it runs or while it does not

        Usage: openclaw-gateway backup FILE [OPTIONS]

        The copy is of one moment. FILE gets its name when it is complete and on disk, mode 0600: it holds
        what agents wrote, and hashes of device tokens. A gateway that runs goes on meanwhile.

          --state-dir DIR      where the gateway keeps its state
          --config FILE        the same, by its configuration (also: OPENCLAW_CONFIG)
          -h, --help           show this text

        Exit status: 0 done, 1 something failed and FILE is as it was before, 2 wrong usage.
    "#]],
    );
}

#[test]
fn help_of_restore() {
    check_whole(
        "restore",
        &expect![[r#"
        openclaw-gateway restore: put a backup in the place of the gateway's state

        Usage: openclaw-gateway restore FILE [OPTIONS]

        FILE is read to its end and checked before anything is touched. Stop the gateway first. The state
        that was there is kept beside the new one. Devices stay approved as in the backup, except those
        revoked since; device tokens are dropped, so every device signs once more; log cursors go on beyond
        all that were ever given.

          --state-dir DIR      where the gateway keeps its state
          --config FILE        the same, by its configuration (also: OPENCLAW_CONFIG)
          -h, --help           show this text

        Exit status: 0 done, 1 something failed and the state is as it was before, 2 wrong usage.
    "#]],
    );
}

#[test]
fn help_of_doctor() {
    check_whole(
        "doctor",
        &expect![[r#"
        openclaw-gateway doctor: what could keep this gateway from starting, or from running for years

        Usage: openclaw-gateway doctor [OPTIONS]

        Looks at the configuration, permissions, certificates, the audit file, the limits of this machine,
        free space, the clock and the ports, and changes nothing, while the gateway runs or not. Run it as
        the gateway's user.

          --state-dir DIR      where the gateway keeps its state
          --config FILE        its configuration (also: OPENCLAW_CONFIG)
          --json, --text       one JSON document per line, or text for people
          -h, --help           show this text

        Exit status: 0 nothing failed (there may be warnings), 1 a check failed, 2 wrong usage.
    "#]],
    );
}

#[test]
fn help_of_health() {
    check_whole(
        "health",
        &expect![[r#"
        openclaw-gateway health: whether the gateway on this machine takes reports

        Usage: openclaw-gateway health [OPTIONS]

        Asks over the gateway's local socket, without credentials; for health checks.

          --state-dir DIR      where the gateway keeps its state
          --config FILE        the same, by its configuration (also: OPENCLAW_CONFIG)
          -h, --help           show this text

        Exit status: 0 ready, 1 not ready or no answer within 5 seconds, 2 wrong usage.
    "#]],
    );
}

#[test]
fn help_of_reload() {
    check_whole(
        "reload",
        &expect![[r#"
        openclaw-gateway reload: have the running gateway read its configuration again

        Usage: openclaw-gateway reload [OPTIONS]

        Prints what was applied and what needs a restart. A configuration that is wrong changes nothing.
        Asks over the gateway's local socket, without credentials; SIGHUP asks for the same.

          --state-dir DIR      where the gateway keeps its state
          --config FILE        the same, by its configuration (also: OPENCLAW_CONFIG)
          -h, --help           show this text

        Exit status: 0 applied, 1 not applied or no answer, 2 wrong usage.
    "#]],
    );
}
