//! TLS to broker, database and store: which authorities are trusted, and what a failed handshake means.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error as TlsError, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Certificate authorities that are trusted beside the system's. The default has none. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Authorities(Option<Arc<File>>);

/// What was read.
struct File {
    path: PathBuf,
    pem: String,
    certificates: Vec<CertificateDer<'static>>,
}

/// Why a file gives no authorities.
#[derive(Debug, thiserror::Error)]
pub enum BadAuthorities {
    /// It cannot be read.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "{} holds no certificate authority that can be used: PEM is needed, -----BEGIN CERTIFICATE----- and so on",
        .0.display()
    )]
    Unusable(PathBuf),
}

impl Authorities {
    /// Those of a PEM file.
    pub fn read(path: &Path) -> Result<Self, BadAuthorities> {
        let unusable = || BadAuthorities::Unusable(path.to_owned());
        let pem = std::fs::read_to_string(path)
            .map_err(|source| BadAuthorities::Read { path: path.to_owned(), source })?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| unusable())?;
        let mut store = RootCertStore::empty();
        if certificates.is_empty() || certificates.iter().any(|one| store.add(one.clone()).is_err()) {
            return Err(unusable());
        }
        Ok(Self(Some(Arc::new(File { path: path.to_owned(), pem, certificates }))))
    }

    /// The certificates as PEM, where there are some; checked to be usable.
    pub fn pem(&self) -> Option<&str> {
        self.0.as_ref().map(|file| file.pem.as_str())
    }

    /// The file that they come from.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_ref().map(|file| file.path.as_path())
    }

    /// A client's side of TLS that trusts these and the system's. A system without any authorities is no error here.
    pub(crate) fn client(&self) -> Result<ClientConfig, TlsError> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        store.add_parsable_certificates(self.0.iter().flat_map(|file| file.certificates.iter().cloned()));
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?;
        Ok(builder.with_root_certificates(store).with_no_client_auth())
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authorities").field(&self.path()).finish()
    }
}

/// What an error means for people, and what to do, where it or one of its causes is a failed handshake.
pub fn explain(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(failed) = error.downcast_ref::<TlsError>() {
            return Some(explain_handshake(failed));
        }
        // An I/O error's source is that of the error in it, which is passed over so.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn explain_handshake(error: &TlsError) -> String {
    use CertificateError as Bad;
    match error {
        TlsError::InvalidCertificate(Bad::UnknownIssuer) => {
            "its certificate is signed by an authority that is not trusted: name a file with the authority's \
             certificate by --ca-file"
                .to_owned()
        }
        TlsError::InvalidCertificate(Bad::NotValidForName) => {
            "its certificate is for another name: use the name that the certificate has".to_owned()
        }
        TlsError::InvalidCertificate(Bad::NotValidForNameContext { expected, presented }) => format!(
            "its certificate is not for {} but for {}: use a name that the certificate has",
            expected.to_str(),
            presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", ")
        ),
        TlsError::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "its certificate has expired: the server needs a new one (or the clock here is wrong)".to_owned()
        }
        TlsError::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet: is the clock right, here and there?".to_owned()
        }
        TlsError::InvalidMessage(_) => {
            "it does not speak TLS at this port: use the port that does, or a URL without TLS (amqp://, http://)".to_owned()
        }
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            "it asks for a client's certificate, and there is none".to_owned()
        }
        other => format!("TLS fails: {other}"),
    }
}

/// The name alone of `DnsName("host")` or `IpAddress(127.0.0.1)`, as rustls writes them.
fn bare(presented: &str) -> &str {
    let inner = presented.split_once('(').map_or(presented, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        assert!(matches!(Authorities::read(&path), Err(BadAuthorities::Read { .. })));
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "hello", garbage, "-----BEGIN CERTIFICATE-----\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(Authorities::read(&path), Err(BadAuthorities::Unusable(_))), "{text:?}");
        }
        assert!(Authorities::default().pem().is_none());
    }

    #[test]
    fn a_handshake_is_found_among_the_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        let inner = TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = Outer(io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner)));
        assert!(explain(&error).unwrap().contains("--ca-file"));
        assert_eq!(explain(&Outer(io::Error::other("other"))), None);
    }
}
