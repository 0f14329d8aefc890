//! Warnings about what starts nevertheless, and what `--check` looks at beyond the file.

use std::ffi::OsString;

use expect_test::{Expect, expect};
use openclaw_gateway::app::args::Args;
use openclaw_gateway::app::check::check;
use openclaw_gateway::app::config::{Config, Environment};
use openclaw_gateway::base::ids::AgentName;

use super::{TestDir, load};

#[track_caller]
fn check_warning(text: &str, expected: &str) {
    let warnings = load(text).unwrap().warnings();
    match expected {
        "" => assert_eq!(warnings, Vec::<String>::new()),
        _ => {
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].contains(expected), "{warnings:?}");
        }
    }
}

#[test]
fn unsafe_settings_are_one_warning_each() {
    check_warning("[gateway]\nbind = \"0.0.0.0\"\n", "without TLS or a trusted proxy");
    check_warning("[gateway]\nbind = \"0.0.0.0\"\ntrustedProxies = [\"10.0.0.1\"]\n", "");
    check_warning("[gateway.controlUi]\nallowedOrigins = [\"*\"]\n", "any web page");
    check_warning("[gateway.controlUi]\nenabled = false\nallowedOrigins = [\"*\"]\n", "");
    check_warning("[gateway.controlUi]\nrequireDeviceAuth = false\n", "requireDeviceAuth is off");
    check_warning("[gateway.spawn]\nallowedCommands = [\"*\"]\n", "every program");
    check_warning("[gateway.spawn]\nenabled = false\nallowedCommands = [\"*\"]\n", "");
    check_warning(
        "[gateway.spawn]\nallowedCommands = [\"p\"]\nallowedDirs = [\"/\"]\n",
        "every directory",
    );
    check_warning("[gateway.spawn]\nallowedDirs = [\"/\"]\n", "");
    check_warning("[gateway.auth.deviceAuth]\nregistration = \"open\"\n", "is \"open\"");
    check_warning("[gateway.auth]\nsharedSecretWithoutDevice = \"always\"\n", "is \"always\"");
    check_warning("[gateway.auth.deviceAuth]\nrequireSignature = false\n", "every program");
    check_warning("[gateway.auth.deviceAuth]\nenabled = false\n", "nobody can prove");
    check_warning("[gateway]\ndurability = \"relaxed\"\n", "loses up to a second");
    let variable = |name: &str| (name == "OPENCLAW_GATEWAY_TOKEN").then(OsString::new);
    let environment = Environment::read(variable);
    let config = Config::load(&Args::default(), &environment).unwrap();
    let warnings = config.warnings();
    assert!(warnings.iter().any(|line| line.starts_with("OPENCLAW_GATEWAY_TOKEN is empty")));
    check_warning("[gateway.metrics]\nbind = \"0.0.0.0\"\n", "beyond this machine");
}

/// A certificate and its key, as PEM.
fn certificate() -> (String, String) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (certified.cert.pem(), certified.signing_key.serialize_pem())
}

fn tls(cert: &str, key: &str, dir: &TestDir) -> String {
    let state = dir.0.join("state");
    format!(
        "[gateway]\nstateDir = \"{}\"\n[gateway.tls]\nenabled = true\ncertFile = \"{cert}\"\n\
         keyFile = \"{key}\"\n",
        state.display()
    )
}

#[test]
fn certificate_whose_time_is_over_is_good_but_warned_of() {
    let dir = TestDir::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let key_file = dir.file("key.pem", &key.serialize_pem(), 0o600);
    let warned = |from: i32, until: i32| {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 2);
        params.not_after = rcgen::date_time_ymd(until, 1, 2);
        let cert_file = dir.file("cert.pem", &params.self_signed(&key).unwrap().pem(), 0o644);
        let warnings = check(&load(&tls(&cert_file, &key_file, &dir)).unwrap()).unwrap();
        warnings.join("\n").replace(dir.0.to_str().unwrap(), "DIR")
    };
    assert_eq!(warned(2020, 2999), "");
    assert_eq!(
        warned(2020, 2021),
        "gateway.tls.certFile: DIR/cert.pem has ended on 2021-01-02: clients will refuse it; renew it"
    );
    assert_eq!(
        warned(2998, 2999),
        "gateway.tls.certFile: DIR/cert.pem is not good before 2998-01-02: clients will refuse it; \
         renew it"
    );
}

