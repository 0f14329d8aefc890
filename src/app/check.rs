//! `--check`: whether a start would succeed, without starting anything; and certificate and key,
//! which the start loads through the same function.
//!
//! Owns no rule of its own about TLS: `shell::tls` has them. Called by `app::run` and `app::server`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use rustls::ServerConfig;
use sha2::{Digest as _, Sha256};

use super::config::error::{ConfigError, ConfigErrors, Setting};
use super::config::{Config, TlsConfig, read_private};
use super::error::StartError;
use super::server::connection_limits;
use crate::base::limits::TLS_FILE_BYTES_MAX;
use crate::base::time::utc;
use crate::shell::audit;
use crate::shell::capacity::Machine;
use crate::shell::clock;
use crate::shell::state_dir;
use crate::shell::tls::{TlsError, chain_from_pem, server_config_from_pem, validity};

/// Checks what the configuration points at: certificate and key, the limits against the machine,
/// the state directory, the audit file. The configuration itself, secrets included, was checked when it was
/// loaded. Returns what a person should know nevertheless.
pub fn check(config: &Config) -> Result<Vec<String>, StartError> {
    let identity = load_tls(&config.tls)?;
    connection_limits(config, &Machine::read().capacity(config.spawn.concurrent_max))?;
    if let Some(setup) = config.audit.setup() {
        audit::usable(&setup.file).map_err(|source| StartError::Io {
            what: format!("cannot write to audit.logFile, {}", setup.file.display()),
            source,
        })?;
    }
    state_dir::check(&config.state_dir)?;
    Ok(identity.map(|identity| identity.warnings).unwrap_or_default())
}

/// A certificate and key that belong together.
#[derive(Clone, Debug)]
pub struct Identity {
    /// With which to speak TLS.
    pub config: Arc<ServerConfig>,
    /// Of what the files hold: whether they hold the same later.
    pub digest: [u8; 32],
    /// What a person should know of the certificates' dates, a sentence each.
    pub warnings: Vec<String>,
}

impl Identity {
    /// Says so in the diagnostics.
    pub fn warn(&self) {
        for warning in &self.warnings {
            log::warn!("{warning}");
        }
    }
}

/// What a certificate in a file is called: the first by the file alone.
pub(super) fn which_of(file: &Path, number: usize) -> String {
    match number {
        0 => file.display().to_string(),
        _ => format!("{}, certificate {}", file.display(), number + 1),
    }
}

/// The day of a moment in Unix seconds.
pub(super) fn day(seconds: u64) -> String {
    let date = utc(seconds.saturating_mul(1_000));
    date.split('T').next().unwrap_or_default().to_owned()
}

/// What is wrong with a certificate that is good from then until then, now; all in Unix seconds.
pub(super) fn not_good(which: &str, (from, until): (u64, u64), now: u64) -> Option<String> {
    if now < from {
        Some(format!("{which} is not good before {}", day(from)))
    } else if now > until {
        Some(format!("{which} has ended on {}", day(until)))
    } else {
        None
    }
}

/// A certificate whose time is not now is loaded nevertheless: the clock may be wrong, and who does
/// not look at dates is served.
fn date_warnings(file: &Path, pem: &[u8]) -> Vec<String> {
    let now = clock::moment().unix_ms / 1_000;
    let chain = chain_from_pem(file, pem).unwrap_or_default();
    let each = chain.iter().enumerate().filter_map(|(number, certificate)| {
        let problem = not_good(&which_of(file, number), validity(certificate)?, now)?;
        Some(format!("gateway.tls.certFile: {problem}: clients will refuse it; renew it"))
    });
    each.collect()
}

/// Loads certificate and key and sees that they belong together; `None` when TLS is off.
pub fn load_tls(tls: &TlsConfig) -> Result<Option<Identity>, ConfigErrors> {
    let TlsConfig::On { cert_file, key_file } = tls else { return Ok(None) };
    let of_cert = |problem| refused(cert_file, "gateway.tls.certFile", problem);
    let of_key = |problem| refused(key_file, "gateway.tls.keyFile", problem);
    let (cert, key) = (cert_file.value.as_path(), key_file.value.as_path());
    let cert_pem = read_public(cert).map_err(of_cert)?;
    let key_pem = read_private(key, TLS_FILE_BYTES_MAX).map_err(of_key)?;
    match server_config_from_pem((cert, &cert_pem), (key, &key_pem)) {
        Ok(config) => {
            let digest = Sha256::new().chain_update(&cert_pem).chain_update(&key_pem).finalize();
            let warnings = date_warnings(cert, &cert_pem);
            Ok(Some(Identity { config, digest: digest.into(), warnings }))
        }
        Err(error @ (TlsError::NoKey(_) | TlsError::KeyMismatch(..) | TlsError::BadKey(_))) => {
            Err(of_key(error.to_string()))
        }
        Err(error) => Err(of_cert(error.to_string())),
    }
}

fn refused(file: &Setting<PathBuf>, key: &str, problem: String) -> ConfigErrors {
    ConfigError::new(&file.place, key, problem).into()
}

/// Reads a file that everybody may read; the error names it.
pub(super) fn read_public(file: &Path) -> Result<Vec<u8>, String> {
    let shown = file.display();
    let cannot_read = |error: io::Error| format!("cannot read {shown}: {error}");
    if fs::metadata(file).map_err(cannot_read)?.len() > TLS_FILE_BYTES_MAX {
        return Err(format!("{shown} is over {TLS_FILE_BYTES_MAX} bytes"));
    }
    fs::read(file).map_err(cannot_read)
}
