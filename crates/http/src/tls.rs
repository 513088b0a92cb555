//! TLS with rustls on ring, the one provider of the house. TLS 1.2 and 1.3.

use arc_swap::ArcSwap;
use base::{Error, Result, err};
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use std::sync::{Arc, LazyLock};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The one place that names a provider.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    PROVIDER.clone()
}

/// What a server needs for TLS. Clones share the certificate, so it can be renewed while serving.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Whether clients show certificates.
pub enum ClientCerts<'a> {
    /// Nobody is asked.
    Ignored,
    /// Who shows one of this CA (PEM) is known by it; who shows none is let in.
    Optional(&'a str),
    /// Only who shows one of this CA (PEM) gets in.
    Required(&'a str),
}

impl Tls {
    /// A certificate chain and its key, PEM. Errors when they do not parse or do not belong together.
    pub fn new(cert: &str, key: &str, clients: ClientCerts<'_>) -> Result<Tls> {
        let current = Arc::new(Current(ArcSwap::from_pointee(certified(cert, key)?)));
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(Error::internal)?;
        let verifier = |ca: &str| {
            let roots = Arc::new(roots(ca)?);
            Ok::<_, Error>(WebPkiClientVerifier::builder_with_provider(roots, provider()))
        };
        let bad_ca = |e: rustls::server::VerifierBuilderError| err!(Internal, "the CA for client certificates cannot be used: {}", e);
        let builder = match clients {
            ClientCerts::Ignored => builder.with_no_client_auth(),
            ClientCerts::Optional(ca) => builder.with_client_cert_verifier(verifier(ca)?.allow_unauthenticated().build().map_err(bad_ca)?),
            ClientCerts::Required(ca) => builder.with_client_cert_verifier(verifier(ca)?.build().map_err(bad_ca)?),
        };
        let mut config = builder.with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls { config: Arc::new(config), current })
    }

    /// Uses another certificate from the next handshake on.
    pub fn renew(&self, cert: &str, key: &str) -> Result<()> {
        self.current.0.store(Arc::new(certified(cert, key)?));
        Ok(())
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<(TlsStream<TcpStream>, Option<Arc<str>>)> {
        let stream = TlsAcceptor::from(self.config.clone()).accept(stream).await?;
        let name = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).and_then(uri_name);
        Ok((stream, name))
    }
}

/// The first URI among the alternative names: whom the internal CA gave the certificate to.
fn uri_name(cert: &CertificateDer<'_>) -> Option<Arc<str>> {
    webpki::EndEntityCert::try_from(cert).ok()?.valid_uri_names().next().map(Arc::from)
}

fn certified(cert: &str, key: &str) -> Result<CertifiedKey> {
    let (chain, key) = chain_and_key(cert, key)?;
    CertifiedKey::from_der(chain, key, &provider())
        .map_err(|e| err!(Internal, "the certificate and its key cannot be used together: {}", e))
}

pub(crate) fn chain_and_key(cert: &str, key: &str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = certificates(cert)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| err!(Internal, "the private key cannot be read: {}", e))?;
    Ok((chain, key))
}

pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let bad = |e: String| err!(Internal, "the certificate cannot be read: {}", e);
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|e| bad(e.to_string()))?;
    if list.is_empty() { Err(bad("the PEM text holds none".to_string())) } else { Ok(list) }
}

/// What a client of another protocol needs for TLS: it trusts these certificates (PEM) and no others.
pub fn trusting(pem: &str) -> Result<Arc<rustls::ClientConfig>> {
    let builder = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(Error::internal)?;
    Ok(Arc::new(builder.with_root_certificates(roots(pem)?).with_no_client_auth()))
}

/// Whether a connection failed over TLS itself: a certificate that is not trusted, or no common version.
pub fn is_tls_failure(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

pub(crate) fn roots(pem: &str) -> Result<rustls::RootCertStore> {
    let mut roots = rustls::RootCertStore::empty();
    for cert in certificates(pem)? {
        roots.add(cert).map_err(|e| err!(Internal, "the CA certificate cannot be used: {}", e))?;
    }
    Ok(roots)
}
