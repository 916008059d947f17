//! Summaries: what pages of the past are drawn from. The leader sums results up behind their editions, each exactly once, in
//! the transaction that says how far it has got. Private results are in none of it.
//!
//! A batch goes to the database as one JSON text: one constant statement for any number of rows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::FromRow;

use super::{
    Database, DbError,
    connection::{Tx, args},
};
use crate::{
    outcome::{Class, ExitCode},
    params::Trigger,
    run_id::RunId,
};

/// An hour, in microseconds.
pub const HOUR_US: i64 = 3_600_000_000;
/// Longer names are in no list by which they could be found: databases bound the keys of an index.
const LONGEST_NAME: usize = 500;
/// So many results before one are looked at for the same inputs: who asks again does so soon.
const LOOK_BACK: i64 = 5;

/// A result that is not summed up yet.
#[derive(Debug, Clone, FromRow)]
struct Fresh {
    id: i64,
    edition: i64,
    container: String,
    release: String,
    arch: String,
    package: String,
    run_id: String,
    version: String,
    triggers: String,
    env: String,
    requester: Option<String>,
    exit_code: i64,
    duration_seconds: i64,
    private: bool,
    context: Option<String>,
    granted_us: Option<i64>,
    waited_us: Option<i64>,
}

impl Fresh {
    fn class(&self) -> Class {
        ExitCode(i32::try_from(self.exit_code).unwrap_or(i32::MIN)).class()
    }

    /// Not with PPAs.
    fn is_of_distribution(&self) -> bool {
        self.container.strip_prefix("autopkgtest-") == Some(&self.release)
    }

    /// `owner-name` of the PPA that it was run with.
    fn ppa(&self) -> Option<&str> {
        self.container.strip_prefix("autopkgtest-")?.strip_prefix(&self.release)?.strip_prefix('-')
    }

    fn hour_us(&self) -> Option<i64> {
        let time = self.run_id.parse::<RunId>().ok()?.time()?;
        Some(hour_of(time.as_microsecond()))
    }
}

/// The begin of an hour.
pub const fn hour_of(at_us: i64) -> i64 {
    at_us - at_us.rem_euclid(HOUR_US)
}

/// What a test said of the package: nothing of the infrastructure.
const fn is_said(class: Class) -> bool {
    matches!(class, Class::Pass | Class::Neutral | Class::Fail)
}

const fn is_good(class: Class) -> bool {
    matches!(class, Class::Pass | Class::Neutral)
}

/// How a package fares on a release and arch, by distribution runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Standing {
    /// The release.
    pub release: String,
    /// The architecture.
    pub arch: String,
    /// The package.
    pub package: String,
    /// Of the newest result in which a test had its say, or where there is none, of the newest.
    pub class: String,
    /// Its run id.
    pub run_id: String,
    /// What was tested by it.
    pub version: String,
    /// Its length.
    pub duration_seconds: i64,
    /// The newest that passed or had nothing to test.
    pub passed_run_id: Option<String>,
    /// What that tested.
    pub passed_version: Option<String>,
    /// The first failure after it, where the newest failed.
    pub failing_since: Option<String>,
    /// How many results there are.
    pub runs: i64,
}

/// Counts of an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub n: i64,
    /// The sum of what was measured.
    pub total: i64,
    /// The greatest.
    pub most: i64,
}

impl Count {
    /// One measured value.
    pub const fn of(value: i64) -> Self {
        Self { n: 1, total: value, most: value }
    }

    fn add(&mut self, other: Self) {
        self.n += other.n;
        self.total += other.total;
        self.most = self.most.max(other.most);
    }
}

/// What is counted by the hour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HourKey {
    /// What; the schema lists it.
    pub what: &'static str,
    /// Its begin; 0: of all time.
    pub hour: i64,
    /// The release; empty where that says nothing.
    pub release: String,
    /// The architecture; empty where that says nothing.
    pub arch: String,
    /// A class, context, pool or fault.
    pub name: String,
}

#[derive(Serialize)]
struct HourRow<'a> {
    what: &'a str,
    hour: i64,
    release: &'a str,
    arch: &'a str,
    name: &'a str,
    n: i64,
    total: i64,
    most: i64,
}

type Hours = BTreeMap<HourKey, Count>;

