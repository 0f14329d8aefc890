//! `--check`: whether a start would succeed, without starting anything; and the certificate and
//! key, which the start loads through the same function.

use std::path::Path;
use std::sync::Arc;
use std::{fmt, fs, io};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::config::{Config, TlsConfig, read_private};
use super::error::StartError;
use crate::base::limits::TLS_FILE_BYTES_MAX;
use crate::shell::state_dir;

/// Checks what the configuration points at: certificate and key, the state directory.
/// The configuration itself, secrets included, was checked when it was loaded.
pub fn check(config: &Config) -> Result<(), StartError> {
    load_tls(&config.tls)?;
    Ok(state_dir::check(&config.state_dir)?)
}

/// Loads certificate and key and sees that they belong together; `None` when TLS is off.
pub fn load_tls(tls: &TlsConfig) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    let TlsConfig::On { cert_file, key_file } = tls else { return Ok(None) };
    let chain = read_chain(cert_file)?;
    let key = read_key(key_file)?;
    let mismatch = |error: rustls::Error| {
        let (key, cert) = (key_file.display(), cert_file.display());
        let problem = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("{key} does not belong to the certificate in {cert}")
            }
            other => format!("{key} cannot be used with {cert}: {other}"),
        };
        TlsError { key: "keyFile", problem }
    };
    let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(mismatch)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(server)))
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let shown = file.display();
    let failed = |problem: String| TlsError { key: "certFile", problem };
    let cannot_read = |error: io::Error| failed(format!("cannot read {shown}: {error}"));
    let size = fs::metadata(file).map_err(cannot_read)?.len();
    if size > TLS_FILE_BYTES_MAX {
        return Err(failed(format!("{shown} is over {TLS_FILE_BYTES_MAX} bytes")));
    }
    let bytes = fs::read(file).map_err(cannot_read)?;
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if chain.is_empty() => {
            Err(failed(format!("{shown} holds no certificate in PEM form")))
        }
        Ok(chain) => Ok(chain),
        Err(error) => Err(failed(format!("{shown} is not PEM: {error}"))),
    }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let failed = |problem: String| TlsError { key: "keyFile", problem };
    let bytes = read_private(file, TLS_FILE_BYTES_MAX).map_err(failed)?;
    // Without the library's text: it may quote what it found in the file.
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| failed(format!("{} holds no private key in PEM form", file.display())))
}

/// Why certificate and key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    key: &'static str,
    problem: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gateway.tls.{}: {}", self.key, self.problem)
    }
}

impl std::error::Error for TlsError {}
