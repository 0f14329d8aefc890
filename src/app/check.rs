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
use crate::shell::audit;
use crate::shell::capacity::Machine;
use crate::shell::state_dir;
use crate::shell::tls::{TlsError, server_config_from_pem};

/// Checks what the configuration points at: certificate and key, the limits against the machine,
/// the state directory, the audit file. The configuration itself, secrets included, was checked when it was
/// loaded.
pub fn check(config: &Config) -> Result<(), StartError> {
    load_tls(&config.tls)?;
    connection_limits(config, &Machine::read().capacity(config.spawn.concurrent_max))?;
    if let Some(setup) = config.audit.setup() {
        audit::usable(&setup.file).map_err(|source| StartError::Io {
            what: format!("cannot write to audit.logFile, {}", setup.file.display()),
            source,
        })?;
    }
    Ok(state_dir::check(&config.state_dir)?)
}

/// A certificate and key that belong together.
#[derive(Clone, Debug)]
pub struct Identity {
    /// With which to speak TLS.
    pub config: Arc<ServerConfig>,
    /// Of what the files hold: whether they hold the same later.
    pub digest: [u8; 32],
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
            Ok(Some(Identity { config, digest: digest.into() }))
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
