//! Numbers over time: what a picture is drawn from, and what its table and its JSON hold.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proofhouse_core::db::StepRow;
use serde::Serialize;
use utoipa::ToSchema;

/// So many lines can be told apart; the rest is put together as one.
const MOST: usize = 10;
/// What is put together.
const OTHERS: &str = "others";

/// What the numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    /// So many.
    Count,
    /// A length of time.
    Seconds,
}

/// Numbers over time.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Picture {
    /// What they are.
    pub(crate) unit: Unit,
    /// When the first stretch of time begins.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) from: Timestamp,
    /// How long each stretch is.
    pub(crate) step_seconds: i64,
    /// One line each.
    pub(crate) series: Vec<Series>,
}

/// A line of a picture.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Series {
    /// An architecture, class, pool or fault.
    pub(crate) name: String,
    /// One number for each stretch of time, rounded to a hundredth; null where nothing is known.
    pub(crate) values: Vec<Option<f64>>,
}

/// Stretches of time, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) from_us: i64,
    pub(crate) step_us: i64,
    pub(crate) steps: usize,
}

impl Axis {
    /// Those that end with the one in which `now_us` is.
    pub(crate) fn until(now_us: i64, step_us: i64, steps: usize) -> Self {
        let last = now_us - now_us.rem_euclid(step_us);
        let before = i64::try_from(steps.saturating_sub(1)).unwrap_or(i64::MAX);
        Self { from_us: last.saturating_sub(step_us.saturating_mul(before)), step_us, steps }
    }

    fn place(&self, step_us: i64) -> Option<usize> {
        let place = usize::try_from((step_us - self.from_us).checked_div(self.step_us)?).ok()?;
        (step_us >= self.from_us && place < self.steps).then_some(place)
    }
}

/// How many, and the sum of what was measured.
type Cell = (i64, i64);

/// Counts by name and stretch of time.
#[derive(Debug, Default)]
pub(crate) struct Sums(BTreeMap<String, Vec<Cell>>);

impl Sums {
    /// Of rows as the database gives them. What has the smallest numbers is put together where there are too many names.
    pub(crate) fn of(rows: &[StepRow], axis: Axis) -> Self {
        let mut all = BTreeMap::<String, Vec<Cell>>::new();
        for row in rows {
            let Some(place) = axis.place(row.step) else { continue };
            let cell = &mut all.entry(row.name.clone()).or_insert_with(|| vec![(0, 0); axis.steps])[place];
            *cell = (cell.0 + row.n, cell.1 + row.total);
        }
        let mut sizes: Vec<(i64, String)> = all
            .iter()
            .map(|(name, cells)| (cells.iter().map(|(n, total)| n + total).sum(), name.clone()))
            .collect();
        if sizes.len() > MOST {
            sizes.sort_unstable_by(|one, other| other.cmp(one));
            let mut others = vec![(0, 0); axis.steps];
            for (_, name) in sizes.split_off(MOST - 1) {
                for (sum, cell) in others.iter_mut().zip(all.remove(&name).unwrap_or_default()) {
                    *sum = (sum.0 + cell.0, sum.1 + cell.1);
                }
            }
            all.insert(OTHERS.to_owned(), others);
        }
        Self(all)
    }

    fn picture(self, unit: Unit, axis: Axis, value: impl Fn(usize, Cell) -> Option<f64>) -> Picture {
        let series = self.0.into_iter().map(|(name, cells)| {
            let values = cells.into_iter().enumerate().map(|(place, cell)| value(place, cell).map(rounded));
            Series { name, values: values.collect() }
        });
        Picture {
            unit,
            from: Timestamp::from_microsecond(axis.from_us).unwrap_or_default(),
            step_seconds: axis.step_us / 1_000_000,
            series: series.collect(),
        }
    }

    /// How many there were.
    pub(crate) fn counts(self, axis: Axis) -> Picture {
        self.picture(Unit::Count, axis, |_, (n, _)| Some(float(n)))
    }

    /// The mean of what was measured, where something was.
    pub(crate) fn means(self, unit: Unit, axis: Axis) -> Picture {
        self.picture(unit, axis, |_, (n, total)| (n > 0).then(|| float(total) / float(n)))
    }

    /// The mean of what was counted by samples: so many were taken, and those that found nothing left no trace.
    pub(crate) fn over(self, samples: &Self, axis: Axis) -> Picture {
        let taken = samples.0.get("").cloned().unwrap_or_default();
        self.picture(Unit::Count, axis, |place, (_, total)| {
            let taken = taken.get(place).map_or(0, |cell| cell.0);
            (taken > 0).then(|| float(total) / float(taken))
        })
    }
}

impl Picture {
    /// True where there is nothing to draw.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.iter().all(|one| one.values.iter().all(|value| value.is_none_or(|value| value == 0.0)))
    }

    /// How many stretches of time there are.
    pub(crate) fn steps(&self) -> usize {
        self.series.iter().map(|one| one.values.len()).max().unwrap_or_default()
    }

    /// When a stretch of time begins, in seconds since 1970.
    pub(crate) fn second(&self, step: usize) -> i64 {
        self.from.as_second() + self.step_seconds * i64::try_from(step).unwrap_or_default()
    }

    /// These lines alone, in this order.
    pub(crate) fn sorted(mut self, names: &[&str]) -> Self {
        let rank = |one: &Series| names.iter().position(|name| *name == one.name).unwrap_or(names.len());
        self.series.sort_by_key(rank);
        self
    }
}

/// Counts stay far below what a float holds exactly.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
pub(crate) const fn float(n: i64) -> f64 {
    n as f64
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXIS: Axis = Axis { from_us: 0, step_us: 10, steps: 3 };

    fn row(step: i64, name: &str, n: i64, total: i64) -> StepRow {
        StepRow { step, name: name.to_owned(), n, total, most: total }
    }

    #[test]
    fn the_last_step_is_the_one_that_is_not_over() {
        let axis = Axis::until(35, 10, 3);
        assert_eq!((axis.from_us, axis.place(30), axis.place(40), axis.place(0)), (10, Some(2), None, None));
    }

    #[test]
    fn means_of_what_was_measured_and_of_samples() {
        let rows = [row(0, "a", 2, 5), row(20, "a", 1, 1), row(30, "a", 9, 9)];
        let values = |picture: Picture| picture.series[0].values.clone();
        assert_eq!(values(Sums::of(&rows, AXIS).means(Unit::Seconds, AXIS)), [Some(2.5), None, Some(1.0)]);
        assert_eq!(values(Sums::of(&rows, AXIS).counts(AXIS)), [Some(2.0), Some(0.0), Some(1.0)]);
        let samples = Sums::of(&[row(0, "", 60, 0), row(10, "", 60, 0)], AXIS);
        assert_eq!(values(Sums::of(&rows, AXIS).over(&samples, AXIS)), [Some(0.08), Some(0.0), None]);
    }

    #[test]
    fn too_many_are_put_together() {
        let rows: Vec<_> = (0..25).map(|n| row(0, &format!("n{n:02}"), n, 0)).collect();
        let picture = Sums::of(&rows, AXIS).counts(AXIS);
        assert_eq!(picture.series.len(), MOST);
        let all: f64 = picture.series.iter().filter_map(|one| one.values[0]).sum();
        assert!((all - 300.0).abs() < 1e-9);
        assert!(picture.series.iter().any(|one| one.name == OTHERS) && !picture.is_empty());
    }
}
