//! The published database (contract "The published database"): the leader writes it, every web serves it.
//!
//! One SQLite file under the data folder takes in each edition of the results ([`proofhouse_core::db`]) and goes into the
//! object store, where a pointer says which file is shown from when ([`proofhouse_core::published`]). A new leader goes on
//! from the file that the pointer names. One that thinks that it still leads can but show an older edition for a while.

mod archive;
mod current;
mod file;
mod shelf;
mod sources;
mod versions;

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proofhouse_core::{
    db::{DbError, PublishedRow},
    faults::{self, Step},
    published::{Pair, Pointer, Scope},
    store::StoreError,
};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::{
    archive::Archive,
    current::{Current, CurrentError, release_digests},
    sources::packages,
};
use self::{
    archive::{Index, Known},
    file::File,
};
use crate::{Context, chain};

/// How often new results are looked for.
const LOOK: Duration = Duration::from_secs(5);
/// How long a file is shown at least, and how long results wait to be taken in together: what comes with old run ids, as in
/// a rebuild of the index, has nearly the whole file written again.
const PERIOD: Duration = Duration::from_secs(30);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(10);
/// How many results are taken at once: so few that the leadership's row is never locked for long.
const BATCH: i64 = 5000;

/// What is published.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder that the file is kept in; it may not exist yet.
    pub folder: PathBuf,
    /// Which results.
    pub scope: Scope,
    /// The archive that says what is current.
    pub archive: Option<Archive>,
}