/// The rows of a JSON text, `$1`, as a table `n`: its head for each of the two databases.
macro_rules! rows {
    (postgres $first:ident $first_type:ident $(, $name:ident $type:ident)*) => {
        concat!(" FROM json_to_recordset($1::json) AS n (", stringify!($first), " ", stringify!($first_type),
            $(", ", stringify!($name), " ", stringify!($type),)* ") ")
    };
    (sqlite $first:ident $first_type:ident $(, $name:ident $type:ident)*) => {
        concat!(" FROM (SELECT value ->> '", stringify!($first), "' AS ", stringify!($first),
            $(", value ->> '", stringify!($name), "' AS ", stringify!($name),)* " FROM json_each($1)) AS n ")
    };
}

/// A statement over such rows, for the database at hand.
macro_rules! over {
    ($db:expr, $head:literal, ($($columns:tt)*), $tail:expr) => {
        if $db.is_sqlite() {
            concat!($head, rows!(sqlite $($columns)*), $tail)
        } else {
            concat!($head, rows!(postgres $($columns)*), $tail)
        }
    };
}

pub(super) use {over, rows};

pub(super) fn json<T: Serialize>(rows: &[T]) -> Result<String, DbError> {
    serde_json::to_string(rows).map_err(|error| DbError::Value(error.to_string()))
}

/// What a batch adds to a standing.
struct News<'a> {
    runs: i64,
    newest: &'a Fresh,
    passed: Option<&'a Fresh>,
    failed: BTreeSet<&'a str>,
}

/// The one that counts: what a test said before what infrastructure did, then the newer.
fn counts_before(a: (Class, &str), b: (Class, &str)) -> bool {
    (is_said(a.0), a.1) > (is_said(b.0), b.1)
}

impl<'a> News<'a> {
    fn add(all: &mut BTreeMap<(&'a str, &'a str, &'a str), Self>, fresh: &'a Fresh) {
        let key = (fresh.package.as_str(), fresh.release.as_str(), fresh.arch.as_str());
        let news =
            all.entry(key).or_insert(Self { runs: 0, newest: fresh, passed: None, failed: BTreeSet::new() });
        news.runs += 1;
        let class = fresh.class();
        if counts_before((class, &fresh.run_id), (news.newest.class(), &news.newest.run_id)) {
            news.newest = fresh;
        }
        if is_good(class) && news.passed.is_none_or(|passed| passed.run_id < fresh.run_id) {
            news.passed = Some(fresh);
        }
        if class == Class::Fail {
            news.failed.insert(&fresh.run_id);
        }
    }

    /// The standing with this. True where older results must be looked at for the first failure.
    fn onto(&self, old: Option<&Standing>) -> (Standing, bool) {
        let fresh = self.newest;
        let mut new = Standing {
            release: fresh.release.clone(),
            arch: fresh.arch.clone(),
            package: fresh.package.clone(),
            class: fresh.class().to_string(),
            run_id: fresh.run_id.clone(),
            version: fresh.version.clone(),
            duration_seconds: fresh.duration_seconds,
            passed_run_id: self.passed.map(|passed| passed.run_id.clone()),
            passed_version: self.passed.map(|passed| passed.version.clone()),
            failing_since: None,
            runs: self.runs,
        };
        let mut looked_at_again = false;
        let mut since = None;
        if let Some(old) = old {
            new.runs += old.runs;
            let old_class = class_named(&old.class);
            if counts_before((old_class, &old.run_id), (fresh.class(), &fresh.run_id)) {
                new.class.clone_from(&old.class);
                new.run_id.clone_from(&old.run_id);
                new.version.clone_from(&old.version);
                new.duration_seconds = old.duration_seconds;
            }
            if old.passed_run_id > new.passed_run_id {
                new.passed_run_id.clone_from(&old.passed_run_id);
                new.passed_version.clone_from(&old.passed_version);
            }
            // A pass came late, between failures that are in already.
            looked_at_again = old.failing_since.is_some() && old.failing_since <= new.passed_run_id;
            since = old.failing_since.as_deref().filter(|since| Some(*since) > new.passed_run_id.as_deref());
        }
        if new.class != Class::Fail.as_str() {
            return (new, false);
        }
        let first = self.failed.iter().copied().find(|failed| Some(*failed) > new.passed_run_id.as_deref());
        new.failing_since = first.into_iter().chain(since).min().map(str::to_owned);
        (new, looked_at_again)
    }
}

fn class_named(name: &str) -> Class {
    Class::ALL.into_iter().find(|class| class.as_str() == name).unwrap_or(Class::Otherfail)
}

/// A series in a batch.
#[derive(Serialize)]
struct Key<'a> {
    release: &'a str,
    arch: &'a str,
    package: &'a str,
}

