//! When a certificate is valid, and for which names.
//!
//! Owns no parser: the library is asked whether the certificate is good at the beginning and at the
//! end of time, and says in its refusals what it found. Called by `app::check` and `app::upkeep::doctor`.

use std::time::Duration;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

/// From when and until when, in Unix seconds; `None` for what cannot be read as a certificate.
pub fn validity(certificate: &CertificateDer<'_>) -> Option<(u64, u64)> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    let at = |seconds| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let roots = RootCertStore::empty();
        match verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], time, algorithms) {
            Err(Error::InvalidCertificate(error)) => Some(error),
            _ => None,
        }
    };
    let from = match at(0)? {
        CertificateError::NotValidYetContext { not_before, .. } => not_before.as_secs(),
        // Valid since before 1970.
        _ => 0,
    };
    match at(u64::MAX)? {
        CertificateError::ExpiredContext { not_after, .. } => Some((from, not_after.as_secs())),
        _ => None,
    }
}

/// Whether a certificate is for this host; `false` also for what is none.
pub fn is_for(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let Ok(name) = ServerName::try_from(host) else { return false };
    ParsedCertificate::try_from(certificate)
        .is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn dates_and_names_are_those_of_the_certificate() {
        let mut params = CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 1, 2);
        params.not_after = date_time_ymd(2027, 1, 2);
        for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
            params.is_ca = is_ca;
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(validity(certificate.der()), Some((1_767_312_000, 1_798_848_000)));
            assert!(is_for(certificate.der(), "gateway.example"));
            assert!(!is_for(certificate.der(), "other.example"));
        }
        assert_eq!(validity(&CertificateDer::from(vec![0x30, 0])), None);
    }
}
