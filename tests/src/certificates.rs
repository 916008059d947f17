//! An authority of this test process, and what it signs: certificates for servers on this machine.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, Result};
use nix::unistd::User;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use tempfile::TempDir;

/// An authority, and its certificate in a file.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    folder: TempDir,
}

/// A server's certificate and key, in files.
#[derive(Debug, Clone)]
pub struct ServerFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key; only its owner may read it.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("ca.pem"), &pem)?;
        Ok(Self { issuer: Issuer::new(params, key), pem, folder })
    }

    /// The file with its certificate: what `--ca-file` takes.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Its certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Certificate and key, as PEM, of a server that is reached by these names or addresses.
    pub fn server(&self, names: &[&str]) -> Result<(String, String)> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("server"));
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into()?),
            });
        }
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }

    /// The same for servers on loopback, in files of a folder, for a server that runs as `user` where we are root.
    pub fn server_files(&self, folder: &Path, user: Option<&User>) -> Result<ServerFiles> {
        use std::os::unix::fs::{PermissionsExt, chown};
        let (certificate, key) = self.server(&["127.0.0.1"])?;
        let files = ServerFiles { certificate: folder.join("server.pem"), key: folder.join("server.key") };
        for (path, text) in [(&files.certificate, certificate), (&files.key, key)] {
            std::fs::write(path, text)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            if let Some(user) = user {
                chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            }
        }
        Ok(files)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Authority").field(&self.folder.path()).finish()
    }
}

/// The authority that signs for every server of this process.
pub fn authority() -> Result<&'static Authority> {
    static AUTHORITY: OnceLock<Option<Authority>> = OnceLock::new();
    let made = AUTHORITY.get_or_init(|| Authority::new("Proofhouse's tests").ok());
    made.as_ref().context("an authority for the tests")
}
