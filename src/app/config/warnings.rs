//! What is unsafe and starts nevertheless: one clear sentence each.

use super::{Config, TlsConfig};
use crate::hub::policy::{Registration, SecretWithoutDevice};
use crate::shell::store::Durability;

impl Config {
    /// What a person should know before trusting this configuration. Empty for the defaults.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |is_so: bool, text: &str| {
            if is_so {
                warnings.push(text.to_owned());
            }
        };
        let is_bare = self.tls == TlsConfig::Off && self.trusted_proxies.is_empty();
        warn(
            !self.bind.is_loopback() && is_bare,
            "the gateway listens beyond this machine without TLS or a trusted proxy: \
             everyone on the way can read tokens; set gateway.tls or gateway.trustedProxies",
        );
        let ui = &self.control_ui;
        warn(
            ui.enabled && ui.allowed_origins.iter().any(|origin| origin == "*"),
            "gateway.controlUi.allowedOrigins holds \"*\": any web page may connect from a \
             visitor's browser; list the origins that you use",
        );
        warn(
            ui.enabled && !ui.require_device_auth,
            "gateway.controlUi.requireDeviceAuth is off: a browser needs no more than the \
             shared secret",
        );
        let auth = &self.auth;
        warn(
            auth.device.registration == Registration::Open,
            "gateway.auth.deviceAuth.registration is \"open\": every device that can reach the \
             gateway is let in",
        );
        warn(
            auth.secret_without_device == SecretWithoutDevice::Always,
            "gateway.auth.sharedSecretWithoutDevice is \"always\": whoever learns the secret is \
             let in from anywhere",
        );
        let has_secret = auth.token.is_some() || auth.password.is_some() || !auth.users.is_empty();
        warn(
            !auth.device.require_signature && !has_secret,
            "gateway.auth.deviceAuth.requireSignature is off and there is no secret: every \
             program on this machine is let in",
        );
        warn(
            !auth.device.enabled && !has_secret,
            "gateway.auth.deviceAuth.enabled is off and there is no secret: nobody can prove \
             anything; set gateway.auth.token",
        );
        warn(
            self.durability == Durability::Relaxed,
            "gateway.durability is \"relaxed\": a crash or a power cut loses up to a second of \
             reports that were answered",
        );
        let spawn = &self.spawn;
        warn(
            spawn.enabled && spawn.allowed_commands.iter().any(|command| command == "*"),
            "gateway.spawn.allowedCommands holds \"*\": whoever has operator.admin may run every \
             program on this machine; list those that you use",
        );
        warn(
            spawn.enabled
                && !spawn.allowed_commands.is_empty()
                && spawn.allowed_dirs.iter().any(|dir| dir.as_os_str() == "/"),
            "gateway.spawn.allowedDirs holds \"/\": programs may be started in every directory",
        );
        warn(
            self.metrics.is_some(),
            "gateway.metrics is on, but this version serves no metrics yet",
        );
        for key in &auth.empty_secrets {
            warnings.push(format!("{key} is empty: it counts as not set"));
        }
        warnings
    }
}
