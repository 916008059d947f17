//! How far it is: on a terminal a bar over all containers and a line for the one that is read, else a line now and then.

use std::{
    io::IsTerminal as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use proofhouse_core::{index::FoundRun, layout::Container};

use super::summary::Summary;

/// Between two lines where there is no terminal.
const PERIOD: Duration = Duration::from_secs(10);

pub(super) struct Progress {
    bars: Option<Bars>,
    began: Instant,
    containers: usize,
    current: Mutex<Current>,
}

/// What a terminal shows.
struct Bars {
    both: MultiProgress,
    all: ProgressBar,
    current: ProgressBar,
}

/// The container that is read.
struct Current {
    name: String,
    /// The sums when it began.
    runs: u64,
    indexed: u64,
    said: Instant,
}

impl Current {
    fn figures(&self, summary: &Summary) -> String {
        let (runs, indexed) = (summary.runs - self.runs, summary.indexed - self.indexed);
        format!("{}: {runs} runs, {indexed} indexed", self.name)
    }
}

impl Bars {
    fn show(containers: usize) -> Self {
        let both = MultiProgress::new();
        let bar = |length, template| {
            // Constant templates; the usual bar does as well.
            let style = ProgressStyle::with_template(template);
            let bar =
                ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            let bar = both.add(bar);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        };
        let current = bar(0, "{spinner} {wide_msg}");
        let all = bar(containers as u64, "{bar:30} {pos}/{len} containers  {wide_msg}");
        Self { both, all, current }
    }
}

impl Progress {
    pub(super) fn begin(containers: usize) -> Self {
        let bars = std::io::stderr().is_terminal().then(|| Bars::show(containers));
        let now = Instant::now();
        let current = Mutex::new(Current { name: String::new(), runs: 0, indexed: 0, said: now });
        Self { bars, began: now, containers, current }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The running total.
    fn total(&self, summary: &Summary) -> String {
        let per_second = summary.runs / self.began.elapsed().as_secs().max(1);
        format!("{} runs in all, {} indexed, {per_second}/s", summary.runs, summary.indexed)
    }

    pub(super) fn container_begins(&self, container: &Container, summary: &Summary) {
        // A private one is named nowhere.
        let name = if container.is_private() { "a private container" } else { container.as_str() };
        let mut current = self.current();
        name.clone_into(&mut current.name);
        (current.runs, current.indexed) = (summary.runs, summary.indexed);
        if let Some(bars) = &self.bars {
            bars.current.set_message(name.to_owned());
        }
    }

    /// Everything up to this run is done with.
    pub(super) fn advanced(&self, summary: &Summary, last: Option<&FoundRun>) {
        let place = last.and_then(|run| {
            run.shown()?;
            Some(format!(", at {}{}", run.series.prefix(), run.run_id))
        });
        let mut current = self.current();
        let line = format!("{}{}", current.figures(summary), place.unwrap_or_default());
        if let Some(bars) = &self.bars {
            bars.current.set_message(line);
            return bars.all.set_message(self.total(summary));
        }
        if current.said.elapsed() >= PERIOD {
            current.said = Instant::now();
            eprintln!("{line}; {}", self.total(summary));
        }
    }

    pub(super) fn container_done(&self, summary: &Summary) {
        let line = format!("✔ {}", self.current().figures(summary));
        match &self.bars {
            Some(bars) => {
                self.say(&line);
                bars.all.inc(1);
            }
            None => eprintln!(
                "{line} ({} of {} containers; {})",
                summary.containers,
                self.containers,
                self.total(summary)
            ),
        }
    }

    /// A line that stays, without disturbing the bars.
    pub(super) fn say(&self, text: &str) {
        match &self.bars {
            // A terminal that is gone shows nothing.
            Some(bars) => drop(bars.both.println(text)),
            None => eprintln!("{text}"),
        }
    }

    pub(super) fn end(&self) {
        if let Some(bars) = &self.bars {
            bars.current.finish_and_clear();
            bars.all.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_container_has_figures_of_its_own_beside_the_total() {
        let progress = Progress::begin(2);
        let mut summary = Summary { runs: 5, indexed: 2, ..Summary::default() };
        progress.container_begins(&"autopkgtest-noble".parse().unwrap(), &summary);
        (summary.runs, summary.indexed) = (12, 6);
        assert_eq!(progress.current().figures(&summary), "autopkgtest-noble: 7 runs, 4 indexed");
        assert_eq!(progress.total(&summary), "12 runs in all, 6 indexed, 12/s");
        progress.container_begins(&"private-autopkgtest-hush".parse().unwrap(), &summary);
        assert_eq!(progress.current().figures(&summary), "a private container: 0 runs, 0 indexed");
    }
}
