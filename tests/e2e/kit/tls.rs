//! A certificate authority for one gateway, made when the test starts, and clients that trust it.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer};
use rcgen::{KeyPair, KeyUsagePurpose};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::TempDir;

/// Files for the gateway and a configuration for its clients.
#[derive(Debug)]
pub(crate) struct TestTls {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) ca_file: PathBuf,
    pub(crate) client: Arc<ClientConfig>,
}

impl TestTls {
    /// Makes an authority and a certificate for `localhost` and `127.0.0.1`, written into `dir`.
    pub(crate) fn new(dir: &TempDir) -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca_params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = ca_params.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(ca_params, ca_key);

        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let cert = params.signed_by(&key, &issuer).unwrap();

        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            cert_file: dir.write("gateway.crt", &cert.pem()),
            key_file: dir.write("gateway.key", &key.serialize_pem()),
            ca_file: dir.write("ca.crt", &ca.pem()),
            client: Arc::new(client),
        }
    }
}
