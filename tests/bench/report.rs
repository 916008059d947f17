//! The figures with their goals, as a table and as JSON.

use serde_json::{Value, json};

use crate::numbers::median;

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// No more.
    AtMost(f64),
    /// No less.
    AtLeast(f64),
    /// No less than this share of the limit of the same run.
    Share(f64),
}

/// A figure of the table.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) goal: Goal,
    /// What it stands beside, measured in the same run, in the same unit.
    pub(crate) limit: &'static str,
}

/// A figure in one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) value: f64,
    pub(crate) limit: f64,
}

#[derive(Debug)]
struct Row {
    what: String,
    figure: &'static Figure,
    runs: Vec<Measured>,
    notes: Vec<(&'static str, Vec<f64>)>,
}

impl Row {
    fn value(&self) -> f64 {
        median(&self.runs.iter().map(|run| run.value).collect::<Vec<_>>())
    }

    fn limit(&self) -> f64 {
        median(&self.runs.iter().map(|run| run.limit).collect::<Vec<_>>())
    }

    /// By the median of the runs; a share by the median of each run's own.
    fn is_met(&self) -> bool {
        match self.figure.goal {
            Goal::AtMost(most) => self.value() <= most,
            Goal::AtLeast(least) => self.value() >= least,
            Goal::Share(share) => {
                median(&self.runs.iter().map(|run| run.value / run.limit).collect::<Vec<_>>()) >= share
            }
        }
    }

    fn verdict(&self) -> &'static str {
        if self.is_met() { "MET" } else { "MISSED" }
    }

    fn goal(&self) -> String {
        match self.figure.goal {
            Goal::AtMost(most) => format!("<= {most} {}", self.figure.unit),
            Goal::AtLeast(least) => format!(">= {least} {}", self.figure.unit),
            Goal::Share(share) => format!(">= {share} x limit"),
        }
    }
}

/// All figures of all runs.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a figure of this run, and what else is worth knowing of it, each note in a unit of its own.
    pub(crate) fn add(
        &mut self,
        figure: &'static Figure,
        value: f64,
        limit: f64,
        notes: &[(&'static str, f64)],
    ) {
        self.add_as(figure.what.to_owned(), figure, value, limit, notes);
    }

    /// The same of one thing of several.
    pub(crate) fn add_of(
        &mut self,
        of: &str,
        figure: &'static Figure,
        value: f64,
        limit: f64,
        notes: &[(&'static str, f64)],
    ) {
        self.add_as(format!("{of}: {}", figure.what), figure, value, limit, notes);
    }

    fn add_as(
        &mut self,
        what: String,
        figure: &'static Figure,
        value: f64,
        limit: f64,
        notes: &[(&'static str, f64)],
    ) {
        println!("  {what:<78} {value:>10.2} {}   (limit {limit:.2}) {notes:?}", figure.unit);
        let at = self.rows.iter().position(|row| row.what == what).unwrap_or_else(|| {
            self.rows.push(Row { what, figure, runs: Vec::new(), notes: Vec::new() });
            self.rows.len() - 1
        });
        let row = &mut self.rows[at];
        row.runs.push(Measured { value, limit });
        for (name, value) in notes {
            match row.notes.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => values.push(*value),
                None => row.notes.push((name, vec![*value])),
            }
        }
    }

    /// The table; where it was not all done, nothing is said of the goals.
    pub(crate) fn print(&self, full: bool) {
        println!(
            "\n{:<78} {:>16} {:>16}  {:<7} limit of the same run",
            "median of the runs", "value", "goal", ""
        );
        for row in &self.rows {
            let (what, Figure { unit, limit, .. }) = (&row.what, row.figure);
            let verdict = if full { row.verdict() } else { "short" };
            let value = format!("{:.2} {unit}", row.value());
            println!(
                "{what:<78} {value:>16} {:>16}  {verdict:<7} {limit}: {:.2} {unit}",
                row.goal(),
                row.limit()
            );
        }
    }

    /// The same with each run's values.
    pub(crate) fn json(&self, full: bool) -> Value {
        let figures: Vec<Value> = self.rows.iter().map(|row| figure_json(row, full)).collect();
        json!({"full": full, "figures": figures})
    }
}

fn figure_json(row: &Row, full: bool) -> Value {
    let (what, Figure { unit, limit, .. }) = (&row.what, row.figure);
    let of = |pick: fn(&Measured) -> f64| row.runs.iter().map(pick).collect::<Vec<_>>();
    let notes: serde_json::Map<String, Value> =
        row.notes.iter().map(|(name, values)| ((*name).to_owned(), json!(values))).collect();
    json!({
        "figure": what, "unit": unit, "goal": row.goal(), "median": row.value(), "runs": of(|run| run.value),
        "limit": {"what": limit, "median": row.limit(), "runs": of(|run| run.limit)},
        "verdict": full.then(|| row.verdict()), "notes": notes,
    })
}
