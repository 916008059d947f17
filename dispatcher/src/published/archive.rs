//! Follows an archive's Sources indexes; each is fetched again only when it has changed.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use proofhouse_core::{names::Component, tls::Authorities};
use reqwest::{Certificate, StatusCode, header};
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::sources::Unpacked;
use crate::chain;

/// How often the archive is asked.
const PERIOD: Duration = Duration::from_secs(300);
const CONNECT: Duration = Duration::from_secs(20);
/// The longest silence within an answer.
const SILENCE: Duration = Duration::from_secs(60);

/// An archive.
#[derive(Debug, Clone)]
pub struct Archive {
    /// `http(s)://…` without a slash at its end; `dists/` is below it.
    pub url: String,
    /// Its components.
    pub components: Vec<Component>,
    /// Whom to trust beside the system's authorities.
    pub authorities: Authorities,
}

/// Where an index lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) url: String,
    pub(super) release: String,
    /// The release, or `{release}-updates`.
    pub(super) pocket: String,
    pub(super) component: String,
}

impl Place {
    /// True for an index of updates, which go before what the release began with.
    pub(super) fn is_updates(&self) -> bool {
        self.pocket != self.release
    }
}

impl Archive {
    /// The indexes of these releases.
    pub(super) fn places(&self, releases: &[String]) -> Vec<Place> {
        let mut places = Vec::new();
        for release in releases {
            for component in &self.components {
                for pocket in [release.clone(), format!("{release}-updates")] {
                    let url = format!("{}/dists/{pocket}/{component}/source/Sources.gz", self.url);
                    let (release, component) = (release.clone(), component.to_string());
                    places.push(Place { url, release, pocket, component });
                }
            }
        }
        places
    }
}

/// An index that has changed.
pub(super) struct Index {
    pub(super) place: Place,
    /// `Last-Modified`, as the archive wrote it.
    pub(super) timestamp: Option<String>,
    /// The version of each package.
    pub(super) versions: BTreeMap<String, String>,
}

/// `Last-Modified` of the indexes that are known, by URL.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<Mutex<BTreeMap<String, String>>>);

impl Known {
    /// What was known before.
    pub(super) fn new(timestamps: BTreeMap<String, String>) -> Self {
        Self(Arc::new(Mutex::new(timestamps)))
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> T {
        // A map of plain values is whole even where a panic cut a change short.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// They are to be fetched whether they have changed or not.
    pub(super) fn forget(&self, urls: &[String]) {
        self.with(|known| known.retain(|url, _| !urls.contains(url)));
    }

    fn of(&self, url: &str) -> Option<String> {
        self.with(|known| known.get(url).cloned())
    }

    fn learn(&self, index: &Index) {
        if let Some(timestamp) = index.timestamp.clone() {
            self.with(|known| known.insert(index.place.url.clone(), timestamp));
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("it was not answered")]
    Http(#[from] reqwest::Error),
    #[error("it cannot be read")]
    Content(#[from] io::Error),
}

/// Asks for the indexes again and again and sends what has changed, until nobody listens.
pub(super) async fn watch(
    places: Vec<Place>,
    authorities: Authorities,
    known: Known,
    changed: mpsc::Sender<Index>,
) {
    let client = match client(&authorities) {
        Ok(client) => client,
        Err(error) => return tracing::error!(error = %chain(&error), "the archive cannot be asked"),
    };
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut failed = Vec::new();
        for place in &places {
            match fetch(&client, place, known.of(&place.url).as_deref()).await {
                Ok(None) => {}
                Ok(Some(index)) => {
                    known.learn(&index);
                    if changed.send(index).await.is_err() {
                        return;
                    }
                }
                Err(error) => failed.push(format!("{}: {}", place.url, chain(&error))),
            }
        }
        if let Some(first) = failed.first() {
            tracing::warn!("{} of the archive's indexes could not be read; the first: {first}", failed.len());
        }
    }
}

pub(super) fn client(authorities: &Authorities) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("proofhouse/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE);
    for certificate in Certificate::from_pem_bundle(authorities.pem().unwrap_or_default().as_bytes())? {
        builder = builder.add_root_certificate(certificate);
    }
    builder.build()
}

/// None where it has not changed since `since`, or is not there: not every release has updates.
async fn fetch(
    client: &reqwest::Client,
    place: &Place,
    since: Option<&str>,
) -> Result<Option<Index>, FetchError> {
    let mut request = client.get(&place.url);
    if let Some(since) = since {
        request = request.header(header::IF_MODIFIED_SINCE, since);
    }
    let mut answer = request.send().await?;
    if matches!(answer.status(), StatusCode::NOT_MODIFIED | StatusCode::NOT_FOUND) {
        return Ok(None);
    }
    answer.error_for_status_ref()?;
    let timestamp = answer.headers().get(header::LAST_MODIFIED);
    let timestamp = timestamp.and_then(|value| value.to_str().ok()).map(str::to_owned);
    if timestamp.is_some() && timestamp.as_deref() == since {
        return Ok(None);
    }
    let mut unpacked = Unpacked::<BTreeMap<_, _>>::new(true);
    while let Some(chunk) = answer.chunk().await? {
        unpacked.write_all(&chunk)?;
    }
    let versions = unpacked.finish()?;
    Ok(Some(Index { place: place.clone(), timestamp, versions }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_as_the_old_system_names_them() {
        let components = ["main", "universe"].map(|c| c.parse().unwrap()).into();
        let archive =
            Archive { url: "http://a/ubuntu".to_owned(), components, authorities: Authorities::default() };
        let places = archive.places(&["noble".to_owned()]);
        let urls: Vec<&str> = places.iter().map(|place| place.url.as_str()).collect();
        assert_eq!(
            urls,
            [
                "http://a/ubuntu/dists/noble/main/source/Sources.gz",
                "http://a/ubuntu/dists/noble-updates/main/source/Sources.gz",
                "http://a/ubuntu/dists/noble/universe/source/Sources.gz",
                "http://a/ubuntu/dists/noble-updates/universe/source/Sources.gz",
            ]
        );
        assert!(!places[0].is_updates() && places[1].is_updates());
    }
}
