//! What the terminal shows while the test runs: where it stands, and the end of its log as status messages bring it.

use std::{io::IsTerminal as _, sync::Arc, time::Duration};

use anyhow::Result;
use indicatif::ProgressBar;
use proofhouse_core::{
    bus::{Bus, Consumer, Declaration, Source},
    names::Pair,
    protocol::{STATUS_EXCHANGE, Status},
};

use crate::print;

const PERIOD: Duration = Duration::from_millis(300);
/// Lines of the log that a terminal shows.
const LINES: usize = 6;
const WIDTH: usize = 100;

pub(super) struct Progress {
    line: Option<ProgressBar>,
    messages: Consumer,
    pair: Pair,
    log: Vec<String>,
    said: String,
}

impl Progress {
    /// Begins to listen.
    pub(super) async fn begin(bus: &Arc<dyn Bus>, pair: &Pair) -> Result<Self> {
        bus.declare(&[Declaration::Fanout { name: STATUS_EXCHANGE.to_owned(), durable: false }]).await?;
        let name = format!("proofhouse.demo.{}", std::process::id());
        let source = Source::Mailbox { name, exchanges: vec![STATUS_EXCHANGE.to_owned()] };
        let messages = bus.consume(source, 100).await?;
        let line = std::io::stderr().is_terminal().then(|| {
            let line = ProgressBar::new_spinner();
            line.enable_steady_tick(Duration::from_millis(120));
            line
        });
        Ok(Self { line, messages, pair: pair.clone(), log: Vec::new(), said: String::new() })
    }

    /// Shows where it stands; off a terminal only what is new.
    pub(super) fn show(&mut self, state: &str) {
        if let Some(line) = &self.line {
            line.set_message(
                std::iter::once(state)
                    .chain(self.log.iter().map(String::as_str))
                    .collect::<Vec<_>>()
                    .join("\n  "),
            );
            return;
        }
        let last = self.log.last().map(|line| format!(" | {line}")).unwrap_or_default();
        let now = format!("{state}{last}");
        if now != self.said {
            eprintln!("{now}");
            self.said = now;
        }
    }

    /// Waits a moment, and takes in what is heard meanwhile.
    pub(super) async fn pause(&mut self) {
        let heard = tokio::time::timeout(PERIOD, self.messages.next()).await;
        if let Ok(Some(delivery)) = heard {
            // Nothing depends on it: the broker drops the mailbox with this process.
            let _ = delivery.settle.ack().await;
            if let Ok(status) = serde_json::from_slice::<Status>(&delivery.body)
                && status.release == self.pair.release.as_str()
                && status.architecture == self.pair.arch.as_str()
            {
                self.log = tail(&status.logtail);
            }
        }
    }

    /// Clears the line.
    pub(super) fn end(&self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

fn tail(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].iter().map(|line| print::one_line(line, WIDTH)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_log() {
        assert_eq!(tail("a\n\nb\x1b[1m\n"), ["a", "b [1m"]);
        assert_eq!(tail(&"x\n".repeat(20)).len(), LINES);
        assert!(tail("").is_empty());
    }
}
