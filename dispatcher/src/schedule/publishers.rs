//! Which series are closed to other publications, and by whom.

use std::collections::BTreeMap;

use proofhouse_core::{layout::Series, protocol::AttemptId};

/// Who keeps a series closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Publisher {
    /// An attempt that is being uploaded.
    Attempt(AttemptId),
    /// A job whose result is recorded and on its way to the store.
    Job(i64),
}

/// Series and who keeps them closed, each findable by the other: very many can be on their way to the store.
#[derive(Debug, Clone, Default)]
pub(super) struct Publishers {
    by_series: BTreeMap<Series, Publisher>,
    series_of: BTreeMap<Publisher, Series>,
}

impl Publishers {
    /// Who keeps something closed; jobs come behind attempts.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = Publisher> {
        self.series_of.keys().copied()
    }

    /// The jobs among them.
    #[cfg(test)]
    pub(super) fn jobs(&self) -> impl Iterator<Item = i64> {
        self.all().filter_map(|one| match one {
            Publisher::Job(job) => Some(job),
            Publisher::Attempt(_) => None,
        })
    }

    /// Who keeps it closed.
    pub(super) fn of(&self, series: &Series) -> Option<Publisher> {
        self.by_series.get(series).copied()
    }

    /// Closes a series for this one, and no other.
    pub(super) fn close(&mut self, series: Series, publisher: Publisher) {
        self.open(publisher);
        if let Some(other) = self.by_series.insert(series.clone(), publisher) {
            self.series_of.remove(&other);
        }
        self.series_of.insert(publisher, series);
    }

    /// Opens what this one keeps closed.
    pub(super) fn open(&mut self, publisher: Publisher) {
        if let Some(series) = self.series_of.remove(&publisher) {
            self.by_series.remove(&series);
        }
    }

    /// What one keeps closed is the other's from now on.
    pub(super) fn pass_on(&mut self, from: Publisher, to: Publisher) {
        if let Some(series) = self.series_of.get(&from).cloned() {
            self.close(series, to);
        }
    }

    /// Those jobs that the table knows of keep theirs closed, and no other jobs do.
    pub(super) fn set_jobs(&mut self, storing: Vec<(i64, Series)>) {
        // Jobs come behind attempts.
        for series in self.series_of.split_off(&Publisher::Job(i64::MIN)).into_values() {
            self.by_series.remove(&series);
        }
        for (job, series) in storing {
            self.close(series, Publisher::Job(job));
        }
    }
}