#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error("the job table did not answer")]
    Database(#[from] DbError),
    #[error("the store did not take or give it")]
    Store(#[from] StoreError),
    #[error("the database file failed")]
    File(#[from] sqlx::Error),
    #[error("the folder of the database file failed")]
    Io(#[from] io::Error),
}

/// Publishes until `over`. It never ends by itself: a file that cannot be published is no reason to lead no more.
pub(crate) async fn run(context: Arc<Context>, epoch: i64, over: CancellationToken) {
    let work = async {
        loop {
            let Err(error) = publish(&context, epoch).await;
            tracing::warn!(error = %chain(&error), "the published database waits; trying again");
            tokio::time::sleep(PAUSE).await;
        }
    };
    over.run_until_cancelled(work).await;
}

async fn publish(context: &Context, epoch: i64) -> Result<Infallible, PublishError> {
    let mut publisher = Publisher::take_over(context, epoch).await?;
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => match publisher.round().await {
                Err(error @ PublishError::File(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the published database waits; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(()) => {}
            },
            Some(index) = changed(&mut publisher.archive) => publisher.versions(&index).await?,
        }
    }
}

/// The next index that has changed; none, at once, where no archive is followed (any more).
async fn changed(archive: &mut Option<Followed>) -> Option<Index> {
    archive.as_mut()?.changed.recv().await
}

/// An archive while it is followed.
struct Followed {
    known: Known,
    changed: mpsc::Receiver<Index>,
    task: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Publisher<'a> {
    context: &'a Context,
    epoch: i64,
    file: File,
    /// The last edition that the file holds.
    edition: i64,
    /// The number of its last result in the job table.
    last_result: Option<i64>,
    /// Run ids in the file are not smaller.
    from: String,
    pointer: Pointer,
    /// The digest of the newest pair, by what is known here.
    newest: Option<String>,
    /// The file differs from it.
    changed: bool,
    /// When the pointer was last moved, or looked at.
    moved: Option<Instant>,
    /// When results were last taken in.
    taken_in: Option<Instant>,
    archive: Option<Followed>,
}

impl<'a> Publisher<'a> {
    /// Goes on from what is published, or from nothing.
    async fn take_over(context: &'a Context, epoch: i64) -> Result<Self, PublishError> {
        let settings = &context.settings.published;
        let store = context.store.as_ref();
        let lineage = context.database.lineage(&Uuid::new_v4().to_string()).await?;
        empty(&settings.folder)?;
        // A name of its own: a frozen leader in the same folder writes into no file of ours, and stores none.
        let path = settings.folder.join(format!("autopkgtest-{epoch}.db"));
        let found = shelf::pointer(store).await?;
        let newest = found.as_ref().and_then(|pointer| pointer.pairs.first());
        let fetched = match newest {
            Some(newest) => shelf::fetch(store, newest, &path).await?,
            None => false,
        };
        if !fetched {
            empty(&settings.folder)?;
        }
        let newest = newest.map(|pair| pair.digest.clone()).filter(|_| fetched);
        let file = File::open(&path).await?;
        let last = context.database.last_edition().await?;
        // Of another job table, or of this one before it was restored: its results are kept, and all of ours added.
        let continues =
            |p: &Pointer| p.lineage == lineage && p.edition <= last && p.scope.covers(&settings.scope);
        let edition = found.as_ref().filter(|p| fetched && continues(p)).map_or(0, |p| p.edition);
        let last_result = context.database.last_of_edition(edition).await?;
        let pairs = found.map(|pointer| pointer.pairs).unwrap_or_default();
        let pointer = Pointer { lineage, edition, scope: settings.scope.clone(), pairs };
        let mut publisher = Self {
            context,
            epoch,
            file,
            edition,
            last_result,
            from: String::new(),
            pointer,
            changed: newest.is_none(),
            newest,
            moved: None,
            taken_in: None,
            archive: None,
        };
        publisher.prune(true).await?;
        publisher.follow_archive().await?;
        Ok(publisher)
    }

    /// Takes in what is new, and publishes it when it is time.
    async fn round(&mut self) -> Result<(), PublishError> {
        self.prune(false).await?;
        let lately = |at: Option<Instant>| at.is_some_and(|at| at.elapsed() < PERIOD);
        if lately(self.moved) {
            return Ok(());
        }
        // The pointer may have to wait for longer.
        if !lately(self.taken_in) {
            self.take_in().await?;
            self.taken_in = Some(Instant::now());
        }
        // A frozen leader that thawed may have moved the pointer once more, or an operator emptied the store.
        let found = shelf::pointer(self.context.store.as_ref()).await?;
        let newest = found.as_ref().and_then(|pointer| pointer.pairs.first());
        self.changed |= newest.map(|pair| &pair.digest) != self.newest.as_ref();
        if self.changed {
            return self.store(found.map(|pointer| pointer.pairs).unwrap_or_default()).await;
        }
        self.moved = Some(Instant::now());
        Ok(())
    }

    /// Drops what has left the window; the day decides, so that a file changes by it once a day.
    async fn prune(&mut self, at_start: bool) -> Result<(), PublishError> {
        let scope = &self.context.settings.published.scope;
        let from = oldest(self.now().await?, scope.days);
        if at_start || from != self.from {
            self.changed |= self.file.prune(&from, &scope.releases).await?;
            self.from = from;
        }
        Ok(())
    }

    /// Takes in every edition that the file does not hold yet.
    async fn take_in(&mut self) -> Result<(), PublishError> {
        let database = &self.context.database;
        while database.next_edition(self.epoch, BATCH).await? == u64::try_from(BATCH).unwrap_or(u64::MAX) {}
        // Where the index was dropped meanwhile its editions begin anew, and numbers are never given twice.
        if let Some(result) = self.last_result
            && !database.is_result(result).await?
        {
            self.edition = 0;
        }
        let last = database.last_edition().await?;
        if last <= self.edition {
            return Ok(());
        }
        let last_result = database.last_of_edition(last).await?;
        self.file.forget_brought().await?;
        let mut after = (self.edition, i64::MAX);
        loop {
            let rows = database.published_rows(after, last, &self.from, BATCH).await?;
            let Some(newest) = rows.last() else { break };
            after = (newest.edition, newest.id);
            let releases = &self.context.settings.published.scope.releases;
            let ours: Vec<&PublishedRow> =
                rows.iter().filter(|row| releases.contains(&row.release)).collect();
            self.file.bring(&ours).await?;
        }
        self.changed |= self.file.take_in().await?;
        (self.edition, self.last_result) = (last, last_result);
        Ok(())
    }

    /// Stores the file, and announces it before the `pairs` that are there.
    async fn store(&mut self, pairs: Vec<Pair>) -> Result<(), PublishError> {
        let store = self.context.store.as_ref();
        self.pointer.pairs = pairs;
        if !self.pointer.may_move(self.now().await?) {
            return Ok(());
        }
        let digest = shelf::digest(self.file.path()).await?;
        if self.pointer.pairs.first().is_none_or(|newest| newest.digest != digest) {
            let pair = Pair { digest: digest.clone(), from_us: 0 };
            shelf::prepare(store).await?;
            let before = self.pointer.pairs.first().cloned();
            shelf::put_pair(store, self.file.path(), &pair).await?;
            faults::reached(Step::DatabasePublished);
            // That took its time: who was frozen in it, or lost its leadership, must not announce over what came since.
            let found = shelf::pointer(store).await?.and_then(|pointer| pointer.pairs.into_iter().next());
            if found != before {
                return Ok(());
            }
            let now = self.now().await?;
            self.pointer.edition = self.edition;
            self.pointer.announce(digest.clone(), now);
            shelf::move_pointer(store, &self.pointer).await?;
            tracing::debug!(published.edition = self.edition, "edition {} is published", self.edition);
            let now = Timestamp::from_microsecond(now).unwrap_or(Timestamp::UNIX_EPOCH);
            shelf::sweep(store, &self.pointer, now).await?;
        }
        (self.newest, self.changed, self.moved) = (Some(digest), false, Some(Instant::now()));
        Ok(())
    }

    async fn now(&self) -> Result<i64, DbError> {
        self.context.database.now_us().await
    }

    /// Begins to follow the archive. Versions that come from another are forgotten.
    async fn follow_archive(&mut self) -> Result<(), PublishError> {
        let settings = &self.context.settings.published;
        let places = settings.archive.as_ref().map(|archive| archive.places(&settings.scope.releases));
        let places = places.unwrap_or_default();
        let mut checked = self.file.checked().await?;
        if !checked.keys().all(|url| places.iter().any(|place| place.url == *url)) {
            self.file.forget_versions().await?;
            checked.clear();
            self.changed = true;
        }
        if let Some(archive) = &settings.archive {
            let (sender, changed) = mpsc::channel(1);
            let known = Known::new(checked);
            let task =
                tokio::spawn(archive::watch(places, archive.authorities.clone(), known.clone(), sender))
                    .abort_handle();
            self.archive = Some(Followed { known, changed, task });
        }
        Ok(())
    }

    /// Takes an index in.
    async fn versions(&mut self, index: &Index) -> Result<(), PublishError> {
        self.changed = true;
        let settings = &self.context.settings.published;
        if self.file.set_versions(index).await?
            && let (Some(archive), Some(followed)) = (&settings.archive, &self.archive)
        {
            let places = archive.places(std::slice::from_ref(&index.place.release));
            let releases = places.into_iter().filter(|place| !place.is_updates());
            let urls: Vec<String> = releases.map(|place| place.url).collect();
            self.file.forget_checked(&urls).await?;
            followed.known.forget(&urls);
        }
        Ok(())
    }
}

/// What run ids begin with that are as old as a window of `days` allows; empty: any age.
fn oldest(now_us: i64, days: u32) -> String {
    let now = Timestamp::from_microsecond(now_us).unwrap_or(Timestamp::UNIX_EPOCH);
    match now.checked_sub(SignedDuration::from_hours(24 * i64::from(days))) {
        Ok(first) if days > 0 => first.to_zoned(TimeZone::UTC).strftime("%Y%m%d").to_string(),
        _ => String::new(),
    }
}

/// Makes the folder, and removes what an earlier leader left in it.
fn empty(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        std::fs::remove_file(entry?.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
