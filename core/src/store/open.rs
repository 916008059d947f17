//! Which store a URL means.

use std::sync::Arc;

use url::Url;

use super::{Store, StoreError, folder::Folder, s3::S3, swift::Swift};
use crate::tls::Authorities;

const ALLOWED: &str =
    "allowed are file:///dir, swift+https://auth-url (or swift+http://) and s3://bucket?endpoint=…&region=…";

/// The store that `url` names, with credentials from the environment. Nothing is asked of it yet: a store that is
/// away makes no error here.
pub fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    open_with(url, &|name| std::env::var(name).ok())
}

/// As [`open`], with another source of the variables `OS_…`, `ST_…` and `AWS_…`.
pub fn open_with(url: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Arc<dyn Store>, StoreError> {
    open_trusting(url, variable, &Authorities::default())
}

/// As [`open_with`]; these may sign the servers' certificates beside those that the system trusts.
pub fn open_trusting(
    url: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    authorities: &Authorities,
) -> Result<Arc<dyn Store>, StoreError> {
    // No message repeats the URL: it may carry a password.
    let parsed = Url::parse(url).map_err(|e| refused(&format!("the URL is not valid ({e}); {ALLOWED}")))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(refused("credentials belong into the environment (OS_…, AWS_…), not into the URL"));
    }
    if parsed.scheme() == "s3" {
        let address = url.parse().map_err(|e| refused(&format!("the S3 URL {e}")))?;
        return Ok(Arc::new(S3::new(address, variable, authorities)?));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(refused("the URL has no parameters here"));
    }
    match parsed.scheme() {
        "file" => {
            let dir = parsed.to_file_path().map_err(|()| refused("file: needs an absolute path"))?;
            Ok(Arc::new(Folder::new(dir)))
        }
        "swift+http" | "swift+https" => {
            let auth = Url::parse(&url.trim_start()["swift+".len()..])
                .map_err(|e| refused(&format!("the Swift URL is not valid ({e})")))?;
            Ok(Arc::new(Swift::new(auth, variable, authorities)?))
        }
        other => Err(refused(&format!("{other}: is not known; {ALLOWED}"))),
    }
}

fn refused(reason: &str) -> StoreError {
    StoreError::Configuration(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<String> {
        let value = match name {
            "OS_USERNAME" => "adt:admin",
            "OS_PASSWORD" => "s3cr3t",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn known_urls() {
        for (url, address) in [
            ("file:///var/lib/proofhouse", "file:///var/lib/proofhouse"),
            ("file:///a%20b/", "file:///a%20b"),
            ("swift+http://127.0.0.1:8080/auth/v1.0", "swift+http://127.0.0.1:8080/auth/v1.0"),
            ("swift+https://keystone.example:5000/v3", "swift+https://keystone.example:5000/v3"),
            ("s3://bucket?region=x", "s3://bucket?region=x"),
            ("s3:///?endpoint=https://s3.example:99", "s3://?endpoint=https://s3.example:99"),
        ] {
            assert_eq!(open_with(url, &variables).unwrap().address(), address);
        }
    }

    #[test]
    fn refused_urls_say_what_is_allowed_and_no_password() {
        for url in [
            "",
            "results",
            "file://host/dir",
            "file:///dir?x=1",
            "s3://bucket?x=1",
            "s3://bucket/path",
            "s3://user:s3cr3t@bucket",
            "ftp://host/",
            "swift://host/",
            "swift+https://user:s3cr3t@host/v3",
            "https://user:s3cr3t@host/",
        ] {
            let error = open_with(url, &variables).err().unwrap();
            assert!(matches!(error, StoreError::Configuration(_)), "{url}: {error}");
            assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error}");
        }
        let other = open_with("ftp://host/", &variables).err().unwrap().to_string();
        assert!(other.contains("s3://bucket") && other.contains("file:///dir"), "{other}");
        assert!(open_with("swift+https://host/v3", &|_| None).is_err());
    }
}
