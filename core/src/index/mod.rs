//! From the store back into the index: what a listing or a message names is read from its `result.tar`.
//!
//! Facts: contract "Results", headings "Objects" and "Rebuilding"; results of other systems are read as they are.

mod said;

use crate::{
    evidence::MAX_RESULT,
    layout::{Container, Series, file},
    names::Pair,
    run_id::RunId,
    store::{Store, StoreError},
};

pub use said::Said;

/// How the names of all containers with results begin.
pub const CONTAINERS: [&str; 2] = ["autopkgtest-", "private-autopkgtest-"];

/// The most of a `readable-by` that is looked at, in bytes.
const MAX_READERS: u64 = 1 << 16;

/// True for a container that holds results.
pub fn holds_results(container: &Container) -> bool {
    CONTAINERS.iter().any(|prefix| container.as_str().starts_with(prefix))
}

/// A run that a listing or a message names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundRun {
    /// Where it lies.
    pub series: Series,
    /// Its id.
    pub run_id: RunId,
}

impl FoundRun {
    /// The run in a folder of five parts, the `swift_dir` of messages. None where it is no run's.
    pub fn of_folder(container: &Container, folder: &str) -> Option<Self> {
        let mut parts = folder.split('/');
        let mut part = || parts.next();
        let pair = Pair { release: part()?.parse().ok()?, arch: part()?.parse().ok()? };
        let (prefix, package, run_id) = (part()?, part()?, part()?.parse().ok()?);
        let series = Series { container: container.clone(), pair, package: package.parse().ok()? };
        (parts.next().is_none() && prefix == series.package.prefix()).then_some(Self { series, run_id })
    }

    /// The run whose `result.tar` an object is: the mark of a complete one.
    pub fn of_result(container: &Container, object: &str) -> Option<Self> {
        Self::of_folder(container, object.strip_suffix(file::RESULT)?.strip_suffix('/')?)
    }

    /// Container and folder, for people. None for a private one, which is named nowhere.
    pub fn shown(&self) -> Option<String> {
        let container = &self.series.container;
        (!container.is_private()).then(|| format!("{container}/{}", self.series.folder(&self.run_id)))
    }
}

/// A result as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResult {
    /// Which run.
    pub run: FoundRun,
    /// What its `result.tar` says.
    pub said: Said,
    /// Who may read a private one.
    pub readable_by: Vec<String>,
}

/// Why a run cannot be indexed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store does not give it out.
    #[error("the run cannot be read from the store")]
    Store(#[from] StoreError),
    /// Its `result.tar` does not even say how the run ended.
    #[error("the run's result.tar is damaged: {0}")]
    Damaged(String),
}

impl ReadError {
    /// True where the store is away, and the run may be sound.
    pub const fn may_retry(&self) -> bool {
        matches!(self, Self::Store(StoreError::Away { .. }))
    }

    /// True where there is no such run.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_missing())
    }
}

/// Reads a run from the store.
pub async fn read(store: &dyn Store, run: &FoundRun) -> Result<StoredResult, ReadError> {
    let FoundRun { series, run_id } = run;
    let object = |file| series.object(run_id, file);
    let bytes = store.get(&series.container, &object(file::RESULT), None).await?.bytes(MAX_RESULT).await?;
    let said = Said::of(&bytes).map_err(ReadError::Damaged)?;
    let readable_by = if series.container.is_private() {
        readers(store, &series.container, &object(file::READABLE_BY)).await?
    } else {
        Vec::new()
    };
    Ok(StoredResult { run: run.clone(), said, readable_by })
}

/// The names in a `readable-by`. Nobody where there is none, or where it cannot be read.
async fn readers(store: &dyn Store, container: &Container, object: &str) -> Result<Vec<String>, StoreError> {
    let read = async { store.get(container, object, None).await?.bytes(MAX_READERS).await };
    let bytes = match read.await {
        Err(error @ StoreError::Away { .. }) => return Err(error),
        read => read.unwrap_or_default(),
    };
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().map(said::clean).filter(|name| !name.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_run_and_what_is_none() {
        let container: Container = "autopkgtest-noble".parse().unwrap();
        let object = "noble/amd64/libz/libzstd/20261121_053634_abcde@/result.tar";
        let run = FoundRun::of_result(&container, object).unwrap();
        assert_eq!(run.series.object(&run.run_id, file::RESULT), object);
        assert_eq!(run.shown().unwrap() + "/result.tar", format!("autopkgtest-noble/{object}"));
        assert!(
            FoundRun::of_result(&container, "precise/i386/g/green/20130101_000000@/result.tar").is_some()
        );
        for other in [
            "noble/amd64/libz/libzstd/20261121_053634_abcde@/log.gz",
            "noble/amd64/libz/libzstd/20261121_053634_abcde@result.tar",
            "noble/amd64/l/libzstd/20261121_053634_abcde@/result.tar",
            "noble/amd64/libz/libzstd/20261121_053634_abcde@/deeper/result.tar",
            "noble/amd64/libz/libzstd/latest/result.tar",
            "noble/amd64/g/../20261121_053634_abcde@/result.tar",
            "result.tar",
            "/result.tar",
        ] {
            assert_eq!(FoundRun::of_result(&container, other), None, "{other}");
        }
        let private = "private-autopkgtest-noble".parse().unwrap();
        assert_eq!(FoundRun::of_result(&private, object).unwrap().shown(), None);
    }

    #[test]
    fn containers_with_results() {
        let holds = |name: &str| holds_results(&name.parse().unwrap());
        assert!(holds("autopkgtest-noble") && holds("private-autopkgtest-noble-o-p"));
        assert!(!holds("proofhouse-attempts") && !holds("db-backups") && !holds("private-autopkgtest"));
    }
}
