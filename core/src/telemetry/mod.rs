//! What a process tells about itself: log lines on stderr, and [`metrics`].

pub mod metrics;

use std::{
    io::{self, IsTerminal as _},
    panic::PanicHookInfo,
};

use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The environment variable that filters log lines, as in `info,proofhouse_core::bus=debug`.
pub const FILTER_VARIABLE: &str = "PROOFHOUSE_LOG";

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("{FILTER_VARIABLE} is no filter like info or info,proofhouse_core::bus=debug")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// It was set up before.
    #[error("logs are set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// [`init_at`] with the level of a role: `info`, without what lapin reports as errors although it is expected, such as an
/// exchange that is looked for and not there yet; the bus tells what matters of it.
///
/// # Errors
/// The filter does not parse, or this was called before.
pub fn init() -> Result<(), TelemetryError> {
    init_at("info,lapin=off")
}

/// Sets up log lines on stderr: text on a terminal, JSON elsewhere. A panic becomes a log line too. `level` is the filter
/// where the environment gives none.
///
/// # Errors
/// The filter does not parse, or this was called before.
pub fn init_at(level: &str) -> Result<(), TelemetryError> {
    let filter = std::env::var(FILTER_VARIABLE).ok().filter(|f| !f.is_empty());
    let filter = filter.as_deref().unwrap_or(level).parse::<EnvFilter>().map_err(TelemetryError::Filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = if io::stderr().is_terminal() {
        lines.with_ansi(std::env::var_os("NO_COLOR").is_none()).with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    // The message stays away: it may hold whatever a test or a client sent.
    tracing::error!(panic.place = place, "panic at {place}: a fault of the program");
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
