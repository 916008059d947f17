//! What the store has of a run beside its outcome: how each test ended and how long it took, the testbed, the files.
//!
//! The archives are a test's, and the store may be slow: what is read of them is bounded in size and in time, and where
//! something is missing, pages say so and show the rest.

mod changes;
mod data;
mod ran;
mod times;

use std::time::Duration;

use proofhouse_core::{
    evidence::{Contents, MAX_RESULT, test_packages},
    layout::{Series, file},
    run_id::RunId,
    store::{ByteRange, Entry, ListQuery, StoreError},
};
use tokio::sync::SemaphorePermit;

use self::times::Times;
pub(crate) use self::{
    changes::{Changes, PackageChange, Side, TestPackages},
    data::{FileData, TestData, TestbedData},
    ran::{Ran, SincePass, asked_for, job_of},
};
use crate::{app::App, private::PublicResult, view::results_path};

/// So many runs' archives are read at once: each takes some MiB.
pub(crate) const AT_ONCE: usize = 16;
/// So long a page waits for the store.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many files of a run are listed.
pub(crate) const MOST_FILES: usize = 100;
/// So much of a log is fetched to find when its tests began and ended, in bytes.
const MOST_OF_LOG: u64 = 2 << 20;
/// So much of the artifacts is fetched to find what tests had installed, in bytes.
const MOST_OF_ARTIFACTS: u64 = 8 << 20;

/// Something that may lie in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found<T> {
    /// It is there.
    Here(T),
    /// It is not there: it was deleted, or never stored.
    Missing,
    /// The store does not answer, or too slowly: nobody knows.
    Away,
}

impl<T> Found<T> {
    /// What is there.
    pub(crate) fn here(self) -> Option<T> {
        match self {
            Self::Here(value) => Some(value),
            Self::Missing | Self::Away => None,
        }
    }
}

/// Where a run lies in the store.
struct Place {
    series: Series,
    run_id: RunId,
}

impl Place {
    fn of(row: &PublicResult) -> Option<Self> {
        row.place().map(|(series, run_id)| Self { series, run_id })
    }

    /// The bytes of one of its files, or the first of them.
    async fn read(&self, app: &App, file: &str, first: Option<u64>) -> Found<Vec<u8>> {
        let read = async {
            let object = self.series.object(&self.run_id, file);
            let range = first.map(|n| ByteRange::From(0, Some(n - 1)));
            let object = app.store().get(&self.series.container, &object, range).await?;
            object.bytes(first.unwrap_or(MAX_RESULT)).await.map(Vec::from)
        };
        patiently(read).await
    }

    async fn files(&self, app: &App) -> Found<Vec<FileData>> {
        let folder = self.series.object(&self.run_id, "");
        let query = ListQuery { prefix: folder.clone(), limit: Some(MOST_FILES), ..ListQuery::default() };
        let listed = |entry: Entry| match entry {
            Entry::Object { name, length, .. } => Some(FileData {
                url: app.settings().link(&results_path(&self.series.container, &name)),
                path: results_path(&self.series.container, &name),
                name: name.strip_prefix(&folder)?.to_owned(),
                length,
            }),
            Entry::Prefix(_) => None,
        };
        let entries = patiently(app.store().list(&self.series.container, &query)).await;
        match entries {
            Found::Here(entries) => Found::Here(entries.into_iter().filter_map(listed).collect()),
            // A container that is not there has no files.
            Found::Missing => Found::Here(Vec::new()),
            Found::Away => Found::Away,
        }
    }
}

/// See [`AT_ONCE`]. None where so many others wait for a slow store that it takes too long.
async fn turn(app: &App) -> Option<SemaphorePermit<'_>> {
    tokio::time::timeout(PATIENCE, app.evidence().acquire()).await.ok()?.ok()
}

