//! Three simulated days before the dispatcher's own queue: who waits how long, and how good the estimates are.
//!
//! `make simulate`, or `cargo run --release -p proofhouse-dispatcher --example simulate [FOLDER]`: prints tables, and
//! writes the plots of docs/explanation/scheduling.md into the folder.

mod arrivals;
mod plots;
mod world;

use std::{collections::BTreeMap, error::Error, path::PathBuf};

use crate::{
    arrivals::{ARCHES, Arch, HOUR, Mode, Who, arrivals},
    world::{Outcome, run},
};

const SEED: u64 = 20_261_121;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let mut outcomes = Vec::new();
    println!(
        "{:8} {:24} {:8} {:>7} {:>9} {:>9} {:>9}",
        "arch", "order", "who", "jobs", "median", "p95", "longest"
    );
    for arch in &ARCHES {
        let requests = arrivals(arch, SEED);
        for mode in Mode::ALL {
            let outcome = run(arch, &requests, mode);
            print_waits(arch, mode, &outcome);
            outcomes.push((arch.name, mode, outcome));
        }
    }
    print_triggers(&outcomes);
    print_estimates(&outcomes);
    if let Some(folder) = folder {
        plots::write(&folder, &outcomes)?;
    }
    Ok(())
}

/// The value below which such a part lies.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = (part * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(index).copied().unwrap_or(0.0)
}

pub(crate) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// `0 s`, `12 min`, `3.4 h`.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / HOUR),
    }
}

fn print_waits(arch: &Arch, mode: Mode, outcome: &Outcome) {
    for who in Who::ALL {
        let waits = sorted(outcome.waits.iter().filter(|wait| wait.0 == who).map(|wait| wait.3));
        let [median, p95, most] = [0.5, 0.95, 1.0].map(|part| time(quantile(&waits, part)));
        let (arch, mode, who) = (arch.name, mode.name(), who.name());
        println!("{arch:8} {mode:24} {who:8} {:7} {median:>9} {p95:>9} {most:>9}", waits.len());
    }
}

/// How long gates wait until the last test of an upload has started.
fn print_triggers(outcomes: &[(&str, Mode, Outcome)]) {
    println!("\n{:8} {:24} {:12} {:>7} {:>9} {:>9}", "arch", "order", "tests", "uploads", "median", "p95");
    for (arch, mode, outcome) in outcomes {
        let mut triggers: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
        for (_, key, _, waited) in outcome.waits.iter().filter(|wait| wait.0 == Who::Gates) {
            let of = triggers.entry(key).or_default();
            *of = (of.0 + 1, of.1.max(*waited));
        }
        for (name, least, most) in [("1 to 9", 1, 9), ("10 to 99", 10, 99), ("100 or more", 100, usize::MAX)]
        {
            let of_size = triggers.values().filter(|(tests, _)| (least..=most).contains(tests));
            let waits = sorted(of_size.map(|(_, waited)| *waited));
            let [median, p95] = [0.5, 0.95].map(|part| time(quantile(&waits, part)));
            println!("{arch:8} {:24} {name:12} {:7} {median:>9} {p95:>9}", mode.name(), waits.len());
        }
    }
}

/// Said against what came, where either is a minute or more.
fn print_estimates(outcomes: &[(&str, Mode, Outcome)]) {
    println!("\n{:8} {:24} {:>7} {:>14} {:>14}", "arch", "order", "asked", "median error", "p90 error");
    for (arch, mode, outcome) in outcomes {
        let told = outcome.estimates.iter().filter(|(said, took)| said.max(*took) >= 60.0);
        let errors = sorted(told.map(|(said, took)| (said - took).abs() / said.max(*took)));
        let [median, p90] = [0.5, 0.9].map(|part| format!("{:.0} %", quantile(&errors, part) * 100.0));
        println!("{arch:8} {:24} {:7} {median:>14} {p90:>14}", mode.name(), errors.len());
    }
}
