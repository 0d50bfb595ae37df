//! The certificate of a served model, where its owner gives none: from a CA whose key follows from the owner's
//! secret. So every designer of the model has the same CA, nothing of it is kept anywhere, and nobody else has it.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use mixnn_nn::OwnerSecret;
use mixnn_serving::{Issued, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

const DAY: Duration = Duration::from_secs(86_400);
/// A certificate is good for so long, from an hour before: clocks differ.
const LIFE: Duration = DAY.saturating_mul(30);
const BEFORE: Duration = Duration::from_secs(3600);
/// The next one is made so soon.
const RENEWED: Duration = DAY.saturating_mul(7);
/// DER of a P-256 key (RFC 5958, RFC 5915) up to its 32 bytes: in PKCS #8 without its public key, and with it.
const ALONE: &[u8] = b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\
    \x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";
const WHOLE: &[u8] = b"\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\
    \x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x6d\x30\x6b\x02\x01\x01\x04\x20";
/// What stands between the 32 bytes and the 65 of the public key.
const PUBLIC: &[u8] = b"\xa1\x44\x03\x42\x00";

/// The CA of a model's server.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    names: Vec<String>,
}

impl Authority {
    /// That of an owner, for these names and no others.
    pub(super) fn of(owner: &OwnerSecret, names: Vec<String>) -> Result<Self, String> {
        let key = (0..=u8::MAX).find_map(|i| key(&owner.serving_ca_key(i)));
        let key = key.ok_or("the owner's secret gives no key")?;
        let text = |e: rcgen::Error| e.to_string();
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(text)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let permitted = names.iter().cloned().map(GeneralSubtree::DnsName).collect();
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: Vec::new() });
        let name = names.first().map(String::as_str).unwrap_or_default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("CA of {name}"));
        // As long as the secret: another one gives another CA.
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2125, 1, 1);
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(text)?;
        Ok(Self { issuer, names })
    }

    /// In PEM, for clients.
    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// TLS with a certificate that is renewed in time.
    pub(super) fn tls(self) -> Result<Tls, String> {
        Tls::made(RENEWED, move || self.issue(SystemTime::now())).map_err(|e| e.to_string())
    }

    fn issue(&self, now: SystemTime) -> Result<Issued, String> {
        let text = |e: rcgen::Error| e.to_string();
        let key = KeyPair::generate().map_err(text)?;
        let mut params = CertificateParams::new(self.names.clone()).map_err(text)?;
        let since = now.duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + since.saturating_sub(BEFORE);
        params.not_after = epoch + since + LIFE;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name = rcgen::DistinguishedName::new();
        let certificate = params.signed_by(&key, &self.issuer).map_err(text)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Issued { chain: vec![certificate.der().clone()], key })
    }
}

/// The key pair of these 32 bytes, if they are one: all but every four billionth are.
fn key(scalar: &[u8; 32]) -> Option<KeyPair> {
    let alone = Zeroizing::new([ALONE, scalar].concat());
    // One library tells the public key, the other will not do without it.
    let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, &alone).ok()?;
    let whole = [WHOLE, scalar, PUBLIC, pair.public_key().as_ref()].concat();
    KeyPair::try_from(Zeroizing::new(whole).as_slice()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    fn authority(secret: u8) -> Authority {
        let names = vec!["net-serving.vision.svc".into(), "localhost".into()];
        Authority::of(&OwnerSecret::from_bytes([secret; 32]), names).unwrap()
    }

    fn trusts(ca: &Authority, issued: &Issued, name: &str, at: SystemTime) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.issuer.der().clone()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        let chain: &[CertificateDer<'_>] = &issued.chain;
        let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.build().unwrap().verify_server_cert(&chain[0], &[], &name, &[], at).is_ok()
    }

    #[test]
    fn every_designer_of_an_owner_has_the_same_ca() {
        let (now, one, two) = (SystemTime::now(), authority(1), authority(1));
        let issued = one.issue(now).unwrap();
        assert!(trusts(&two, &issued, "net-serving.vision.svc", now));
        assert!(trusts(&two, &issued, "localhost", now));
        assert!(!trusts(&two, &issued, "other.vision.svc", now));
        assert!(!trusts(&authority(2), &issued, "localhost", now), "another owner's is another");
        assert!(!trusts(&two, &issued, "localhost", now + 31 * DAY));
        let later = one.issue(now + RENEWED).unwrap();
        assert!(trusts(&two, &later, "localhost", now + 31 * DAY));
    }
}
