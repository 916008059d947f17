//! The publisher over an embedded database and a folder, step by step.

use std::collections::BTreeSet;

use proofhouse_core::{
    bus::local::Local,
    config::Role,
    db::{Database, SyntheticOutcome, SyntheticResult, Taken},
    intake::{Incoming, Intake},
    layout::{Container, Series},
    store::{Store, folder::Folder},
    telemetry::metrics::Metrics,
};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::{estimates::Estimates, schedule::Rules};

struct Place {
    context: Context,
    store: Folder,
    epoch: i64,
    folder: TempDir,
}

fn intake() -> Intake {
    let served: BTreeSet<_> = ["noble/amd64", "jammy/amd64"].map(|p| p.parse().unwrap()).into();
    Intake { served, keys: None, answered: BTreeSet::default() }
}

fn scope(releases: &[&str], days: u32) -> Scope {
    Scope { releases: releases.iter().map(|r| (*r).to_owned()).collect(), days }
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder::new(folder.path().join("store"));
        let context = context(folder.path(), "one", &store, scope(&["jammy", "noble"], 0)).await;
        let epoch = context.database.take_leadership("test", false).await.unwrap().unwrap();
        Self { context, store, epoch, folder }
    }

    /// The same store with another job table.
    async fn on(&self, database: &str, scope: Scope) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let context = context(self.folder.path(), database, &self.store, scope).await;
        let epoch = context.database.take_leadership("other", true).await.unwrap().unwrap();
        Self { context, store: self.store.clone(), epoch, folder }
    }

    async fn take_over(&self) -> Publisher<'_> {
        Publisher::take_over(&self.context, self.epoch).await.unwrap()
    }

    /// A result without a run, recorded; it is stored with [`Self::stored`].
    async fn result(&self, pair: &str, body: &str) -> (i64, String) {
        let queue = format!("debci-{}", pair.replace('/', "-"));
        let incoming = Incoming { queue, body: body.to_owned().into(), redelivered: false };
        let (taken, _) =
            self.context.database.take(None, &[intake().prepare(&incoming, |_, _| None)]).await.unwrap();
        let Taken::New { job, .. } = taken[0] else { panic!("{taken:?}") };
        let row = self.context.database.job(job).await.unwrap().unwrap();
        let pair = row.pair().unwrap();
        let request = row.request().unwrap();
        let series = Series { container: request.container(&pair), pair, package: request.package };
        let (version, from) = ("1".to_owned(), row.state());
        let synthetic = SyntheticResult { job, exit_code: 99, version, rule: "never-run", from };
        let recorded =
            self.context.database.record_synthetic(self.epoch, &synthetic, &series, vec![], vec![]).await;
        let SyntheticOutcome::Recorded(run_id) = recorded.unwrap() else { panic!("recorded") };
        (job, run_id.to_string())
    }

    async fn stored(&self, pair: &str, body: &str) -> String {
        let (job, run_id) = self.result(pair, body).await;
        self.store_result(job).await;
        run_id
    }

    async fn store_result(&self, job: i64) {
        let due = self.context.database.outbox_due(100).await.unwrap();
        let entry = due.iter().find(|entry| entry.job_id == job).unwrap();
        assert!(self.context.database.result_stored(entry).await.unwrap());
    }

    /// An operator drops the index.
    async fn drop_index(&self) {
        let path = self.folder.path().join("one.db");
        let mut table =
            SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
        sqlx::query("DELETE FROM results").execute(&mut table).await.unwrap();
        table.close().await.unwrap();
    }

    async fn pointer(&self) -> Pointer {
        shelf::pointer(&self.store).await.unwrap().unwrap()
    }

    /// Packages of the file that the pointer's newest pair names, whose results lie in the order of their run ids.
    async fn published(&self) -> Vec<String> {
        let path = self.folder.path().join("read.db");
        assert!(shelf::fetch(&self.store, &self.pointer().await.pairs[0], &path).await.unwrap());
        let mut read =
            SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
        let sql = "SELECT r.run_id, t.package FROM result r JOIN test t ON t.id = r.test_id ORDER BY r.rowid";
        let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(&mut read).await.unwrap();
        assert!(rows.is_sorted_by_key(|(run_id, _)| run_id));
        let mut packages: Vec<String> = rows.into_iter().map(|(_, package)| package).collect();
        packages.sort();
        packages
    }
}

