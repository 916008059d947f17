//! Addresses of servers. They may hold a password, so none of them prints it, in no error either.

use std::{fmt, path::PathBuf, str::FromStr};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::store::s3::S3Address;

/// `scheme://host:port/path` of a URL: what may be shown. User, password and query are left out.
fn shown(url: &Url) -> String {
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// Parses without repeating the text in the error.
fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("is no URL ({e}); {ENCODE}"))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host".to_owned());
    }
    Ok(url)
}

const ENCODE: &str = "special characters in a password are written as %XX, or the password is given by file";

fn set_password(url: &mut Url, password: &str) {
    let encoded = utf8_percent_encode(password, NON_ALPHANUMERIC).to_string();
    let Ok(()) = url.set_password(Some(&encoded)) else { unreachable!("a URL with a host takes a password") };
}

macro_rules! prints_as_shown {
    ($($type:ty),+) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )+};
}
prints_as_shown!(DatabaseUrl, BusUrl, StoreUrl, SiteUrl);

/// The job table's database. Prints without the password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `postgres://user@host/name`, as sqlx reads it.
    Postgres(Url),
    /// `sqlite:///path`: a file.
    Sqlite(PathBuf),
}

impl DatabaseUrl {
    /// Puts a password in that came by file.
    ///
    /// # Errors
    /// A sentence when there is one already, or no place for one.
    pub fn set_password(&mut self, password: &str) -> Result<(), String> {
        match self {
            Self::Sqlite(_) => Err("SQLite has no password".to_owned()),
            Self::Postgres(url) if url.password().is_some() => {
                Err("the URL of database has a password already".to_owned())
            }
            Self::Postgres(url) => {
                set_password(url, password);
                Ok(())
            }
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.contains(['?', '#']) || path == ":memory:" {
                return Err("sqlite:///path/of/a/file is allowed, without anything behind it".to_owned());
            }
            return Ok(Self::Sqlite(path.into()));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err("must begin with postgres:// or sqlite://".to_owned());
        }
        parse(text).map(Self::Postgres)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => f.write_str(&shown(url)),
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
        }
    }
}

/// The broker. Prints without the password.
#[derive(Clone, PartialEq, Eq)]
pub enum BusUrl {
    /// `local:`, within this process.
    Local,
    /// `amqp://` or `amqps://`; always with a path, which names the vhost (`/%2f` is the vhost `/`).
    Amqp(Url),
}

impl BusUrl {
    /// Puts a password in that came by file.
    ///
    /// # Errors
    /// A sentence when there is one already, or no place for one.
    pub fn set_password(&mut self, password: &str) -> Result<(), String> {
        match self {
            Self::Local => Err("the bus local: has no password".to_owned()),
            Self::Amqp(url) if url.password().is_some() => {
                Err("the URL of bus has a password already".to_owned())
            }
            Self::Amqp(url) => {
                set_password(url, password);
                Ok(())
            }
        }
    }
}

impl FromStr for BusUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "local:" {
            return Ok(Self::Local);
        }
        if !text.starts_with("amqp://") && !text.starts_with("amqps://") {
            return Err("must begin with amqp:// or amqps://, or be local:".to_owned());
        }
        let mut url = parse(text)?;
        if url.path().trim_matches('/').contains('/') {
            return Err("has more than one path segment; a / in a vhost's name is written %2f".to_owned());
        }
        // A URL without a path means the vhost "/", which AMQP URIs write as %2f.
        if matches!(url.path(), "" | "/") {
            url.set_path("/%2f");
        }
        Ok(Self::Amqp(url))
    }
}

impl fmt::Display for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local:"),
            Self::Amqp(url) => f.write_str(&shown(url)),
        }
    }
}

/// The object store. Prints without a password.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `swift+https://auth-url`: the `http` or `https` URL of Keystone or tempauth.
    Swift(Url),
    /// `s3://bucket?endpoint=…&region=…`.
    S3(S3Address),
    /// `file:///dir`.
    Folder(PathBuf),
}

