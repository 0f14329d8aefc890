//! The TLS configuration from two PEM files, with errors a person can act on.
//!
//! Owns no connection. Called by `app` at the start and by `--check`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;

/// TLS 1.2 sessions kept for resumption; TLS 1.3 uses tickets. 1,024 of some 300 bytes are 300 KB.
const SESSIONS_MAX: usize = 1_024;

/// Why TLS cannot be served with these files.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    Read(PathBuf, pem::Error),
    /// The certificate file holds no certificate.
    NoCertificate(PathBuf),
    /// The key file holds no private key.
    NoKey(PathBuf),
    /// The two do not belong together, or rustls does not accept one of them.
    Rejected {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What rustls says.
        cause: rustls::Error,
    },
    /// The system gave no randomness for the ticket key.
    Tickets(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, _) => write!(f, "cannot read {} as PEM", path.display()),
            Self::NoCertificate(path) => write!(
                f,
                "{} holds no certificate; it needs a BEGIN CERTIFICATE section, the server's own first",
                path.display()
            ),
            Self::NoKey(path) => write!(
                f,
                "{} holds no private key; it needs a BEGIN PRIVATE KEY section (PKCS#8, PKCS#1 or SEC1)",
                path.display()
            ),
            Self::Rejected { cert, key, .. } => write!(
                f,
                "{} and {} cannot be used together; is the key that of the first certificate?",
                cert.display(),
                key.display()
            ),
            Self::Tickets(_) => f.write_str("cannot make a session ticket key"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, cause) => Some(cause),
            Self::Rejected { cause, .. } | Self::Tickets(cause) => Some(cause),
            Self::NoCertificate(_) | Self::NoKey(_) => None,
        }
    }
}

/// Reads both files and builds a configuration for TLS 1.2 and 1.3 (RFC 5246, RFC 8446) with
/// session resumption and ALPN `http/1.1`: WebSocket upgrades are HTTP/1.1 (RFC 6455 section 4.1).
pub fn server_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = read_chain(cert)?;
    let private_key = PrivateKeyDer::from_pem_file(key).map_err(|cause| match cause {
        pem::Error::NoItemsFound => TlsError::NoKey(key.to_owned()),
        cause => TlsError::Read(key.to_owned(), cause),
    })?;
    let rejected = |cause| TlsError::Rejected { cert: cert.to_owned(), key: key.to_owned(), cause };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(rejected)?
        .with_no_client_auth()
        .with_single_cert(chain, private_key)
        .map_err(rejected)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    config.ticketer = ring::Ticketer::new().map_err(TlsError::Tickets)?;
    Ok(Arc::new(config))
}

fn read_chain(cert: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |cause| TlsError::Read(cert.to_owned(), cause);
    let chain = CertificateDer::pem_file_iter(cert).map_err(read)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(read)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(cert.to_owned()));
    }
    Ok(chain)
}
