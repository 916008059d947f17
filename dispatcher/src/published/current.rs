//! Which source versions an archive holds at this moment, for who asks whether anybody still waits for one.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
};

use jiff::fmt::rfc2822;
use proofhouse_core::{names::Component, params::Trigger};
use reqwest::{Client, Response, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::{Archive, archive::client, sources::Unpacked};

/// More than any Release file has, in bytes.
const MOST_BYTES: usize = 32 << 20;
/// What moves goes from the first to the last: read in this order it is in one of them at least, whenever it moves.
/// Not every release has security updates and updates.
const POCKETS: [(&str, bool); 4] =
    [("-proposed", true), ("-security", false), ("-updates", false), ("", true)];
const OTHER_FORM: &str =
    "it is there in no form that is read here: ask a mirror that has Sources.gz or a plain Sources";

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
    versions: Versions,
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
        let mut missing: BTreeSet<&Component> = archive.components.iter().collect();
        for (pocket, needed) in POCKETS {
            let folder = format!("{}/dists/{release}{pocket}", archive.url);
            let Some(found) = read_release(&client, &folder).await? else {
                if needed {
                    let url = format!("{folder}/Release");
                    return Err(CurrentError::Wrong { url, reason: "it is not there" });
                }
                continue;
            };
            for component in &archive.components {
                let path = format!("{component}/source/Sources");
                // A component that the Release file does not name has nothing in this pocket.
                if found.digests.keys().any(|named| named.starts_with(&path)) {
                    missing.remove(component);
                    read_sources(&client, &format!("{folder}/{path}"), &path, &found, &mut versions).await?;
                }
            }
            dates.insert(pocket, found.date_us);
        }
        if let Some(component) = missing.first() {
            let url = format!("{}/dists/{release}*/{component}/source/Sources", archive.url);
            let reason = "no Release file names it: is the component's name right?";
            return Err(CurrentError::Wrong { url, reason });
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

/// How many digests a Release file has; none where it is none.
pub fn release_digests(text: &str) -> Option<usize> {
    parse(text).map(|release| release.digests.len())
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

/// Package and version.
type Versions = HashSet<(String, String)>;

/// Reads an index of which a Release file names some form.
async fn read_sources(
    client: &Client,
    url: &str,
    path: &str,
    release: &Release,
    versions: &mut Versions,
) -> Result<(), CurrentError> {
    // Release files name the plain index even where only its packed forms are there.
    let gzip = release.digests.get(&format!("{path}.gz"));
    let url = if gzip.is_some() { format!("{url}.gz") } else { url.to_owned() };
    let Some(digest) = gzip.or_else(|| release.digests.get(path)) else {
        return Err(CurrentError::Wrong { url, reason: OTHER_FORM });
    };
    let Some(mut answer) = get(client, &url).await? else {
        let lost = "its Release file names it, but it is not there";
        return Err(CurrentError::Wrong { url, reason: if gzip.is_some() { lost } else { OTHER_FORM } });
    };
    let content = |source| CurrentError::Content { url: url.clone(), source };
    let mut unpacked = Unpacked::<Versions>::new(gzip.is_some());
    let mut sum = Sha256::new();
    while let Some(chunk) =
        answer.chunk().await.map_err(|source| CurrentError::Http { url: url.clone(), source })?
    {
        sum.update(&chunk);
        unpacked.write_all(&chunk).map_err(content)?;
    }
    let found = unpacked.finish().map_err(content)?;
    if format!("{:x}", sum.finalize()) != *digest {
        let reason = "it is not the one that its Release file names: try again once the mirror is in step";
        return Err(CurrentError::Wrong { url, reason });
    }
    versions.extend(found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        io::Write as _,
        sync::{Arc, Mutex},
    };

    use flate2::{Compression, write::GzEncoder};
    use proofhouse_core::tls::Authorities;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpListener,
    };

    use super::*;

    type Files = BTreeMap<String, Vec<u8>>;

    /// An archive of these files; after the first index was read, of others.
    async fn serve(mut files: Files, later: Option<Files>) -> Archive {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let later = Arc::new(Mutex::new(later));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (reader, mut writer) = socket.split();
                let mut lines = BufReader::new(reader).lines();
                let first = lines.next_line().await.unwrap().unwrap_or_default();
                while lines.next_line().await.is_ok_and(|line| line.is_some_and(|line| !line.is_empty())) {}
                let path = first.split(' ').nth(1).unwrap_or_default();
                let (status, content) = match files.get(path) {
                    Some(content) => ("200 OK", content.clone()),
                    None => ("404 Not Found", vec![]),
                };
                let length = content.len();
                let head =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                if path.contains("Sources")
                    && let Some(later) = later.lock().unwrap().take()
                {
                    files = later;
                }
                let _ = writer.write_all(&[head.as_bytes(), &content].concat()).await;
            }
        });
        let components = vec!["main".parse().unwrap()];
        Archive { url, components, authorities: Authorities::default() }
    }

    fn gzipped(text: &str) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    }

    /// A pocket of noble whose Release file names these indexes, of which those with content are there.
    fn pocket(pocket: &str, indexes: &[(&str, Option<Vec<u8>>)]) -> Files {
        let mut files = Files::new();
        let mut release = "Date: Sat, 21 Nov 2026 05:36:34 UTC\nSHA256:\n".to_owned();
        for (path, content) in indexes {
            let sum = Sha256::digest(content.as_deref().unwrap_or_default());
            release = format!("{release} {sum:x} 1 {path}\n");
            if let Some(content) = content {
                files.insert(format!("/dists/noble{pocket}/{path}"), content.clone());
            }
        }
        files.insert(format!("/dists/noble{pocket}/Release"), release.into_bytes());
        files
    }

    fn both(proposed: Files, release: Files) -> Files {
        proposed.into_iter().chain(release).collect()
    }

    fn has(current: &Current, triggers: &[&str]) -> bool {
        triggers.iter().all(|trigger| current.has(&trigger.parse().unwrap()))
    }

    const GREEN: &str = "Package: green\nVersion: 1\n";
    const BLUE: &str = "Package: blue\nVersion: 2\n";

    #[tokio::test]
    async fn an_index_is_read_gzipped_or_plain_and_is_never_taken_for_an_empty_one() {
        let gz = ("main/source/Sources.gz", Some(gzipped(GREEN)));
        let plain = ("main/source/Sources", Some(BLUE.as_bytes().to_vec()));
        let xz = ("main/source/Sources.xz", Some(vec![1]));
        let release = pocket("", std::slice::from_ref(&gz));
        let archive = serve(both(pocket("-proposed", &[xz.clone(), plain]), release.clone()), None).await;
        assert!(has(&Current::fetch(&archive, "noble").await.unwrap(), &["green/1", "blue/2"]));
        // Only as xz; the plain one is named, as Release files do, but is not there.
        for indexes in [vec![xz.clone()], vec![xz, ("main/source/Sources", None)]] {
            let archive = serve(both(pocket("-proposed", &indexes), release.clone()), None).await;
            let error = Current::fetch(&archive, "noble").await.unwrap_err().to_string();
            assert!(
                error.contains("noble-proposed/main") && error.contains("Sources.gz or a plain"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_component_that_no_pocket_has_is_an_error() {
        let gz = ("main/source/Sources.gz", Some(gzipped(GREEN)));
        let mut archive = serve(both(pocket("-proposed", &[]), pocket("", &[gz])), None).await;
        assert!(has(&Current::fetch(&archive, "noble").await.unwrap(), &["green/1"]));
        archive.components.push("univers".parse().unwrap());
        let error = Current::fetch(&archive, "noble").await.unwrap_err().to_string();
        assert!(error.contains("univers/source") && error.contains("name right"), "{error}");
    }

    #[tokio::test]
    async fn what_migrates_meanwhile_is_found() {
        let full = [("main/source/Sources.gz", Some(gzipped(GREEN)))];
        let empty = [("main/source/Sources.gz", Some(gzipped("")))];
        let before = both(pocket("-proposed", &full), pocket("", &empty));
        let after = both(pocket("-proposed", &empty), pocket("", &full));
        let archive = serve(before, Some(after)).await;
        assert!(has(&Current::fetch(&archive, "noble").await.unwrap(), &["green/1"]));
    }

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