async fn context(folder: &Path, name: &str, store: &Folder, scope: Scope) -> Context {
    let database = Database::open(&format!("sqlite://{}/{name}.db", folder.display()), None).unwrap();
    database.prepare().await.unwrap();
    let rules = Rules { lease: LOOK, offer: LOOK, attempts: 3, pause: LOOK };
    let settings = crate::Settings {
        pools: Arc::default(),
        holder: name.to_owned(),
        sole: false,
        intake: intake(),
        switched_off: BTreeSet::new(),
        rules,
        lists: watch::channel(Arc::default()).1,
        parked_answer: None,
        published: Settings { folder: folder.join(format!("published-{name}")), scope, archive: None },
        metrics: Arc::new(Metrics::new(Role::Dispatcher)),
    };
    let bus = Arc::new(Local::new());
    Context { settings, database, bus, store: Arc::new(store.clone()), estimates: Estimates::default() }
}

/// The time comes at which the next pair may be announced.
async fn time_passes(place: &Place, publisher: &mut Publisher<'_>) {
    (publisher.moved, publisher.taken_in) = (None, None);
    let mut pointer = place.pointer().await;
    pointer.pairs.iter_mut().for_each(|pair| pair.from_us -= 60_000_000);
    shelf::move_pointer(&place.store, &pointer).await.unwrap();
}

#[tokio::test]
async fn what_is_stored_is_published_whenever_it_comes() {
    let place = Place::new().await;
    let (late, _) = place.result("noble/amd64", "late {\"triggers\": [\"a/1\"]}").await;
    place.stored("noble/amd64", "green {\"triggers\": [\"a/1\"]}").await;
    place.stored("noble/amd64", "without {}").await;
    place.stored("noble/amd64", "ppa {\"triggers\": [\"a/1\"], \"ppas\": [\"a/b\"]}").await;
    place.stored("noble/amd64", "private {\"triggers\": [\"a/1\"], \"swiftuser\": \"u\"}").await;
    let mut publisher = place.take_over().await;
    publisher.round().await.unwrap();
    assert_eq!(place.published().await, ["green"]);
    assert_eq!(place.pointer().await.pairs.len(), 1);
    // Nothing new, and not yet time.
    let first = place.pointer().await;
    publisher.round().await.unwrap();
    place.store_result(late).await;
    publisher.round().await.unwrap();
    assert_eq!(place.pointer().await, first);
    assert_eq!(publisher.edition, first.edition, "it is taken in with what else comes until then");
    // Its id and its run id are smaller than those of what was published before.
    time_passes(&place, &mut publisher).await;
    publisher.round().await.unwrap();
    assert_eq!(place.published().await, ["green", "late"]);
    let second = place.pointer().await;
    assert_eq!((second.pairs.len(), second.edition > first.edition), (2, true));
    // Announced, not shown: another must wait, whatever comes.
    place.stored("jammy/amd64", "blue {\"triggers\": [\"a/1\"]}").await;
    publisher.moved = None;
    publisher.round().await.unwrap();
    assert_eq!((place.pointer().await, publisher.edition), (second.clone(), second.edition));
    (publisher.moved, publisher.taken_in) = (None, None);
    publisher.round().await.unwrap();
    assert_eq!(place.pointer().await, second);
    assert!(publisher.edition > second.edition, "the file is ready");
}