/// What the store says within [`PATIENCE`].
pub(crate) async fn patiently<T>(read: impl Future<Output = Result<T, StoreError>>) -> Found<T> {
    use StoreError::{BadName, BadRange, Forbidden, TooLarge};
    match tokio::time::timeout(PATIENCE, read).await {
        Ok(Ok(value)) => Found::Here(value),
        Ok(Err(error)) if error.is_missing() => Found::Missing,
        // For the page's readers it is not there.
        Ok(Err(BadName(_) | BadRange { .. } | Forbidden { .. } | TooLarge { .. })) => Found::Missing,
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "what is stored of a run could not be read");
            Found::Away
        }
        Err(_) => {
            tracing::warn!("what is stored of a run could not be read in time");
            Found::Away
        }
    }
}

/// Looks into what was read, beside the threads that serve: archives unpack to many times their size.
async fn look<T: Send + 'static>(
    read: Found<Vec<u8>>,
    into: impl FnOnce(&[u8]) -> T + Send + 'static,
) -> Found<T> {
    match read {
        Found::Here(bytes) => {
            let looked = tokio::task::spawn_blocking(move || into(&bytes)).await;
            looked.map_or(Found::Missing, Found::Here)
        }
        Found::Missing => Found::Missing,
        Found::Away => Found::Away,
    }
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) files: Found<Vec<FileData>>,
    pub(crate) contents: Found<Contents>,
    times: Times,
}

impl Evidence {
    /// Reads what a run left.
    pub(crate) async fn of(app: &App, row: &PublicResult) -> Self {
        let Some(place) = Place::of(row) else {
            return Self { files: Found::Missing, contents: Found::Missing, times: Times::default() };
        };
        let Some(_turn) = turn(app).await else {
            return Self { files: Found::Away, contents: Found::Away, times: Times::default() };
        };
        let (files, contents, times) =
            tokio::join!(place.files(app), contents(app, &place), times(app, &place));
        Self { files, contents, times }
    }

    /// How each test of the package ended.
    pub(crate) fn tests(&self) -> Option<Vec<TestData>> {
        let Found::Here(contents) = &self.contents else { return None };
        let tests = contents.tests.as_ref()?.iter();
        Some(tests.map(|end| TestData::new(end, self.times.seconds.get(&end.name).copied())).collect())
    }

    /// The log is too long to find all tests' times in it.
    pub(crate) const fn lacks_times(&self) -> bool {
        !self.times.is_whole
    }

    /// What it ran on.
    pub(crate) fn testbed(&self) -> Option<TestbedData> {
        match &self.contents {
            Found::Here(contents) => Some(TestbedData::of(contents)),
            Found::Missing | Found::Away => None,
        }
    }
}

async fn contents(app: &App, place: &Place) -> Found<Contents> {
    look(place.read(app, file::RESULT, None).await, Contents::of).await
}

async fn times(app: &App, place: &Place) -> Times {
    let log = place.read(app, file::LOG, Some(MOST_OF_LOG)).await;
    look(log, Times::of).await.here().unwrap_or_default()
}

/// What `result.tar` says of a run.
pub(crate) async fn contents_of(app: &App, row: &PublicResult) -> Found<Contents> {
    let Some(place) = Place::of(row) else { return Found::Missing };
    let Some(_turn) = turn(app).await else { return Found::Away };
    contents(app, &place).await
}

/// What of a run is compared with another's: `result.tar`, and what its tests had installed.
pub(crate) async fn comparable(app: &App, row: &PublicResult) -> (Found<Contents>, Option<TestPackages>) {
    let Some(place) = Place::of(row) else { return (Found::Missing, None) };
    let Some(_turn) = turn(app).await else { return (Found::Away, None) };
    let packages = async {
        let artifacts = place.read(app, file::ARTIFACTS, Some(MOST_OF_ARTIFACTS)).await;
        look(artifacts, test_packages).await.here()
    };
    tokio::join!(contents(app, &place), packages)
}