impl FromStr for StoreUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(url) = text.strip_prefix("swift+")
            && (url.starts_with("http://") || url.starts_with("https://"))
        {
            return parse(url).map(Self::Swift);
        }
        if text.starts_with("file:") {
            let url = text.starts_with("file:///").then(|| Url::parse(text).ok()).flatten();
            let path = url.and_then(|url| url.to_file_path().ok());
            return path.map(Self::Folder).ok_or_else(|| "a folder is written file:///dir".to_owned());
        }
        if text.starts_with("s3://") {
            return text.parse().map(Self::S3);
        }
        Err("must begin with swift+https://, swift+http://, s3:// or file:///".to_owned())
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swift(url) => write!(f, "swift+{}", shown(url)),
            Self::S3(address) => write!(f, "{address}"),
            Self::Folder(path) => write!(f, "file://{}", path.display()),
        }
    }
}

/// The site as the outside sees it: `http` or `https`, without a slash at its end.
#[derive(Clone, PartialEq, Eq)]
pub struct SiteUrl(String);

impl SiteUrl {
    /// The URL, to which a path with a leading slash can be added.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SiteUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let url = parse(text)?;
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.query().is_some() {
            return Err("must be http(s)://host[:port][/path]".to_owned());
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for SiteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vhost() {
        for (text, read) in [
            ("amqp://h", "amqp://h/%2f"),
            ("amqp://h/", "amqp://h/%2f"),
            ("amqp://h/%2f", "amqp://h/%2f"),
            ("amqps://u:p@h:99/test", "amqps://u:p@h:99/test"),
            ("amqp://h?heartbeat=9", "amqp://h/%2f?heartbeat=9"),
        ] {
            let BusUrl::Amqp(url) = text.parse().unwrap() else { panic!("{text}") };
            assert_eq!(url.as_str(), read);
        }
        assert!("amqp://h/a/b".parse::<BusUrl>().is_err());
    }

    #[test]
    fn nothing_prints_a_password() {
        let secret = "s3cret";
        let of = |text: &str| text.replace("PW", secret);
        let shown = [
            format!("{0} {0:?}", of("amqp://u:PW@h/v?x=PW").parse::<BusUrl>().unwrap()),
            format!("{0} {0:?}", of("postgres://u:PW@h:5/d?password=PW").parse::<DatabaseUrl>().unwrap()),
            format!("{0} {0:?}", of("swift+https://u:PW@h/v3?x=PW").parse::<StoreUrl>().unwrap()),
            of("amqp://u:PW#@:@h").parse::<BusUrl>().unwrap_err(),
            of("postgres://u:PW@h:port/d").parse::<DatabaseUrl>().unwrap_err(),
            of("mysql://u:PW@h").parse::<DatabaseUrl>().unwrap_err(),
            of("swift://u:PW@h").parse::<StoreUrl>().unwrap_err(),
            of("https://u:PW@h").parse::<SiteUrl>().unwrap_err(),
        ];
        for text in shown {
            assert!(!text.contains(secret), "{text}");
        }
    }

    #[test]
    fn a_password_by_file() {
        let mut url: DatabaseUrl = "postgres://u@h/d".parse().unwrap();
        url.set_password("a/b%:@").unwrap();
        let DatabaseUrl::Postgres(inner) = &url else { panic!() };
        assert_eq!(inner.password(), Some("a%2Fb%25%3A%40"));
        assert!(url.set_password("x").is_err());
        assert!("sqlite:///x".parse::<DatabaseUrl>().unwrap().set_password("x").is_err());
        assert!(BusUrl::Local.set_password("x").is_err());
    }

    #[test]
    fn kinds() {
        assert_eq!("sqlite:///d/x.db".parse(), Ok(DatabaseUrl::Sqlite("/d/x.db".into())));
        assert_eq!("sqlite://x.db".parse(), Ok(DatabaseUrl::Sqlite("x.db".into())));
        assert_eq!("file:///srv/r".parse(), Ok(StoreUrl::Folder("/srv/r".into())));
        assert_eq!("https://a.b/c/".parse::<SiteUrl>().unwrap().as_str(), "https://a.b/c");
        assert_eq!("s3://results?region=x".parse::<StoreUrl>().unwrap().to_string(), "s3://results?region=x");
        for bad in
            ["", "file://srv/r", "file:", "s3://b", "s3:results", "s3://results?x=1", "swift+ftp://h", "/srv"]
        {
            assert!(bad.parse::<StoreUrl>().is_err(), "{bad}");
        }
        for bad in ["", "sqlite:", "sqlite::memory:", "sqlite:///a?mode=ro", "postgres:///x", "postgres://"] {
            assert!(bad.parse::<DatabaseUrl>().is_err(), "{bad}");
        }
    }
}