/// A result in a batch, with its inputs.
#[derive(Serialize)]
struct Inputs<'a> {
    n: usize,
    container: &'a str,
    release: &'a str,
    arch: &'a str,
    package: &'a str,
    run_id: &'a str,
    version: &'a str,
    triggers: &'a str,
    env: &'a str,
}

#[derive(Serialize)]
struct Flip<'a> {
    container: &'a str,
    release: &'a str,
    arch: &'a str,
    package: &'a str,
    run_id: &'a str,
    before_run_id: &'a str,
    class: &'static str,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a> {
    kind: &'static str,
    name: &'a str,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Triggered<'a> {
    name: &'a str,
    result: i64,
}

impl Database {
    /// Sums up at most `limit` results that have an edition, and says how many; where old sums are taken away first, in parts, 1.
    pub async fn sum_up(&self, epoch: i64, limit: i64) -> Result<usize, DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        let Some((edition, result)) = tx.still_summed_up(limit).await? else {
            tx.commit().await?;
            return Ok(1);
        };
        let is_anew = result == 0;
        let all: Vec<Fresh> = tx
            .all(
                "SELECT r.id, r.edition, r.container, r.release, r.arch, r.package, r.run_id, r.version,
                    coalesce(r.triggers, '') AS triggers, coalesce(r.env, '') AS env, r.requester, r.exit_code,
                    r.duration_seconds, r.private, j.context, a.granted_us, a.granted_us - j.received_us AS waited_us
                 FROM (SELECT * FROM results WHERE edition IS NOT NULL AND (edition, id) > ($1, $2)
                       ORDER BY edition, id LIMIT $3) r
                 LEFT JOIN jobs j ON j.id = r.job_id LEFT JOIN attempts a ON a.job_id = r.job_id AND a.attempt = 1
                 ORDER BY r.edition, r.id",
                args![edition, result, limit],
            )
            .await?;
        let Some(last) = all.last() else {
            if is_anew {
                tx.commit().await?;
            }
            return Ok(0);
        };
        let (edition, result, number) = (last.edition, last.id, all.len());
        let public: Vec<Fresh> = all.into_iter().filter(|fresh| !fresh.private).collect();
        let mut hours = hours_of(&public);
        tx.stand(&public, &mut hours).await?;
        tx.flip(&public).await?;
        tx.name(&public).await?;
        tx.trigger(&public).await?;
        tx.count(&hours).await?;
        tx.execute("UPDATE summed SET edition = $1, result = $2 WHERE id = 1", args![edition, result])
            .await?;
        tx.commit().await?;
        Ok(number)
    }

    /// Adds measured values to their hours.
    pub async fn count_hours(&self, epoch: i64, counts: &BTreeMap<HourKey, Count>) -> Result<(), DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        tx.count(counts).await?;
        tx.commit().await
    }

    /// Counts anew the faults of the hours from `since_us` (the begin of one) on.
    pub async fn count_faults(&self, epoch: i64, since_us: i64) -> Result<(), DbError> {
        let mut tx = self.begin_leading(epoch).await?;
        tx.execute(
            "INSERT INTO hours (what, hour, release, arch, name, n, total, most)
             SELECT 'faults', a.ended_us - a.ended_us % 3600000000, j.release, j.arch, a.fault, count(*), 0, 0
             FROM attempts a JOIN jobs j ON j.id = a.job_id
             WHERE a.ended_us >= $1 AND a.fault IS NOT NULL AND NOT j.private
             GROUP BY a.ended_us - a.ended_us % 3600000000, j.release, j.arch, a.fault
             ON CONFLICT (what, hour, release, arch, name) DO UPDATE SET n = excluded.n",
            args![since_us],
        )
        .await?;
        tx.commit().await
    }
}

/// Results and waiting times, by the hour.
fn hours_of(public: &[Fresh]) -> Hours {
    let mut hours = Hours::new();
    let mut add = |what, hour, fresh: &Fresh, name: &str, count| {
        let (release, arch, name) = (fresh.release.clone(), fresh.arch.clone(), name.to_owned());
        hours.entry(HourKey { what, hour, release, arch, name }).or_default().add(count);
    };
    for fresh in public {
        let class = fresh.class().as_str();
        add("results", 0, fresh, class, Count::of(fresh.duration_seconds));
        if let Some(hour) = fresh.hour_us() {
            add("results", hour, fresh, class, Count::of(fresh.duration_seconds));
        }
        if let (Some(context), Some(granted), Some(waited)) =
            (&fresh.context, fresh.granted_us, fresh.waited_us)
        {
            add("waited", hour_of(granted), fresh, context, Count::of(waited.max(0) / 1_000_000));
        }
    }
    hours
}

