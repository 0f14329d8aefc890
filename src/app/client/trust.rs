//! Which servers are believed over TLS: the platform's authorities, a file, or anyone.
//!
//! Owns the reading of certificate files and the rules of `--ca` and `--insecure`. Called by
//! `connection` for a `wss://` URL.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::failure::Failure;
use super::target::Trust;
use crate::base::limits::CLIENT_CA_BYTES_MAX;

/// Where platforms keep their authorities, after what `SSL_CERT_FILE` names.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The client side of TLS 1.2 and 1.3 under a rule of trust.
pub(super) fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, Failure> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anything => Arc::new(Anyone(Arc::clone(&provider))),
        Trust::File(file) => Arc::new(Listed::read(file, &provider)?),
        Trust::Platform => {
            let file = platform_bundle().ok_or_else(|| {
                let text = "this machine has no bundle of certificate authorities: name one with \
                            --ca, or install ca-certificates";
                Failure::Local(text.to_owned())
            })?;
            Arc::new(Listed::read(&file, &provider)?)
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Local(format!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn platform_bundle() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = BUNDLES.iter().map(PathBuf::from);
    named.into_iter().chain(usual).find(|file| file.is_file())
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::Local(format!("{}: {why}", file.display()));
    let mut pem = Vec::new();
    let opened = File::open(file).map_err(|error| failed(&error))?;
    opened.take(CLIENT_CA_BYTES_MAX + 1).read_to_end(&mut pem).map_err(|error| failed(&error))?;
    if pem.len() as u64 > CLIENT_CA_BYTES_MAX {
        return Err(failed(&"too long for a file of certificates"));
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| failed(&error))?;
    if certificates.is_empty() {
        return Err(failed(&"no certificate: expected a section BEGIN CERTIFICATE"));
    }
    Ok(certificates)
}

/// Believes the certificates of a file, and what they signed.
///
/// A server's own certificate may stand in the file even where it is marked as an authority, as
/// self-signed ones made in one command are; the usual rules allow no such server. Its name is
/// checked all the same.
#[derive(Debug)]
struct Listed {
    certificates: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Listed {
    fn read(file: &Path, provider: &Arc<CryptoProvider>) -> Result<Self, Failure> {
        let certificates = read_certificates(file)?;
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        let unusable =
            |error: &dyn std::fmt::Display| Failure::Local(format!("{}: {error}", file.display()));
        if usable == 0 {
            return Err(unusable(&"no certificate in it can be used"));
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| unusable(&error))?;
        Ok(Self { certificates, verifier })
    }
}

/// Whether a certificate was refused for who signed it or for being an authority's, which does not
/// matter for one that is listed itself. Its dates are checked before, its name after.
fn is_about_issuer(why: &CertificateError) -> bool {
    use CertificateError as Why;
    matches!(why, Why::UnknownIssuer | Why::BadSignature | Why::Other(_))
}

impl ServerCertVerifier for Listed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let is_listed = self.certificates.iter().any(|listed| listed == end_entity);
        match verified {
            Err(rustls::Error::InvalidCertificate(why)) if is_listed && is_about_issuer(&why) => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Believes whoever holds the key of the certificate that it shows: `--insecure`.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
