//! The CA of the registration service: made if absent, rotated with overlap.
//!
//! Pods get the bundle in their spec and never a new one. So a new CA is in the bundle for a third of
//! a CA's life before certificates come from it, and the old one stays in it until it expires:
//! any pod that is younger than that trusts both.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use zeroize::Zeroize;

/// CAs, oldest first. Kept in a Secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorities {
    cas: Vec<Authority>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authority {
    certificate: String,
    key: SecretPem,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// A private key as text, wiped when dropped.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct SecretPem(String);

impl Drop for SecretPem {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Certificates.
    #[error("failed to make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS.
    #[error("failed to use a certificate: {0}")]
    Tls(#[from] rustls::Error),
    /// The Secret holds none.
    #[error("the Secret of the CA holds no CA: delete it to have one made")]
    Empty,
}

impl Authorities {
    /// No CA yet.
    pub const fn none() -> Self {
        Self { cas: Vec::new() }
    }

    /// Adds a new CA when the newest has less than two thirds of its life left, and drops those that are
    /// over. Gives whether something changed.
    ///
    /// # Errors
    /// A CA could not be made.
    pub fn rotate(&mut self, now: Timestamp, life: SignedDuration) -> Result<bool, CaError> {
        let before = self.cas.len();
        self.cas.retain(|ca| ca.not_after > now);
        let dropped = self.cas.len() != before;
        let due = self.cas.last().is_none_or(|ca| now >= ca.not_before + life * 2 / 3);
        if due {
            self.cas.push(Authority::make(now, life)?);
        }
        Ok(due || dropped)
    }

    /// When to look again.
    pub fn next(&self, life: SignedDuration) -> Option<Timestamp> {
        let ends = self.cas.iter().map(|ca| ca.not_after);
        let due = self.cas.last().map(|ca| ca.not_before + life * 2 / 3);
        let signing = self.cas.iter().map(|ca| ca.not_before + life / 6);
        ends.chain(due).chain(signing).filter(|at| *at > Timestamp::now()).min()
    }

    /// All CAs in PEM, for pods.
    pub fn bundle(&self) -> String {
        self.cas.iter().map(|ca| ca.certificate.trim().to_owned() + "\n").collect()
    }

    /// A fresh certificate for these names: from the newest CA that pods have had the time to learn of.
    ///
    /// # Errors
    /// It could not be made.
    pub fn certify(
        &self,
        names: Vec<String>,
        now: Timestamp,
        life: SignedDuration,
    ) -> Result<CertifiedKey, CaError> {
        let known = |ca: &&Authority| now >= ca.not_before + life / 6;
        let ca =
            self.cas.iter().rev().find(known).or_else(|| self.cas.first()).ok_or(CaError::Empty)?;
        let issuer =
            Issuer::new(ca_params(ca.not_before, ca.not_after)?, KeyPair::from_pem(&ca.key.0)?);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        set_dates(&mut params, now, ca.not_after);
        let certificate = params.signed_by(&key, &issuer)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Ok(CertifiedKey::from_der(vec![certificate.der().clone()], private, &provider)?)
    }
}

impl Authority {
    fn make(now: Timestamp, life: SignedDuration) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let (not_before, not_after) = (now, now + life);
        let params = ca_params(not_before, not_after)?;
        let pem = SecretPem(key.serialize_pem());
        let ca = CertifiedIssuer::self_signed(params, key)?;
        Ok(Self { certificate: ca.pem(), key: pem, not_before, not_after })
    }
}

/// A CA's certificate follows from its dates and key alone, so the issuer can be made again from them.
fn ca_params(
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let name = format!("mixnn registration {}", not_before.as_second());
    params.distinguished_name.push(DnType::CommonName, name);
    set_dates(&mut params, not_before, not_after);
    Ok(params)
}

/// Clocks differ: what is made now was good an hour ago.
fn set_dates(params: &mut CertificateParams, from: Timestamp, to: Timestamp) {
    let date = |at: Timestamp| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.as_second().max(0) as u64)
    };
    params.not_before = date(from - SignedDuration::from_hours(1));
    params.not_after = date(to);
}

/// Gives TLS the certificate of the day.
#[derive(Debug)]
pub struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    /// Begins with this certificate.
    pub fn new(key: CertifiedKey) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(key))))
    }

    /// From now on this one.
    pub fn set(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LIFE: SignedDuration = SignedDuration::from_hours(24 * 300);

    fn day(n: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_hours(24 * n)
    }

    fn issuer_of(cas: &Authorities, now: Timestamp) -> usize {
        let known = |ca: &Authority| now >= ca.not_before + LIFE / 6;
        cas.cas.iter().rposition(known).unwrap_or(0)
    }

    #[test]
    fn a_new_ca_is_known_before_it_signs_and_the_old_one_until_it_ends() {
        let mut cas = Authorities::none();
        assert!(cas.rotate(day(0), LIFE).unwrap());
        assert!(!cas.rotate(day(199), LIFE).unwrap(), "not before two thirds");
        assert!(cas.rotate(day(200), LIFE).unwrap());
        assert_eq!(cas.bundle().matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(issuer_of(&cas, day(200)), 0, "pods that know the old one only still register");
        assert_eq!(issuer_of(&cas, day(250)), 1);
        assert!(cas.rotate(day(300), LIFE).unwrap(), "the old one is over");
        assert_eq!(cas.bundle().matches("BEGIN CERTIFICATE").count(), 1);
    }

    #[test]
    fn certificates_can_be_made_from_what_was_kept() {
        let mut cas = Authorities::none();
        cas.rotate(day(0), LIFE).unwrap();
        let kept: Authorities =
            serde_json::from_str(&serde_json::to_string(&cas).unwrap()).unwrap();
        let key = kept.certify(vec!["mixnn-operator.mixnn.svc".into()], day(1), LIFE).unwrap();
        assert_eq!(key.cert.len(), 1);
    }
}
