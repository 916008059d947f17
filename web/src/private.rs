//! Rows that anyone may see. Pages and files are made of these types alone, so that a private run cannot slip in.

use std::ops::Deref;

use proofhouse_core::{
    db::{JobRow, ResultRow},
    layout::Series,
    names::Pair,
    run_id::RunId,
};

/// A job that anyone may see.
#[derive(Debug, Clone)]
pub(crate) struct PublicJob(JobRow);

impl PublicJob {
    /// None for a private one.
    pub(crate) fn of(row: JobRow) -> Option<Self> {
        // Both are asked: a body that names a reader is private whatever the column says.
        let private = row.private || row.request().map_or(true, |r| r.is_private());
        (!private).then_some(Self(row))
    }

    /// The public ones, and how many were not.
    pub(crate) fn split(rows: Vec<JobRow>) -> (Vec<Self>, usize) {
        let all = rows.len();
        let public: Vec<Self> = rows.into_iter().filter_map(Self::of).collect();
        let hidden = all - public.len();
        (public, hidden)
    }
}

impl Deref for PublicJob {
    type Target = JobRow;
    fn deref(&self) -> &JobRow {
        &self.0
    }
}

/// A result that anyone may see.
#[derive(Debug, Clone)]
pub(crate) struct PublicResult(ResultRow);

impl PublicResult {
    /// None for a private one.
    pub(crate) fn of(row: ResultRow) -> Option<Self> {
        (!row.private && !row.container.starts_with("private-")).then_some(Self(row))
    }

    /// The public ones.
    pub(crate) fn all(rows: Vec<ResultRow>) -> Vec<Self> {
        rows.into_iter().filter_map(Self::of).collect()
    }

    /// Where it lies in the store. None where a name is none: old systems may have written anything.
    pub(crate) fn place(&self) -> Option<(Series, RunId)> {
        let series = Series {
            container: self.container.parse().ok()?,
            pair: Pair { release: self.release.parse().ok()?, arch: self.arch.parse().ok()? },
            package: self.package.parse().ok()?,
        };
        Some((series, self.run_id.parse().ok()?))
    }
}

impl Deref for PublicResult {
    type Target = ResultRow;
    fn deref(&self) -> &ResultRow {
        &self.0
    }
}
