//! The texts that stand for something: addresses, origins, hosts, scopes, levels.
//!
//! Each parser comes with the sentence that says what it allows. Pure.

use std::net::IpAddr;

use crate::base::limits::SECRET_FILE_BYTES_MAX;
use crate::base::secret::Secret;
use crate::protocol::peer::Cidr;
use crate::protocol::scope::ScopeSet;

/// The sentence that says what a text may be, and what it then is.
pub(super) type Rule<T> = (&'static str, fn(&str) -> Option<T>);

/// What [`ip`] allows.
pub(super) const IP_ALLOWED: &str = "an IP address, such as \"127.0.0.1\", \"0.0.0.0\" or \"::1\"";

/// An address to bind to.
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

pub(super) const PROXY_ALLOWED: &str =
    "an IP address or a network in CIDR form, such as \"10.0.0.1\" or \"10.0.0.0/8\"";

pub(super) fn proxy(text: &str) -> Option<Cidr> {
    Cidr::parse(text)
}

pub(super) const ORIGIN_ALLOWED: &str =
    "\"*\", or scheme://host[:port] without a path, such as \"https://mc.example.com\"";

/// An origin, lower-cased; `*` stays as it is.
pub(super) fn origin(text: &str) -> Option<String> {
    if text == "*" {
        return Some(text.to_owned());
    }
    let (scheme, host) = text.split_once("://")?;
    let mut letters = scheme.bytes();
    let is_scheme = letters.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    (is_scheme && is_authority(host)).then(|| text.to_ascii_lowercase())
}

pub(super) const HOST_ALLOWED: &str =
    "a host name or address without scheme, port or path, such as \"gateway.example.com\"";

/// A host, lower-cased. An IPv6 address may stand in brackets, as in a `Host` header, or not.
pub(super) fn host(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let is_address = bare.parse::<IpAddr>().is_ok();
    let is_name = is_authority(text) && !text.contains([':', '[', ']']);
    (is_address || is_name).then(|| bare.to_ascii_lowercase())
}

fn is_authority(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"/\\?#@\"<>|,;*".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

pub(super) const SCOPE_ALLOWED: &str = "one of \"operator.read\", \"operator.write\", \
     \"operator.admin\", \"operator.approvals\", \"operator.pairing\"";

pub(super) fn scope(text: &str) -> Option<ScopeSet> {
    Some(match text {
        "operator.read" => ScopeSet::READ,
        "operator.write" => ScopeSet::WRITE,
        "operator.admin" => ScopeSet::ADMIN,
        "operator.approvals" => ScopeSet::APPROVALS,
        "operator.pairing" => ScopeSet::PAIRING,
        _ => return None,
    })
}

pub(super) const NAME_ALLOWED: &str = "1 to 64 of the characters A-Z a-z 0-9 . _ -";

/// A user's name.
pub(super) fn name(text: &str) -> Option<String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    ((1..=64).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| text.to_owned())
}

pub(super) const LEVEL_ALLOWED: &str = "one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"";

/// A level; in the environment it is often written in capitals.
pub(super) fn level(text: &str) -> Option<log::LevelFilter> {
    Some(match text.to_ascii_lowercase().as_str() {
        "error" => log::LevelFilter::Error,
        "warn" => log::LevelFilter::Warn,
        "info" => log::LevelFilter::Info,
        "debug" => log::LevelFilter::Debug,
        "trace" => log::LevelFilter::Trace,
        _ => return None,
    })
}

/// A shared secret that is sent as a token, which is part of what a device signs.
/// An empty one is allowed here, and then counts as not set.
pub(super) const TOKEN: Rule<Secret> = (
    "a text of at most 4096 bytes without \"|\" and control characters, \
     which a client could not sign",
    |text| password(text).filter(|_| !text.contains('|')),
);

/// A shared secret that is sent as a password.
pub(super) const PASSWORD: Rule<Secret> =
    ("a text of at most 4096 bytes without control characters", password);

fn password(text: &str) -> Option<Secret> {
    let is_allowed = |c: char| !c.is_control();
    (text.len() as u64 <= SECRET_FILE_BYTES_MAX && text.chars().all(is_allowed))
        .then(|| Secret::new(text))
}

pub(super) const TEXT_ALLOWED: &str = "a text that is not empty";

/// A path, which an empty text is not.
pub(super) fn path(text: &str) -> Option<std::path::PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: std::fmt::Debug>(parse: impl Fn(&str) -> Option<T>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(parse(text).is_some(), "{text:?} should be allowed");
        }
        for text in bad {
            assert!(parse(text).is_none(), "{text:?} should be refused: {:?}", parse(text));
        }
    }

    #[test]
    fn texts_are_parsed_or_refused() {
        check(ip, &["127.0.0.1", "::", "0.0.0.0"], &["", "localhost", "127.0.0.1:80", "[::1]"]);
        check(
            proxy,
            &["10.0.0.1", "10.0.0.0/8", "::1", "fd00::/8", "0.0.0.0/0"],
            &["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "fd00::/129", "proxy", "10.0.0/8"],
        );
        check(
            origin,
            &["*", "https://mc.example.com", "http://localhost:3000", "http://[::1]:3000"],
            &[
                "",
                "mc.example.com",
                "https://",
                "https://a/",
                "https://a b",
                "https://*.a.com",
                "://a",
            ],
        );
        check(
            host,
            &["gateway.example.com", "10.0.0.1", "::1", "[::1]", "localhost"],
            &["", "https://a", "a:80", "a/b", "a b", "[::1]:80"],
        );
        check(scope, &["operator.read", "operator.pairing"], &["", "read", "operator.all"]);
        check(name, &["a", "A.b_c-9"], &["", "ü", "a b", "a|b", &"x".repeat(65)]);
        check(TOKEN.1, &["", "s3cret ü"], &["a|b", "a\nb", "a\0", &"x".repeat(4097)]);
        check(PASSWORD.1, &["", "a|b"], &["a\nb", "\u{7f}", &"x".repeat(4097)]);
        check(level, &["info", "WARN"], &["", "off", "verbose"]);
    }

    #[test]
    fn origins_and_hosts_are_case_folded() {
        assert_eq!(origin("HTTPS://MC.Example.com").unwrap(), "https://mc.example.com");
        assert_eq!(host("Gateway.Example.COM").unwrap(), "gateway.example.com");
        assert_eq!(host("[::1]").unwrap(), "::1");
    }

    #[test]
    fn single_proxy_counts_all_its_bits() {
        assert_eq!(proxy("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert_eq!(proxy("::1").unwrap().to_string(), "::1/128");
    }
}
