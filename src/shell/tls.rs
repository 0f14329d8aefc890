//! Builds the TLS side of a listener from PEM files.
//!
//! Owns nothing; errors say which file and what is wrong with it. Does not speak TLS: that is the
//! link's part. Called by `app` at start and by `--check`.

mod validity;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;

pub use self::validity::{is_for, validity};
use crate::base::limits::TLS_SESSIONS_MAX;

/// The certificate and key that new connections get; those that are there keep theirs.
#[derive(Debug)]
pub struct TlsSlot(RwLock<Arc<ServerConfig>>);

impl TlsSlot {
    /// With these to begin with.
    pub fn new(config: Arc<ServerConfig>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(config)))
    }

    /// Those of the moment.
    pub fn get(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Others from now on.
    pub fn set(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

/// Why a certificate and key cannot be used.
#[derive(Debug)]
pub enum TlsError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file is not PEM.
    NotPem(PathBuf, String),
    /// The key file is not PEM. What the parser says is not told: it may quote the key.
    BadKey(PathBuf),
    /// The file has no certificate.
    NoCertificate(PathBuf),
    /// The file has no private key.
    NoKey(PathBuf),
    /// The key is not the certificate's.
    KeyMismatch(PathBuf, PathBuf),
    /// The certificate or key is of a kind that cannot be used.
    Unusable(PathBuf, rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(file, error) => write!(f, "cannot read {}: {error}", file.display()),
            Self::NotPem(file, error) => {
                write!(f, "{} is not a PEM file: {error}", file.display())
            }
            Self::BadKey(file) => write!(f, "{} is not a PEM file", file.display()),
            Self::NoCertificate(file) => write!(
                f,
                "{} has no certificate: expected a section BEGIN CERTIFICATE",
                file.display()
            ),
            Self::NoKey(file) => write!(
                f,
                "{} has no private key: expected a section BEGIN PRIVATE KEY, unencrypted",
                file.display()
            ),
            Self::KeyMismatch(cert, key) => write!(
                f,
                "the key in {} does not belong to the first certificate in {}",
                key.display(),
                cert.display()
            ),
            Self::Unusable(file, error) => write!(f, "cannot use {}: {error}", file.display()),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            Self::Unusable(_, error) => Some(error),
            Self::NotPem(..)
            | Self::BadKey(_)
            | Self::NoCertificate(_)
            | Self::NoKey(_)
            | Self::KeyMismatch(..) => None,
        }
    }
}

/// TLS 1.2 and 1.3 with the certificate chain in `cert_file` (leaf first) and the key in
/// `key_file`. Clients may resume: by ticket, or, in TLS 1.2 without tickets, by a bounded cache.
pub fn server_config(cert_file: &Path, key_file: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let read = |file: &Path| {
        std::fs::read(file).map_err(|error| TlsError::Unreadable(file.to_owned(), error))
    };
    server_config_from_pem((cert_file, &read(cert_file)?), (key_file, &read(key_file)?))
}

/// The same as [`server_config`] from what the files hold; the names are for errors.
pub fn server_config_from_pem(
    (cert_file, cert_pem): (&Path, &[u8]),
    (key_file, key_pem): (&Path, &[u8]),
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = chain_from_pem(cert_file, cert_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(key_file.to_owned()),
        _ => TlsError::BadKey(key_file.to_owned()),
    })?;
    let unusable = |error| TlsError::Unusable(cert_file.to_owned(), error);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::KeyMismatch(cert_file.to_owned(), key_file.to_owned())
            }
            error => unusable(error),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new().map_err(unusable)?;
    // One ticket resumes one connection, and a client here has one.
    config.send_tls13_tickets = 1;
    config.session_storage = ServerSessionMemoryCache::new(TLS_SESSIONS_MAX);
    Ok(Arc::new(config))
}

/// The certificates in a PEM file, at least one; the name is for errors.
pub fn chain_from_pem(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::NotPem(file.to_owned(), error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(file.to_owned()));
    }
    Ok(chain)
}

#[cfg(test)]
mod tests;
