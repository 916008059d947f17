//! Lists of packages by how they fare: each is read from the place behind which it goes on, release by release and architecture
//! by architecture, so that none costs more than what it shows.

use sqlx::FromRow;

use super::{
    Database, DbError, Standing,
    connection::{Value, args},
    summary::json,
};
use crate::names::{Package, Pair};

/// Which standings are listed, and by what they are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandingList {
    /// Those that fail, by the first failure since they passed.
    Failing {
        /// True: only those that passed before; false: only those that never did.
        has_passed: Option<bool>,
    },
    /// All, by the length of the newest result.
    Slow,
    /// All, by when they were last run.
    Stale,
}

/// Where a standing is in its list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A run id.
    Run(String),
    /// A length in seconds.
    Seconds(i64),
}

impl From<Rank> for Value {
    fn from(rank: Rank) -> Self {
        match rank {
            Rank::Run(run_id) => run_id.into(),
            Rank::Seconds(seconds) => seconds.into(),
        }
    }
}

/// The place of a standing in its list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StandingKey {
    /// By what the list is sorted.
    pub rank: Rank,
    /// Among those of the same rank: the package,
    pub package: String,
    /// the release,
    pub release: String,
    /// and the architecture.
    pub arch: String,
}

/// Behind every name.
const LAST: &str = "\u{10ffff}";

impl StandingList {
    /// Where a standing is in this list.
    pub fn key(self, standing: &Standing) -> StandingKey {
        let rank = match self {
            Self::Failing { .. } => Rank::Run(standing.failing_since.clone().unwrap_or_default()),
            Self::Slow => Rank::Seconds(standing.duration_seconds),
            Self::Stale => Rank::Run(standing.run_id.clone()),
        };
        StandingKey {
            rank,
            package: standing.package.clone(),
            release: standing.release.clone(),
            arch: standing.arch.clone(),
        }
    }

    /// Whether a standing is in this list.
    const fn has(self, standing: &Standing) -> bool {
        match self {
            Self::Failing { has_passed: None } => standing.failing_since.is_some(),
            Self::Failing { has_passed: Some(has_passed) } => {
                standing.failing_since.is_some() && standing.passed_run_id.is_some() == has_passed
            }
            Self::Slow | Self::Stale => true,
        }
    }

    /// Before all others.
    fn begin(self, ascending: bool) -> StandingKey {
        let name = if ascending { "" } else { LAST }.to_owned();
        let rank = match (self, ascending) {
            (Self::Slow, true) => Rank::Seconds(i64::MIN),
            (Self::Slow, false) => Rank::Seconds(i64::MAX),
            (Self::Failing { .. } | Self::Stale, _) => Rank::Run(name.clone()),
        };
        StandingKey { rank, package: name.clone(), release: name.clone(), arch: name }
    }
}

/// Which standings.
#[derive(Debug, Clone)]
pub struct StandingsFilter {
    /// Of which list.
    pub list: StandingList,
    /// Of which releases and architectures.
    pub pairs: Vec<Pair>,
    /// Only this package's.
    pub package: Option<Package>,
    /// From the smallest rank on.
    pub ascending: bool,
    /// Behind this one.
    pub after: Option<StandingKey>,
    /// At most so many.
    pub limit: i64,
}

/// Which packages whose results differ for the same inputs.
#[derive(Debug, Clone, Default)]
pub struct FlakyFilter {
    /// Only this release.
    pub release: Option<String>,
    /// Only this architecture.
    pub arch: Option<String>,
    /// Only this package.
    pub package: Option<String>,
    /// Results since this run id.
    pub from: String,
    /// Those of which the last is the newest first, and not those of which there are most.
    pub newest_first: bool,
    /// Behind this one.
    pub after: Option<FlakyKey>,
    /// At most so many.
    pub limit: i64,
}

/// The place of a package in that list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlakyKey {
    /// How often.
    pub flips: i64,
    /// The last time.
    pub last_run_id: String,
    /// The package.
    pub package: String,
    /// The release.
    pub release: String,
    /// The architecture.
    pub arch: String,
}

/// A package whose results differ for the same inputs.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct FlakyRow {
    /// The package.
    pub package: String,
    /// The release.
    pub release: String,
    /// The architecture.
    pub arch: String,
    /// How often.
    pub flips: i64,
    /// The last time.
    pub last_run_id: String,
}

macro_rules! standing_columns {
    () => {
        "release, arch, package, class, run_id, version, duration_seconds, passed_run_id, passed_version, failing_since, runs"
    };
}

/// The standings of a release and architecture behind a place. The first comparison is one that an index serves.
macro_rules! of_pair {
    ($pair:literal, $and:literal, $rank:literal, $from:literal, $behind:literal, $order:literal) => {
        concat!(
            "SELECT ",
            standing_columns!(),
            " FROM standings WHERE ",
            $pair,
            $and,
            " AND (",
            $rank,
            ", package) ",
            $from,
            " ($2, $3) AND (",
            $rank,
            ", package, release, arch) ",
            $behind,
            " ($2, $3, $4, $5) ORDER BY ",
            $rank,
            $order,
            ", package",
            $order,
            " LIMIT $6"
        )
    };
}

