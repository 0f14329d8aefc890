//! A certificate authority for one gateway, made when the test starts, and clients that trust it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer};
use rcgen::{KeyPair, KeyUsagePurpose};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::TempDir;

/// Files for the gateway and a configuration for its clients.
pub(crate) struct TestTls {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) ca_file: PathBuf,
    pub(crate) client: Arc<ClientConfig>,
    issuer: Issuer<'static, KeyPair>,
}

impl TestTls {
    /// Makes an authority and a certificate for `localhost` and `127.0.0.1`, written into `dir`.
    pub(crate) fn new(dir: &TempDir) -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca_params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = ca_params.self_signed(&ca_key).unwrap();

        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = Self {
            cert_file: dir.path().join("gateway.crt"),
            key_file: dir.path().join("gateway.key"),
            ca_file: dir.write("ca.crt", &ca.pem()),
            client: Arc::new(client),
            issuer: Issuer::new(ca_params, ca_key),
        };
        tls.renew();
        tls
    }

    /// Another certificate of the same authority, with another key, in the same files; returns the
    /// certificate.
    pub(crate) fn renew(&self) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        // As `TempDir::write` does it: nobody else may read the key.
        fs::write(&self.cert_file, cert.pem()).unwrap();
        fs::write(&self.key_file, key.serialize_pem()).unwrap();
        fs::set_permissions(&self.key_file, Permissions::from_mode(0o600)).unwrap();
        cert.der().clone()
    }
}
