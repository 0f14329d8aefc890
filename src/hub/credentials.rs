//! What a `connect` presents beside a device proof, compared with what we know
//! (`docs/protocol.md`, "Credentials").
//!
//! Every candidate is compared with every secret, in constant time, whatever was found before.
//! Decides nothing: `admission` does.

use std::time::Instant;

use crate::base::secret::{Secret, SecretHash};
use crate::hub::pairing::Pairings;
use crate::hub::policy::{AuthPolicy, SecretKind, SharedSecret};
use crate::hub::rate_limit::Credential;
use crate::hub::tokens::{TokenHash, Tokens};
use crate::protocol::connect::{Connect, is_device_token};

/// How what was presented came out.
#[derive(Debug, Default)]
pub(super) struct Presented {
    /// The shared secret that was right, and where it was found.
    pub(super) shared: Option<(SharedSecret, SecretKind)>,
    /// The live device token that was found.
    pub(super) token: Option<TokenHash>,
    /// Whether the pairing code was right.
    pub(super) code: bool,
    /// Whether `auth.token` held a wrong shared secret.
    pub(super) wrong_token: bool,
    /// Whether `auth.token` held a shared secret where none is configured.
    pub(super) pointless_token: bool,
    /// Whether `auth.password` was wrong.
    pub(super) wrong_password: bool,
    /// Whether something was presented that could only be a device token, and is none.
    pub(super) wrong_device_token: bool,
    /// Whether the pairing code was wrong.
    pub(super) wrong_code: bool,
}

/// Whether a `connect` presents anything that could be guessed at: a shared secret or a pairing
/// code. A device token of 256 random bits cannot.
pub(super) fn presents_guessable(connect: &Connect) -> bool {
    connect.auth_token.as_ref().is_some_and(|token| !is_device_token(token))
        || connect.password.is_some()
        || connect.pairing_code.is_some()
}

/// Compares all of it. Without `devices_enabled` tokens and codes are not looked at.
pub(super) fn evaluate(
    now: Instant,
    unix_ms: u64,
    connect: &Connect,
    auth: &AuthPolicy,
    tokens: &Tokens,
    pairings: &Pairings,
) -> Presented {
    let mut presented = Presented::default();
    if auth.devices_enabled {
        let slots = [&connect.auth_device_token, &connect.auth_token, &connect.root_device_token];
        for token in slots.into_iter().flatten() {
            let hash = token.hash().0;
            if tokens.find(&hash, unix_ms).is_some() {
                presented.token.get_or_insert(hash);
            }
        }
        presented.wrong_device_token = presented.token.is_none()
            && (connect.auth_device_token.is_some() || connect.root_device_token.is_some());
        if let Some(code) = &connect.pairing_code {
            presented.code = pairings.code_matches(&code.hash(), now);
            presented.wrong_code = !presented.code;
        }
    }
    let token_hash = connect.auth_token.as_ref().map(Secret::hash);
    let password_hash = connect.password.as_ref().map(Secret::hash);
    // Mission Control's server side sends its password as `auth.token`, so that slot may hold
    // either kind.
    let by_token = find_shared(token_hash, &auth.secrets, |_| true);
    let by_password =
        find_shared(password_hash, &auth.secrets, |kind| kind == SecretKind::Password);
    if let Some(token) = &connect.auth_token
        && by_token.is_none()
        && presented.token.is_none_or(|found| found != token.hash().0)
    {
        let is_ours = auth.devices_enabled && is_device_token(token);
        presented.wrong_device_token |= is_ours && presented.token.is_none();
        presented.wrong_token = !is_ours && !auth.secrets.is_empty();
        presented.pointless_token = !is_ours && auth.secrets.is_empty();
    }
    presented.wrong_password = password_hash.is_some()
        && by_password.is_none()
        && auth.secrets.iter().any(|secret| secret.kind == SecretKind::Password);
    presented.shared = by_token
        .map(|secret| (secret, SecretKind::Token))
        .or_else(|| by_password.map(|secret| (secret, SecretKind::Password)));
    presented
}

fn find_shared(
    presented: Option<SecretHash>,
    secrets: &[SharedSecret],
    accepts: impl Fn(SecretKind) -> bool,
) -> Option<SharedSecret> {
    let presented = presented?;
    let mut found = None;
    for secret in secrets.iter().filter(|secret| accepts(secret.kind)) {
        if secret.hash.matches(&presented) && found.is_none() {
            found = Some(secret);
        }
    }
    found.cloned()
}

impl Presented {
    /// The wrong secrets that count against the address. Beside a valid signature, which outranks
    /// it, a stale device token is none of them, nor is a secret where there is none to guess.
    pub(super) fn failures(&self, beside_signature: bool) -> impl Iterator<Item = Credential> {
        [
            (self.wrong_token, Credential::Token),
            (self.wrong_password, Credential::Password),
            (self.wrong_code, Credential::PairingCode),
            (self.wrong_device_token && !beside_signature, Credential::DeviceToken),
            (self.pointless_token && !beside_signature, Credential::Token),
        ]
        .into_iter()
        .filter_map(|(wrong, credential)| wrong.then_some(credential))
    }

    /// The credentials that were right, whose counts start again. A shared secret only where it
    /// is the only one: else whoever has one of several could go on guessing at the others.
    pub(super) fn successes(&self, auth: &AuthPolicy) -> impl Iterator<Item = Credential> {
        let shared = self.shared.as_ref().filter(|_| auth.secrets.len() == 1);
        let shared = shared.map(|(_, kind)| match kind {
            SecretKind::Token => Credential::Token,
            SecretKind::Password => Credential::Password,
        });
        let token = self.token.map(|_| Credential::DeviceToken);
        let code = self.code.then_some(Credential::PairingCode);
        [shared, token, code].into_iter().flatten()
    }
}