/// Old sums, all of them: SQLite cuts whole tables off.
const ALL_OLD: [&str; 5] = [
    "DELETE FROM standings",
    "DELETE FROM flips",
    "DELETE FROM names",
    "DELETE FROM triggered",
    "DELETE FROM hours WHERE what IN ('results', 'waited', 'packages')",
];

macro_rules! some_of {
    ($table:literal, $which:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE ctid = ANY (ARRAY(SELECT ctid FROM ",
            $table,
            " ",
            $which,
            " LIMIT $1))"
        )
    };
}

/// Some of each, on PostgreSQL.
const SOME_OLD: [&str; 5] = [
    some_of!("standings", ""),
    some_of!("flips", ""),
    some_of!("names", ""),
    some_of!("triggered", ""),
    some_of!("hours", "WHERE what IN ('results', 'waited', 'packages')"),
];

impl Tx<'_> {
    /// Whoever wants the same meanwhile waits.
    pub(super) async fn lock_summaries(&mut self) -> Result<(), DbError> {
        self.execute("UPDATE summed SET result = result WHERE id = 1", vec![]).await.map(drop)
    }

    /// How far results are summed up. Where they are not there any more, an operator dropped the index: all begins anew. So it
    /// does where a rebuild asks for it ([`Database::sum_up_anew`]). None: there is more to take away first, at most `limit` of each
    /// kind at once. No transaction in which somebody leads may take long: the lease could not be renewed.
    async fn still_summed_up(&mut self, limit: i64) -> Result<Option<(i64, i64)>, DbError> {
        let sql = "SELECT edition, result FROM summed WHERE id = 1";
        let (edition, result): (i64, i64) = self.optional(sql, vec![]).await?.unwrap_or_default();
        if result == 0 {
            return Ok(Some((0, 0)));
        }
        let there: Option<(i64,)> = self
            .optional(
                "SELECT id FROM results WHERE id = $1 AND edition = $2
                    AND NOT EXISTS (SELECT 1 FROM results WHERE edition = 0)",
                args![result, edition],
            )
            .await?;
        if there.is_some() {
            return Ok(Some((edition, result)));
        }
        if self.is_sqlite() {
            for sql in ALL_OLD {
                self.execute(sql, vec![]).await?;
            }
        } else {
            for sql in SOME_OLD {
                if i64::try_from(self.execute(sql, args![limit]).await?).is_ok_and(|gone| gone >= limit) {
                    // No result has this number: what is begun goes on, whatever becomes of the one that asked for it.
                    self.execute("UPDATE summed SET result = -1 WHERE id = 1", vec![]).await?;
                    return Ok(None);
                }
            }
        }
        tracing::info!("results that were summed up are gone, or were for a while: summaries begin anew");
        for sql in [
            "UPDATE summed SET edition = 0, result = 0 WHERE id = 1",
            "UPDATE results SET edition = NULL WHERE edition = 0",
        ] {
            self.execute(sql, vec![]).await?;
        }
        Ok(Some((0, 0)))
    }

    /// Brings standings up to date, and the counts of packages by their class.
    async fn stand(&mut self, public: &[Fresh], hours: &mut Hours) -> Result<(), DbError> {
        let mut news = BTreeMap::new();
        for fresh in public.iter().filter(|fresh| fresh.is_of_distribution()) {
            News::add(&mut news, fresh);
        }
        if news.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key<'_>> =
            news.keys().map(|&(package, release, arch)| Key { release, arch, package }).collect();
        let sql = over!(
            self,
            "SELECT s.release, s.arch, s.package, s.class, s.run_id, s.version, s.duration_seconds, s.passed_run_id,
                s.passed_version, s.failing_since, s.runs ",
            (release TEXT, arch TEXT, package TEXT),
            "JOIN standings s ON s.package = n.package AND s.release = n.release AND s.arch = n.arch"
        );
        let old: Vec<Standing> = self.all(sql, args![json(&keys)?]).await?;
        let old: BTreeMap<(&str, &str, &str), &Standing> =
            old.iter().map(|s| ((s.package.as_str(), s.release.as_str(), s.arch.as_str()), s)).collect();
        let mut standings = Vec::with_capacity(news.len());
        for (key, news) in &news {
            let before = old.get(key).copied();
            let (mut standing, looked_at_again) = news.onto(before);
            if looked_at_again {
                standing.failing_since = self.first_failure(&standing).await?;
            }
            let mut package = |class: &str, n| {
                let key = HourKey {
                    what: "packages",
                    hour: 0,
                    release: standing.release.clone(),
                    arch: standing.arch.clone(),
                    name: class.to_owned(),
                };
                hours.entry(key).or_default().n += n;
            };
            if let Some(before) = before {
                package(&before.class, -1);
            }
            package(&standing.class, 1);
            standings.push(standing);
        }
        let sql = over!(
            self,
            "INSERT INTO standings (release, arch, package, class, run_id, version, duration_seconds, passed_run_id,
                passed_version, failing_since, runs)
             SELECT release, arch, package, class, run_id, version, duration_seconds, passed_run_id, passed_version,
                failing_since, runs",
            (release TEXT, arch TEXT, package TEXT, class TEXT, run_id TEXT, version TEXT, duration_seconds BIGINT,
                passed_run_id TEXT, passed_version TEXT, failing_since TEXT, runs BIGINT),
            "WHERE true ON CONFLICT (package, release, arch) DO UPDATE SET class = excluded.class, run_id = excluded.run_id,
                version = excluded.version, duration_seconds = excluded.duration_seconds,
                passed_run_id = excluded.passed_run_id, passed_version = excluded.passed_version,
                failing_since = excluded.failing_since, runs = excluded.runs"
        );
        self.execute(sql, args![json(&standings)?]).await.map(drop)
    }

    /// The first failure after the newest that passed.
    async fn first_failure(&mut self, standing: &Standing) -> Result<Option<String>, DbError> {
        let first: Option<(Option<String>,)> = self
            .optional(
                "SELECT min(run_id) FROM results WHERE package = $1 AND release = $2 AND arch = $3 AND run_id > $4 AND stored
                    AND NOT private AND container = 'autopkgtest-' || release AND exit_code IN (4, 6, 12, 14)",
                args![
                    &standing.package,
                    &standing.release,
                    &standing.arch,
                    standing.passed_run_id.as_deref().unwrap_or_default()
                ],
            )
            .await?;
        Ok(first.and_then(|(first,)| first))
    }

    /// Finds results that say otherwise than the one before of the same inputs.
    async fn flip(&mut self, public: &[Fresh]) -> Result<(), DbError> {
        let said: Vec<&Fresh> = public.iter().filter(|fresh| is_said(fresh.class())).collect();
        let inputs: Vec<Inputs<'_>> = said
            .iter()
            .enumerate()
            .map(|(n, fresh)| Inputs {
                n,
                container: &fresh.container,
                release: &fresh.release,
                arch: &fresh.arch,
                package: &fresh.package,
                run_id: &fresh.run_id,
                version: &fresh.version,
                triggers: &fresh.triggers,
                env: &fresh.env,
            })
            .collect();
        if inputs.is_empty() {
            return Ok(());
        }
        let sql = over!(
            self,
            "SELECT n.n, (SELECT p.run_id || ' ' || CAST(p.exit_code AS TEXT) FROM (
                SELECT container, run_id, exit_code, version, triggers, env FROM results
                WHERE package = n.package AND release = n.release AND arch = n.arch AND run_id < n.run_id AND stored
                    AND NOT private ORDER BY run_id DESC LIMIT $2) p
             WHERE p.container = n.container AND p.version = n.version AND coalesce(p.triggers, '') = n.triggers
                AND coalesce(p.env, '') = n.env AND p.exit_code IN (0, 2, 4, 6, 8, 12, 14)
             ORDER BY p.run_id DESC LIMIT 1) AS earlier",
            (n BIGINT, container TEXT, release TEXT, arch TEXT, package TEXT, run_id TEXT, version TEXT, triggers TEXT,
                env TEXT),
            ""
        );
        let earlier: Vec<(i64, Option<String>)> = self.all(sql, args![json(&inputs)?, LOOK_BACK]).await?;
        let mut flips = Vec::new();
        for (n, earlier) in &earlier {
            let fresh = usize::try_from(*n).ok().and_then(|n| said.get(n));
            let Some((fresh, (before_run_id, code))) =
                fresh.zip(earlier.as_deref().and_then(|e| e.split_once(' ')))
            else {
                continue;
            };
            let before = ExitCode(code.parse().unwrap_or(i32::MIN)).class();
            if is_good(before) != is_good(fresh.class()) {
                flips.push(Flip {
                    container: &fresh.container,
                    release: &fresh.release,
                    arch: &fresh.arch,
                    package: &fresh.package,
                    run_id: &fresh.run_id,
                    before_run_id,
                    class: fresh.class().as_str(),
                });
            }
        }
        let sql = over!(
            self,
            "INSERT INTO flips (container, release, arch, package, run_id, before_run_id, class)
             SELECT container, release, arch, package, run_id, before_run_id, class",
            (container TEXT, release TEXT, arch TEXT, package TEXT, run_id TEXT, before_run_id TEXT, class TEXT),
            "WHERE true ON CONFLICT (run_id, container, release, arch, package) DO NOTHING"
        );
        if flips.is_empty() { Ok(()) } else { self.execute(sql, args![json(&flips)?]).await.map(drop) }
    }

    /// Notes names by which people search.
    async fn name(&mut self, public: &[Fresh]) -> Result<(), DbError> {
        let mut names = BTreeSet::new();
        for fresh in public {
            let user = fresh.requester.as_deref().filter(|user| !user.is_empty());
            names.insert(Name { kind: "package", name: &fresh.package });
            names.extend(user.map(|name| Name { kind: "user", name }));
            names.extend(fresh.ppa().map(|name| Name { kind: "ppa", name }));
        }
        names.retain(|name| name.name.len() <= LONGEST_NAME);
        let sql = over!(
            self,
            "INSERT INTO names (kind, name) SELECT kind, name",
            (kind TEXT, name TEXT),
            "WHERE true ON CONFLICT (kind, name) DO NOTHING"
        );
        let names: Vec<Name<'_>> = names.into_iter().collect();
        if names.is_empty() { Ok(()) } else { self.execute(sql, args![json(&names)?]).await.map(drop) }
    }

    /// Notes which uploads set these off.
    async fn trigger(&mut self, public: &[Fresh]) -> Result<(), DbError> {
        let mut triggered = BTreeSet::new();
        for fresh in public {
            let good = |name: &&str| name.len() <= LONGEST_NAME && name.parse::<Trigger>().is_ok();
            let names = fresh.triggers.split(' ').filter(good);
            triggered.extend(names.map(|name| Triggered { name, result: fresh.id }));
        }
        if triggered.is_empty() {
            return Ok(());
        }
        let triggered: Vec<Triggered<'_>> = triggered.into_iter().collect();
        let rows = json(&triggered)?;
        let sql = over!(
            self,
            "INSERT INTO triggers (name) SELECT DISTINCT n.name",
            (name TEXT),
            "WHERE NOT EXISTS (SELECT 1 FROM triggers t WHERE t.name = n.name) ORDER BY n.name ON CONFLICT (name) DO NOTHING"
        );
        self.execute(sql, args![rows.clone()]).await?;
        let sql = over!(
            self,
            "INSERT INTO triggered (trigger, result) SELECT t.id, n.result",
            (name TEXT, result BIGINT),
            "JOIN triggers t ON t.name = n.name WHERE true ON CONFLICT (trigger, result) DO NOTHING"
        );
        self.execute(sql, args![rows]).await.map(drop)
    }

    /// Adds to the counts of hours.
    async fn count(&mut self, hours: &Hours) -> Result<(), DbError> {
        let rows: Vec<HourRow<'_>> = hours
            .iter()
            .filter(|(_, count)| **count != Count::default())
            .map(|(key, count)| HourRow {
                what: key.what,
                hour: key.hour,
                release: &key.release,
                arch: &key.arch,
                name: &key.name,
                n: count.n,
                total: count.total,
                most: count.most,
            })
            .collect();
        let sql = over!(
            self,
            "INSERT INTO hours (what, hour, release, arch, name, n, total, most)
             SELECT what, hour, release, arch, name, n, total, most",
            (what TEXT, hour BIGINT, release TEXT, arch TEXT, name TEXT, n BIGINT, total BIGINT, most BIGINT),
            "WHERE true ON CONFLICT (what, hour, release, arch, name) DO UPDATE SET n = hours.n + excluded.n,
                total = hours.total + excluded.total,
                most = CASE WHEN hours.most > excluded.most THEN hours.most ELSE excluded.most END"
        );
        if rows.is_empty() { Ok(()) } else { self.execute(sql, args![json(&rows)?]).await.map(drop) }
    }
}
