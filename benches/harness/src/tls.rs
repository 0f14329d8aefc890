//! A certificate for one server, and a client that trusts it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

pub(crate) struct Tls {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) client: Arc<ClientConfig>,
}

impl Tls {
    /// Makes a self-signed certificate for `localhost`, written into `dir`. The client does not
    /// resume sessions; see [`resuming`].
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let (cert_file, key_file) = (dir.join("server.crt"), dir.join("server.key"));
        fs::write(&cert_file, made.cert.pem())?;
        fs::write(&key_file, made.signing_key.serialize_pem())?;
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600))?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        Ok(Self { cert_file, key_file, client: Arc::new(client) })
    }
}

/// The same client, which resumes the sessions that it had.
pub(crate) fn resuming(client: &ClientConfig) -> Arc<ClientConfig> {
    let mut client = client.clone();
    client.resumption = Resumption::in_memory_sessions(1_024);
    Arc::new(client)
}
