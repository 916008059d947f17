//! How far it is: a bar on a terminal, else a line now and then.

use std::{
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use proofhouse_core::{index::FoundRun, layout::Container};

use super::summary::Summary;

/// Between two lines where there is no terminal.
const PERIOD: Duration = Duration::from_secs(10);

pub(super) struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
    said: Mutex<Instant>,
}

impl Progress {
    pub(super) fn begin(containers: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(containers as u64);
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} containers  {msg}");
            // A constant template; the usual bar does as well.
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, began: Instant::now(), said: Mutex::new(Instant::now()) }
    }

    fn figures(&self, summary: &Summary) -> String {
        let per_second = summary.runs / self.began.elapsed().as_secs().max(1);
        format!("{} runs, {} indexed, {per_second}/s", summary.runs, summary.indexed)
    }

    /// Everything up to this run is done with.
    pub(super) fn advanced(&self, summary: &Summary, last: Option<&FoundRun>) {
        // A private run is named nowhere.
        let place = last.and_then(|run| {
            run.shown()?;
            Some(format!("{} {}{}", run.series.container, run.series.prefix(), run.run_id))
        });
        let line = format!("{}  {}", self.figures(summary), place.as_deref().unwrap_or("(private)"));
        if let Some(bar) = &self.bar {
            return bar.set_message(line);
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.elapsed() >= PERIOD {
            *said = Instant::now();
            eprintln!("{line}");
        }
    }

    pub(super) fn container_done(&self, container: &Container, summary: &Summary) {
        if let Some(bar) = &self.bar {
            return bar.inc(1);
        }
        let name = if container.is_private() { "a private container" } else { container.as_str() };
        eprintln!("{name} is done: {} so far", self.figures(summary));
    }

    /// A trouble, without disturbing the bar.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
