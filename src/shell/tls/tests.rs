//! What `tls` promises.

use super::*;
use expect_test::{Expect, expect};

fn made() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[track_caller]
fn check(cert: &str, key: &str, expected: &Expect) {
    let outcome = server_config_from_pem(
        (Path::new("cert.pem"), cert.as_bytes()),
        (Path::new("key.pem"), key.as_bytes()),
    );
    expected.assert_eq(&outcome.err().map_or_else(|| "fine".to_owned(), |error| error.to_string()));
}

#[test]
fn each_mistake_names_its_file() {
    let (cert, key) = made();
    let (other_cert, other_key) = made();
    check(&cert, &key, &expect!["fine"]);
    check(&format!("{cert}{other_cert}"), &key, &expect!["fine"]);
    check(&format!("{key}{cert}"), &format!("{cert}{key}"), &expect!["fine"]);
    check(
        &cert,
        &other_key,
        &expect!["the key in key.pem does not belong to the first certificate in cert.pem"],
    );
    check(
        &key,
        &key,
        &expect!["cert.pem has no certificate: expected a section BEGIN CERTIFICATE"],
    );
    check(
        &cert,
        &cert,
        &expect!["key.pem has no private key: expected a section BEGIN PRIVATE KEY, unencrypted"],
    );
    check("", "", &expect!["cert.pem has no certificate: expected a section BEGIN CERTIFICATE"]);
    check(
        &cert.replace("MII", "!!!"),
        &key,
        &expect!["cert.pem is not a PEM file: base64 decode error: InvalidCharacter(33)"],
    );
    check(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        &key,
        &expect!["cannot use cert.pem: invalid peer certificate: BadEncoding"],
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = server_config(Path::new("no/such/cert.pem"), Path::new("key.pem")).unwrap_err();
    assert!(error.to_string().starts_with("cannot read no/such/cert.pem: "), "{error}");
}
