//! `s3://[bucket]?endpoint=…&region=…`: where an S3 store is, and how containers lie in it.

use std::{fmt, str::FromStr};

use url::Url;

/// The URL of an S3 store. It has no place for credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Address {
    /// The one bucket, in which containers are key prefixes; without it each container is a bucket.
    pub(super) bucket: Option<String>,
    /// The server; without it the environment's, or else AWS itself.
    pub(super) endpoint: Option<Url>,
    /// The region; without it the environment's, or else `us-east-1`.
    pub(super) region: Option<String>,
}

const FORM: &str = "s3://bucket?endpoint=https://host&region=name is allowed, or s3://?endpoint=… for a bucket per container";

impl FromStr for S3Address {
    type Err = String;
    /// No error repeats the text: somebody may have written a password into it.
    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|e| format!("is no URL ({e}); {FORM}"))?;
        let bare = url.username().is_empty() && url.password().is_none();
        if url.scheme() != "s3" || !bare || url.port().is_some() || url.fragment().is_some() {
            return Err(format!("has more than a bucket; {FORM}"));
        }
        if !matches!(url.path(), "" | "/") {
            return Err(format!("has a path; {FORM}"));
        }
        let bucket = url.host_str().filter(|name| !name.is_empty()).map(bucket).transpose()?;
        let mut address = Self { bucket, endpoint: None, region: None };
        for (name, value) in url.query_pairs() {
            match &*name {
                "endpoint" if address.endpoint.is_none() => address.endpoint = Some(endpoint(&value)?),
                "region" if address.region.is_none() => address.region = Some(region(&value)?),
                _ => return Err(format!("has a parameter that is unknown or given twice; {FORM}")),
            }
        }
        Ok(address)
    }
}

fn bucket(name: &str) -> Result<String, String> {
    let good = (3..=255).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if good { Ok(name.to_owned()) } else { Err(format!("names no bucket; {FORM}")) }
}

fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("has an endpoint that is no URL ({e}); {FORM}"))?;
    let bare = url.username().is_empty() && url.password().is_none();
    let plain = url.query().is_none() && url.fragment().is_none();
    if matches!(url.scheme(), "http" | "https") && bare && plain {
        Ok(url)
    } else {
        Err(format!("has an endpoint that is more than http(s)://host[:port][/path]; {FORM}"))
    }
}

fn region(name: &str) -> Result<String, String> {
    let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if good { Ok(name.to_owned()) } else { Err(format!("has a region that is no name; {FORM}")) }
}

impl fmt::Display for S3Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket.as_deref().unwrap_or_default())?;
        let endpoint =
            self.endpoint.as_ref().map(|url| format!("endpoint={}", url.as_str().trim_end_matches('/')));
        let region = self.region.as_ref().map(|name| format!("region={name}"));
        for (n, parameter) in [endpoint, region].iter().flatten().enumerate() {
            write!(f, "{}{parameter}", if n == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, shown) in [
            ("s3://results", "s3://results"),
            ("s3://results/", "s3://results"),
            ("s3://Results_1?region=eu-west-1", "s3://Results_1?region=eu-west-1"),
            ("s3://r.x?region=a&endpoint=http%3A%2F%2Fh%3A99%2F", "s3://r.x?endpoint=http://h:99&region=a"),
            ("s3://?endpoint=https://h/s3", "s3://?endpoint=https://h/s3"),
            ("s3:///?endpoint=https://h", "s3://?endpoint=https://h"),
            ("s3://", "s3://"),
        ] {
            let address: S3Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse::<S3Address>(), Ok(address));
        }
    }

    #[test]
    fn what_is_refused_is_not_repeated() {
        for text in [
            "s3:results",
            "s3:/results",
            "s3://u:s3cr3t@results",
            "s3://results/s3cr3t",
            "s3://re%2Fs3cr3t",
            "s3://results:99",
            "s3://ab",
            "s3://results?secret=s3cr3t",
            "s3://results?region=",
            "s3://results?region=a&region=b",
            "s3://results?endpoint=host",
            "s3://results?endpoint=https://u:s3cr3t@h",
            "s3://results?endpoint=https://h?x=s3cr3t",
            "s3://results#s3cr3t",
        ] {
            let error = text.parse::<S3Address>().expect_err(text);
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }
}