#[tokio::test]
async fn a_new_leader_goes_on_and_a_thawed_one_does_no_lasting_harm() {
    let place = Place::new().await;
    place.stored("noble/amd64", "green {\"triggers\": [\"a/1\"]}").await;
    let mut old = place.take_over().await;
    old.round().await.unwrap();
    let stale = place.pointer().await;
    place.stored("noble/amd64", "blue {\"triggers\": [\"a/1\"]}").await;
    let next = place.on("one", scope(&["jammy", "noble"], 0)).await;
    let mut new = next.take_over().await;
    assert_eq!(new.edition, stale.edition);
    time_passes(&place, &mut new).await;
    new.round().await.unwrap();
    assert_eq!(place.published().await, ["blue", "green"]);
    // The old one numbers nothing any more, and its pointer comes late.
    assert!(matches!(old.take_in().await, Err(PublishError::Database(DbError::LeadershipLost(_)))));
    shelf::move_pointer(&place.store, &stale).await.unwrap();
    time_passes(&place, &mut new).await;
    new.round().await.unwrap();
    assert_eq!(place.published().await, ["blue", "green"]);
    // One that goes on from the stale file misses nothing either.
    shelf::move_pointer(&place.store, &stale).await.unwrap();
    let mut third = next.take_over().await;
    time_passes(&place, &mut third).await;
    third.round().await.unwrap();
    assert_eq!(place.published().await, ["blue", "green"]);
}

#[tokio::test]
async fn a_lost_job_table_loses_no_published_result() {
    let place = Place::new().await;
    place.stored("noble/amd64", "green {\"triggers\": [\"a/1\"]}").await;
    place.stored("jammy/amd64", "red {\"triggers\": [\"a/1\"]}").await;
    let mut publisher = place.take_over().await;
    publisher.round().await.unwrap();
    // Another job table, in which the editions begin anew; one release is not served any more.
    let other = place.on("two", scope(&["noble"], 0)).await;
    other.stored("noble/amd64", "blue {\"triggers\": [\"a/1\"]}").await;
    let mut publisher = other.take_over().await;
    time_passes(&place, &mut publisher).await;
    publisher.round().await.unwrap();
    assert_eq!(place.published().await, ["blue", "green"]);
    // A damaged file, and an emptied store: all that the table knows.
    let newest = place.pointer().await.pairs[0].file();
    let damaged = proofhouse_core::store::Body::Bytes("x".into());
    let container = Container::published();
    let headers = proofhouse_core::store::ContentHeaders::default();
    place.store.put(&container, &newest, &damaged, &headers).await.unwrap();
    let mut publisher = other.take_over().await;
    time_passes(&place, &mut publisher).await;
    publisher.round().await.unwrap();
    assert_eq!(place.published().await, ["blue"]);
    proofhouse_core::store::delete_prefix(&place.store, &container, "").await.unwrap();
    publisher.moved = None;
    publisher.round().await.unwrap();
    assert_eq!(place.published().await, ["blue"]);
}

#[tokio::test]
async fn an_index_that_was_dropped_is_published_as_it_comes_back() {
    let place = Place::new().await;
    let stored = async |package: &str| {
        place.stored("noble/amd64", &format!("{package} {{\"triggers\": [\"a/1\"]}}")).await;
        place.context.database.next_edition(place.epoch, BATCH).await.unwrap();
    };
    stored("green").await;
    stored("blue").await;
    let mut publisher = place.take_over().await;
    publisher.round().await.unwrap();
    assert_eq!(place.published().await, ["blue", "green"]);
    assert_eq!(publisher.edition, 2);
    // There are fewer editions than before.
    place.drop_index().await;
    stored("red").await;
    time_passes(&place, &mut publisher).await;
    publisher.round().await.unwrap();
    assert_eq!(place.published().await, ["blue", "green", "red"]);
    assert_eq!(publisher.edition, 1);
    // There are more, by the time at which it is looked at.
    place.drop_index().await;
    stored("amber").await;
    stored("grey").await;
    time_passes(&place, &mut publisher).await;
    publisher.round().await.unwrap();
    assert_eq!(place.published().await, ["amber", "blue", "green", "grey", "red"]);
    assert_eq!(publisher.edition, 2);
}

#[test]
fn windows_begin_with_a_day() {
    let now = "2026-03-01T23:00:00Z".parse::<Timestamp>().unwrap().as_microsecond();
    assert_eq!(
        (oldest(now, 0), oldest(now, 1), oldest(now, 365)),
        (String::new(), "20260228".into(), "20250301".into())
    );
}