/// The same for each database: of all the pairs in the JSON text `$1`, or of the pair `$1`, `$8`.
macro_rules! listed {
    ($is_sqlite:expr, $and:literal, $rank:literal, $from:literal, $behind:literal, $order:literal) => {
        if $is_sqlite {
            of_pair!("release = $1 AND arch = $8", $and, $rank, $from, $behind, $order)
        } else {
            concat!(
                "SELECT s.* FROM json_to_recordset($1::json) AS n (release TEXT, arch TEXT) CROSS JOIN LATERAL (",
                of_pair!(
                    "standings.release = n.release AND standings.arch = n.arch",
                    $and,
                    $rank,
                    $from,
                    $behind,
                    $order
                ),
                ") s ORDER BY ",
                $rank,
                $order,
                ", package",
                $order,
                ", release",
                $order,
                ", arch",
                $order,
                " LIMIT $6"
            )
        }
    };
}

/// The same in both directions.
macro_rules! sorted {
    ($is_sqlite:expr, $ascending:expr, $and:literal, $rank:literal) => {
        if $ascending {
            listed!($is_sqlite, $and, $rank, ">=", ">", "")
        } else {
            listed!($is_sqlite, $and, $rank, "<=", "<", " DESC")
        }
    };
}

macro_rules! flaky {
    ($key:literal, $place:literal, $order:literal) => {
        concat!(
            "SELECT * FROM (SELECT package, release, arch, count(*) AS flips, max(run_id) AS last_run_id FROM flips
                WHERE run_id >= $1 AND ($2 IS NULL OR release = $2) AND ($3 IS NULL OR arch = $3)
                    AND ($10 IS NULL OR package = $10)
                GROUP BY package, release, arch) all_of_them
             WHERE $4 IS NULL OR ",
            $key,
            " < ",
            $place,
            " ORDER BY ",
            $order,
            " LIMIT $9"
        )
    };
}

/// The first of them, in the order of their list.
fn merged(list: StandingList, mut all: Vec<Standing>, ascending: bool, limit: i64) -> Vec<Standing> {
    all.sort_by_cached_key(|standing| list.key(standing));
    if !ascending {
        all.reverse();
    }
    all.truncate(usize::try_from(limit).unwrap_or_default());
    all
}

impl Database {
    /// How a package fares, by release and arch.
    pub async fn standings_of(&self, package: &Package) -> Result<Vec<Standing>, DbError> {
        self.all(
            concat!(
                "SELECT ",
                standing_columns!(),
                " FROM standings WHERE package = $1 ORDER BY release, arch"
            ),
            args![package.as_str()],
        )
        .await
    }

    /// The standings of a list.
    pub async fn standings(&self, filter: &StandingsFilter) -> Result<Vec<Standing>, DbError> {
        let StandingsFilter { list, pairs, package, ascending, after, limit } = filter;
        let after = after.clone().unwrap_or_else(|| list.begin(*ascending));
        if let Some(package) = package {
            let mut all = self.standings_of(package).await?;
            all.retain(|standing| {
                let key = list.key(standing);
                let is_behind = if *ascending { key > after } else { key < after };
                let of = |pair: &Pair| {
                    (pair.release.as_str(), pair.arch.as_str()) == (&standing.release, &standing.arch)
                };
                is_behind && list.has(standing) && pairs.iter().any(of)
            });
            return Ok(merged(*list, all, *ascending, *limit));
        }
        let StandingKey { rank, package, release, arch } = after;
        let sqlite = self.is_sqlite();
        let sql = match list {
            StandingList::Failing { .. } => sorted!(
                sqlite,
                *ascending,
                " AND failing_since IS NOT NULL
                  AND ($7 = 2 OR $7 = CASE WHEN passed_run_id IS NULL THEN 0 ELSE 1 END)",
                "failing_since"
            ),
            StandingList::Slow => sorted!(sqlite, *ascending, "", "duration_seconds"),
            StandingList::Stale => sorted!(sqlite, *ascending, "", "run_id"),
        };
        let has_passed = match list {
            StandingList::Failing { has_passed } => Some(has_passed.map_or(2, i64::from)),
            StandingList::Slow | StandingList::Stale => None,
        };
        if !sqlite {
            let mut values = args![json(pairs)?, rank, package, release, arch, *limit];
            values.extend(has_passed.map(Value::from));
            return self.all(sql, values).await;
        }
        let mut all: Vec<Standing> = Vec::new();
        for pair in pairs {
            let (key, of) = (args![rank.clone(), &package, &release, &arch], pair.arch.as_str());
            let values = args![pair.release.as_str()].into_iter().chain(key);
            let values = values.chain(args![*limit, has_passed.unwrap_or_default(), of]).collect();
            all.extend(self.all::<Standing>(sql, values).await?);
        }
        Ok(merged(*list, all, *ascending, *limit))
    }

    /// Packages whose results differed for the same inputs.
    pub async fn flaky(&self, filter: &FlakyFilter) -> Result<Vec<FlakyRow>, DbError> {
        let FlakyFilter { release, arch, package, from, newest_first, after, limit } = filter;
        let sql = if *newest_first {
            flaky!(
                "(last_run_id, flips, package, release, arch)",
                "($5, $4, $6, $7, $8)",
                "last_run_id DESC, flips DESC, package DESC, release DESC, arch DESC"
            )
        } else {
            flaky!(
                "(flips, last_run_id, package, release, arch)",
                "($4, $5, $6, $7, $8)",
                "flips DESC, last_run_id DESC, package DESC, release DESC, arch DESC"
            )
        };
        let mut values = args![from, release.clone(), arch.clone()];
        values.extend(match after.clone() {
            None => args![None::<i64>, "", "", "", ""],
            Some(FlakyKey { flips, last_run_id, package, release, arch }) => {
                args![flips, last_run_id, package, release, arch]
            }
        });
        values.extend(args![*limit, package.clone()]);
        self.all(sql, values).await
    }
}
