//! https with a certificate authority of its own, made on the spot and gone with the simulator.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// What HTTP/2 is called in the handshake.
pub(super) const HTTP_2: &[u8] = b"h2";

/// The server's side of https.
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    /// Deleted with it.
    authority: NamedTempFile,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("authority", &self.authority.path()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Makes an authority, and with it a certificate for `ip`, the loopback addresses and
    /// `localhost`.
    ///
    /// # Errors
    ///
    /// When the authority cannot be written to a file.
    pub(super) fn make(ip: IpAddr) -> io::Result<Self> {
        let authority = authority().map_err(io::Error::other)?;
        let (config, pem) = (config(ip, &authority)?, authority.pem());
        let file =
            tempfile::Builder::new().prefix("callgate-simulator-ca-").suffix(".pem").tempfile()?;
        std::fs::write(file.path(), pem)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority: file })
    }

    /// The file with the authority's certificate, in PEM.
    pub(super) fn authority(&self) -> &Path {
        self.authority.path()
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "callgate simulator's authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn config(ip: IpAddr, authority: &CertifiedIssuer<'_, KeyPair>) -> io::Result<ServerConfig> {
    let mut params = CertificateParams::new(["localhost".to_owned()]).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, "callgate simulator");
    for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), ip] {
        let name = SanType::IpAddress(ip);
        if !ip.is_unspecified() && !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    // Without these, strict verifiers such as that of Python 3.13 refuse it.
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = params.signed_by(&key, authority).map_err(io::Error::other)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
