//! Which source versions an archive holds at this moment, for who asks whether anybody still waits for one.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Write as _},
};

use flate2::write::MultiGzDecoder;
use jiff::fmt::rfc2822;
use proofhouse_core::params::Trigger;
use reqwest::{Client, Response, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::{Archive, archive::client, sources::Sources};

/// More than any Release file has, in bytes.
const MOST_BYTES: usize = 32 << 20;

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum CurrentError {
    /// No answer, or none that is one.
    #[error("{url} was not answered")]
    Http {
        /// What was asked for.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The archive cannot be asked at all.
    #[error("the archive cannot be asked")]
    Client(#[source] reqwest::Error),
    /// An index is damaged.
    #[error("{url} cannot be read")]
    Content {
        /// What was asked for.
        url: String,
        /// The cause.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{url}: {reason}")]
    Wrong {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The sources of one release, in all its pockets.
#[derive(Debug)]
pub struct Current {
    versions: HashSet<(String, String)>,
    as_of_us: i64,
}

/// A pocket's Release file.
#[derive(Debug, PartialEq, Eq)]
struct Release {
    date_us: i64,
    /// SHA-256 by path.
    digests: HashMap<String, String>,
}

impl Current {
    /// Asks for every index of a release anew: `{release}` and `{release}-proposed`, which must be there, and its updates
    /// and security updates, which not every release has. Each is compared with its Release file.
    pub async fn fetch(archive: &Archive, release: &str) -> Result<Self, CurrentError> {
        let client = client(&archive.authorities).map_err(CurrentError::Client)?;
        let mut versions = HashSet::new();
        let mut dates = HashMap::new();
        for (pocket, needed) in [("", true), ("-proposed", true), ("-updates", false), ("-security", false)] {
            let folder = format!("{}/dists/{release}{pocket}", archive.url);
            let Some(found) = read_release(&client, &folder).await? else {
                if needed {
                    let url = format!("{folder}/Release");
                    return Err(CurrentError::Wrong { url, reason: "it is not there" });
                }
                continue;
            };
            for component in &archive.components {
                let path = format!("{component}/source/Sources.gz");
                // A component that the Release file does not name has nothing in this pocket.
                if let Some(digest) = found.digests.get(&path) {
                    read_sources(&client, format!("{folder}/{path}"), digest, &mut versions).await?;
                }
            }
            dates.insert(pocket, found.date_us);
        }
        Ok(Self { versions, as_of_us: as_of(&dates) })
    }

    /// True where the archive holds this version of this source.
    pub fn has(&self, trigger: &Trigger) -> bool {
        self.versions.contains(&(trigger.source.to_string(), trigger.version.clone()))
    }

    /// Microseconds since 1970: what came to the archive before this is in it, unless it left it again.
    pub const fn as_of_us(&self) -> i64 {
        self.as_of_us
    }
}

/// The release's own pocket is frozen once it is stable; then its updates move.
fn as_of(dates: &HashMap<&str, i64>) -> i64 {
    let of = |pocket: &str| dates.get(pocket).copied().unwrap_or(0);
    of("").max(of("-updates")).max(of("-security")).min(of("-proposed"))
}

/// None where it is not there.
async fn get(client: &Client, url: &str) -> Result<Option<Response>, CurrentError> {
    let http = |source| CurrentError::Http { url: url.to_owned(), source };
    // Not what a proxy still has.
    let answer = client.get(url).header(header::CACHE_CONTROL, "no-cache").send().await.map_err(http)?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    answer.error_for_status().map(Some).map_err(http)
}

async fn read_release(client: &Client, folder: &str) -> Result<Option<Release>, CurrentError> {
    let url = format!("{folder}/Release");
    let Some(mut answer) = get(client, &url).await? else { return Ok(None) };
    let mut text = Vec::new();
    while let Some(chunk) =
        answer.chunk().await.map_err(|source| CurrentError::Http { url: url.clone(), source })?
    {
        text.extend_from_slice(&chunk);
        if text.len() > MOST_BYTES {
            return Err(CurrentError::Wrong { url, reason: "it is too large" });
        }
    }
    let release = parse(&String::from_utf8_lossy(&text));
    release.map(Some).ok_or(CurrentError::Wrong { url, reason: "it has no date, or no SHA256 sums" })
}

fn parse(text: &str) -> Option<Release> {
    let (mut date, mut digests, mut summing) = (None, None, false);
    for line in text.lines() {
        match line.split_once(':') {
            Some(("Date", value)) => date = Some(time(value.trim())?),
            Some(("SHA256", _)) => {
                digests = Some(HashMap::new());
                summing = true;
                continue;
            }
            _ => {}
        }
        summing &= line.starts_with(' ');
        let sum: Vec<&str> = line.split_ascii_whitespace().collect();
        if let (true, Some(digests), [digest, _, path]) = (summing, &mut digests, &sum[..]) {
            digests.insert((*path).to_owned(), digest.to_ascii_lowercase());
        }
    }
    Some(Release { date_us: date?, digests: digests? })
}

/// As archives write it: `Sat, 21 Nov 2026 05:36:34 UTC`.
fn time(text: &str) -> Option<i64> {
    let zone = text.strip_suffix("UTC").map(|rest| format!("{rest}+0000"));
    let zoned = rfc2822::parse(zone.as_deref().unwrap_or(text)).ok()?;
    Some(zoned.timestamp().as_microsecond())
}

async fn read_sources(
    client: &Client,
    url: String,
    digest: &str,
    versions: &mut HashSet<(String, String)>,
) -> Result<(), CurrentError> {
    let Some(mut answer) = get(client, &url).await? else {
        return Err(CurrentError::Wrong { url, reason: "its Release file names it, but it is not there" });
    };
    let content = |source| CurrentError::Content { url: url.clone(), source };
    let mut unpacked = MultiGzDecoder::new(Sources::<HashSet<_>>::default());
    let mut sum = Sha256::new();
    while let Some(chunk) =
        answer.chunk().await.map_err(|source| CurrentError::Http { url: url.clone(), source })?
    {
        sum.update(&chunk);
        unpacked.write_all(&chunk).map_err(content)?;
    }
    let found = unpacked.finish().and_then(Sources::finish).map_err(content)?;
    if format!("{:x}", sum.finalize()) != digest {
        let reason = "it is not the one that its Release file names: try again once the mirror is in step";
        return Err(CurrentError::Wrong { url, reason });
    }
    versions.extend(found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_file() {
        let text = "Origin: Ubuntu\nDate: Sat, 21 Nov 2026 05:36:34 UTC\nMD5Sum:\n 00 1 main/source/Sources.gz\n\
                    SHA256:\n AB 10 main/source/Sources.gz\n cd 11 main/binary-amd64/Packages\nSHA512:\n ee 1 x\n";
        let release = parse(text).unwrap();
        assert_eq!(release.date_us, 1_795_239_394_000_000);
        let digests = [("main/source/Sources.gz", "ab"), ("main/binary-amd64/Packages", "cd")];
        assert_eq!(release.digests, digests.map(|(path, sum)| (path.to_owned(), sum.to_owned())).into());
        assert_eq!(parse("Date: Sat, 21 Nov 2026 05:36:34 +0000\nSHA256:\n").unwrap().digests.len(), 0);
        assert!(parse("Date: soon\nSHA256:\n").is_none() && parse("SHA256:\n").is_none());
        assert!(parse("Date: Sat, 21 Nov 2026 05:36:34 UTC\n").is_none());
    }

    #[test]
    fn a_stable_release_moves_by_its_updates() {
        assert_eq!(as_of(&[("", 1), ("-updates", 8), ("-proposed", 9)].into()), 8);
        assert_eq!(as_of(&[("", 8), ("-updates", 1), ("-proposed", 7)].into()), 7);
        assert_eq!(as_of(&[("", 8), ("-proposed", 7)].into()), 7);
    }
}