#[track_caller]
fn check_tls(cert: &str, key: &str, dir: &TestDir, expected: Expect) {
    let config = load(&tls(cert, key, dir)).unwrap();
    let report = check(&config).err().map_or_else(|| "fine".to_owned(), |error| error.report());
    expected.assert_eq(
        &report
            .replace(dir.0.to_str().unwrap(), "DIR")
            .replace("gateway: configuration refused\n  ", ""),
    );
}

#[test]
fn certificate_and_key_must_be_there_and_belong_together() {
    let dir = TestDir::new();
    let (cert, key) = certificate();
    let (_, other_key) = certificate();
    let cert_file = dir.file("cert.pem", &cert, 0o644);
    let key_file = dir.file("key.pem", &key, 0o600);
    let other_file = dir.file("other.pem", &other_key, 0o600);
    let open_file = dir.file("open.pem", &key, 0o644);
    let empty_file = dir.file("empty.pem", "", 0o600);
    let broken = "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n";
    let broken_file = dir.file("broken.pem", broken, 0o600);
    check_tls(&cert_file, &key_file, &dir, expect!["fine"]);
    check_tls(
        &cert_file,
        &other_file,
        &dir,
        expect![
            "gateway.toml:6: gateway.tls.keyFile: the key in DIR/other.pem does not belong to the first certificate in DIR/cert.pem"
        ],
    );
    check_tls(
        &cert_file,
        &open_file,
        &dir,
        expect![
            "gateway.toml:6: gateway.tls.keyFile: DIR/open.pem is world-readable (mode 0644); chmod o-r DIR/open.pem"
        ],
    );
    check_tls(
        &cert_file,
        &empty_file,
        &dir,
        expect![
            "gateway.toml:6: gateway.tls.keyFile: DIR/empty.pem has no private key: expected a section BEGIN PRIVATE KEY, unencrypted"
        ],
    );
    check_tls(
        &empty_file,
        &key_file,
        &dir,
        expect![
            "gateway.toml:5: gateway.tls.certFile: DIR/empty.pem has no certificate: expected a section BEGIN CERTIFICATE"
        ],
    );
    check_tls(
        &broken_file,
        &key_file,
        &dir,
        expect![
            "gateway.toml:5: gateway.tls.certFile: DIR/broken.pem is not a PEM file: base64 decode error: InvalidCharacter(37)"
        ],
    );
    check_tls(
        "/nonexistent",
        &key_file,
        &dir,
        expect![
            "gateway.toml:5: gateway.tls.certFile: cannot read /nonexistent: No such file or directory (os error 2)"
        ],
    );
    check_tls(
        &cert_file,
        "/nonexistent",
        &dir,
        expect![
            "gateway.toml:6: gateway.tls.keyFile: cannot read /nonexistent: No such file or directory (os error 2)"
        ],
    );
    assert!(!dir.0.join("state").exists(), "a check leaves nothing behind");
}

#[test]
fn state_directory_must_be_a_place_to_write_to() {
    let dir = TestDir::new();
    let file = dir.file("file", "", 0o600);
    let config = load(&format!("[gateway]\nstateDir = \"{file}/state\"\n")).unwrap();
    let report = check(&config).unwrap_err().report();
    assert!(report.starts_with("gateway: cannot write to state directory "), "{report}");
}

#[test]
fn a_template_takes_what_it_does_not_say_from_the_rules() {
    let config = load(
        "[gateway.spawn]\ntimeoutSeconds = 60\nmaxConcurrent = 7\n[gateway.agents]\n\
         default = \"a\"\n[gateway.agents.a]\ncommand = \"/bin/a\"\nargs = [\"{task}\", \"\"]\n\
         env = { A = \"1\" }\n[gateway.agents.b]\ncommand = \"b\"\ntimeoutSeconds = 90\n\
         maxConcurrent = 1\nstdoutReports = true\nrunAs = \"agents\"\n",
    )
    .unwrap();
    let spawn = &config.policy("", None).spawn;
    let [a, b] = ["a", "b"].map(|name| &spawn.templates[&AgentName::new(name)]);
    assert_eq!(spawn.default_agent, Some(AgentName::new("a")));
    assert_eq!((a.timeout.as_secs(), a.concurrent_max, a.stdout_reports), (60, 7, false));
    assert_eq!(a.args, ["{task}", ""]);
    assert_eq!(a.env, [("A".to_owned(), "1".to_owned())]);
    assert_eq!((b.timeout.as_secs(), b.concurrent_max, b.stdout_reports), (90, 1, true));
    assert_eq!(b.run_as.as_deref(), Some("agents"));
}
