//! The internal CA: one key in the data directory signs the certificates of this installation's servers and agents.
//!
//! Servers get a new certificate at every start, so nothing on disk expires but the CA itself (20 years). Agents keep their key to
//! themselves and send the public half; their certificate names them by a URI such as `wolke://host/<id>`, which the server reads back as
//! [`crate::Request::client_name`].

use base::{Clock, Error, Result, err};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use std::{fs, io::Write, net::IpAddr, os::unix::fs::OpenOptionsExt, path::Path};

/// The common name of the CA; together with the key it is all that a certificate says of its issuer.
const NAME: &str = "Wolke internal CA";
const CA_DAYS: i64 = 20 * 365;

/// A certificate chain and its private key, PEM.
#[derive(Clone)]
pub struct Issued {
    pub cert: String,
    pub key: String,
}

/// The internal CA.
pub struct Ca {
    cert: String,
    issuer: Issuer<'static, KeyPair>,
    clock: Clock,
}

impl Ca {
    /// Loads `ca.pem` and `ca.key` from a directory, or makes them there. A half-written pair is an error, never replaced: agents out there
    /// may trust it.
    pub fn load_or_create(dir: &Path, clock: Clock) -> Result<Ca> {
        let (cert_path, key_path) = (dir.join("ca.pem"), dir.join("ca.key"));
        let failed = |path: &Path, e: &dyn std::fmt::Display| err!(Internal, "the internal CA in {} cannot be used: {}", path.display(), e);
        if !key_path.exists() && !cert_path.exists() {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::internal)?;
            let cert = params(&clock)?.self_signed(&key).map_err(Error::internal)?.pem();
            fs::create_dir_all(dir).map_err(|e| failed(dir, &e))?;
            // The key first: a certificate without its key would be trusted and useless.
            write_new(&key_path, &key.serialize_pem(), 0o600).map_err(|e| failed(&key_path, &e))?;
            write_new(&cert_path, &cert, 0o644).map_err(|e| failed(&cert_path, &e))?;
        }
        let key = fs::read_to_string(&key_path).map_err(|e| failed(&key_path, &e))?;
        let key = KeyPair::from_pem(&key).map_err(|e| failed(&key_path, &e))?;
        let cert = fs::read_to_string(&cert_path).map_err(|e| failed(&cert_path, &e))?;
        let der = crate::tls::certificates(&cert)?;
        let spki = der.first().and_then(|c| webpki::EndEntityCert::try_from(c).ok().map(|c| c.subject_public_key_info().to_vec()));
        if spki.as_deref() != Some(&key.subject_public_key_info()[..]) {
            return Err(failed(dir, &"ca.pem and ca.key do not belong together; restore both from the same backup"));
        }
        Ok(Ca { cert, issuer: Issuer::new(params(&clock)?, key), clock })
    }

    /// The CA's certificate, PEM: what clients trust.
    pub fn pem(&self) -> &str {
        &self.cert
    }

    /// A server certificate for names and addresses, valid for a year and a bit.
    pub fn server(&self, names: &[&str], addresses: &[IpAddr]) -> Result<Issued> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::internal)?;
        let mut params = CertificateParams::default();
        for name in names {
            let dns = (*name)
                .try_into()
                .map_err(|e: rcgen::Error| err!(InputParameter, "{} is not a name a certificate can be for: {}", name, e))?;
            params.subject_alt_names.push(SanType::DnsName(dns));
        }
        params.subject_alt_names.extend(addresses.iter().map(|ip| SanType::IpAddress(*ip)));
        let common = names.first().map_or_else(|| addresses.first().map(IpAddr::to_string).unwrap_or_default(), |n| (*n).to_string());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let cert = self.sign(params, &common, &key, 397)?;
        Ok(Issued { cert, key: key.serialize_pem() })
    }

    /// A client certificate with a key made here.
    pub fn client(&self, uri: &str, days: i64) -> Result<Issued> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::internal)?;
        let cert = self.client_for(uri, key.public_key_raw(), days)?;
        Ok(Issued { cert, key: key.serialize_pem() })
    }

    /// A client certificate for somebody else's key: an uncompressed P-256 point of 65 bytes (SEC 1 §2.3.3), see [`client_key`].
    pub fn client_for(&self, uri: &str, public_key: &[u8], days: i64) -> Result<String> {
        if public_key.len() != 65 || public_key[0] != 4 {
            return Err(err!(
                InputParameter,
                "the public key must be an uncompressed P-256 point of 65 bytes, got {} bytes",
                public_key.len()
            ));
        }
        let mut params = CertificateParams::default();
        let name =
            uri.try_into().map_err(|e: rcgen::Error| err!(InputParameter, "{} is not a name a certificate can be for: {}", uri, e))?;
        params.subject_alt_names.push(SanType::URI(name));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, uri, &Point(public_key.to_vec()), days)
    }

    fn sign(&self, mut params: CertificateParams, common_name: &str, key: &impl PublicKeyData, days: i64) -> Result<String> {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(serial());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, &self.clock, days)?;
        Ok(params.signed_by(key, &self.issuer).map_err(Error::internal)?.pem())
    }
}

/// A new key for an agent: the private key (PEM), which stays there, and the public point for [`Ca::client_for`].
pub fn client_key() -> Result<(String, Vec<u8>)> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::internal)?;
    Ok((key.serialize_pem(), key.public_key_raw().to_vec()))
}

struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn params(clock: &Clock) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial());
    validity(&mut params, clock, CA_DAYS)?;
    Ok(params)
}

/// Positive and below 20 octets, as RFC 5280 §4.1.2.2 wants.
fn serial() -> SerialNumber {
    let mut bytes = base::hex_id().into_bytes();
    bytes.truncate(16);
    SerialNumber::from(bytes)
}

/// Valid from yesterday (for clocks that are behind) for so many days.
fn validity(params: &mut CertificateParams, clock: &Clock, days: i64) -> Result<()> {
    let now = clock.now();
    let day = |days: i64| {
        let at = jiff::Timestamp::from_microsecond(now.plus_secs(days * 86_400).micros()).map_err(Error::internal)?;
        Ok::<_, Error>(at.to_zoned(jiff::tz::TimeZone::UTC).date())
    };
    let (from, to) = (day(-1)?, day(days)?);
    params.not_before = date_time_ymd(i32::from(from.year()), from.month().unsigned_abs(), from.day().unsigned_abs());
    params.not_after = date_time_ymd(i32::from(to.year()), to.month().unsigned_abs(), to.day().unsigned_abs());
    Ok(())
}

fn write_new(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
