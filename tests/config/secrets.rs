//! Secrets in files, empty secrets, and what becomes of them in the hub's policy.

use openclaw_gateway::base::secret::Secret;
use openclaw_gateway::hub::policy::SecretKind;
use openclaw_gateway::protocol::scope::ScopeSet;

use super::{TestDir, load};

fn token_from(dir: &TestDir, content: &str, mode: u32) -> Result<Option<String>, String> {
    let file = dir.file("token", content, mode);
    let config = load(&format!("[gateway.auth]\ntokenFile = \"{file}\"\n"));
    let config = config.map_err(|errors| errors.0[0].problem.replace(&file, "FILE"))?;
    Ok(config.auth.token.map(|token| token.expose().to_owned()))
}

#[test]
fn secret_file_is_read_without_its_line_end() {
    let dir = TestDir::new();
    for content in ["s3cret", "s3cret\n", "s3cret\r\n"] {
        assert_eq!(token_from(&dir, content, 0o600), Ok(Some("s3cret".to_owned())));
    }
    assert_eq!(token_from(&dir, " s3cret \n", 0o640), Ok(Some(" s3cret ".to_owned())));
}

#[test]
fn unusable_secret_files_are_refused() {
    let dir = TestDir::new();
    let error = |content: &str, mode| token_from(&dir, content, mode).unwrap_err();
    assert_eq!(error("s3cret", 0o604), "FILE is world-readable (mode 0604); chmod o-r FILE");
    assert_eq!(error("", 0o600), "FILE is empty");
    assert_eq!(error("\r\n", 0o600), "FILE is empty");
    assert!(error("one\ntwo\n", 0o600).starts_with("FILE must hold a text"));
    assert_eq!(error(&"x".repeat(5_000), 0o600), "FILE is over 4096 bytes");
    let text = "[gateway.auth]\npasswordFile = \"/nonexistent\"\n";
    let errors = load(text).unwrap_err();
    assert!(errors.0[0].problem.starts_with("cannot read /nonexistent: "), "{errors}");
}

#[test]
fn secret_and_its_file_exclude_each_other() {
    let text = "[gateway.auth]\ntoken = \"a\"\ntokenFile = \"b\"\n";
    let problem = &load(text).unwrap_err().0[0].problem;
    let expected = "found beside gateway.auth.token (gateway.toml:2); allowed: one of the two";
    assert_eq!(problem, expected);
}

#[test]
fn empty_secret_counts_as_none_and_is_warned_of() {
    let text = "[gateway.auth]\ntoken = \"\"\n[[gateway.auth.users]]\nname = \"a\"\ntoken = \"\"\n\
                scopes = [\"operator.read\"]\n";
    let config = load(text).unwrap();
    assert_eq!(config.auth.token, None);
    assert!(config.auth.users.is_empty());
    assert!(config.policy("0", None).auth.secrets.is_empty());
    assert_eq!(
        config.warnings(),
        [
            "gateway.auth.token is empty: it counts as not set",
            "gateway.auth.users.token is empty: it counts as not set",
        ]
    );
}

#[test]
fn policy_knows_secrets_by_their_hashes() {
    let text = "[gateway.auth]\ntoken = \"t\"\npassword = \"p\"\n[[gateway.auth.users]]\n\
                name = \"alice\"\ntoken = \"a\"\nscopes = [\"operator.read\", \"operator.pairing\"]\n";
    let policy = load(text).unwrap().policy("1.2.3", None);
    assert_eq!(policy.version, "1.2.3");
    let found: Vec<_> = policy
        .auth
        .secrets
        .iter()
        .zip(["t", "p", "a"])
        .map(|(secret, text)| {
            assert!(secret.hash.matches(&Secret::new(text).hash()), "{text}");
            (secret.user.as_str(), secret.kind, secret.scopes)
        })
        .collect();
    let alice = ScopeSet(ScopeSet::READ.0 | ScopeSet::PAIRING.0);
    assert_eq!(
        found,
        [
            ("default", SecretKind::Token, ScopeSet::ALL),
            ("default", SecretKind::Password, ScopeSet::ALL),
            ("alice", SecretKind::Token, alice),
        ]
    );
    assert!(!format!("{policy:?}").contains("Secret(\""));
}
