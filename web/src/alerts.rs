//! What operators have every page say at its top. It is read before a page is made, and handed to the layout beside the
//! page's own values: no page has to know of it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use jiff::Timestamp;
use proofhouse_core::db::{AlertRow, Database};

use crate::{app::App, view::When};

/// For so long they are shown as they were read.
const FRESH: Duration = Duration::from_secs(5);
/// No page waits longer for them.
const PATIENCE: Duration = Duration::from_secs(1);

/// The alerts as they were last read.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    known: Mutex<(Option<Instant>, Arc<Vec<AlertRow>>)>,
    reading: tokio::sync::Mutex<()>,
}

impl Alerts {
    /// Those that are not over. One page reads, others take what is known; where the database is away, all do.
    pub(crate) async fn all(&self, database: &Database) -> Arc<Vec<AlertRow>> {
        let (read, known) = self.known();
        if read.is_some_and(|read| read.elapsed() < FRESH) {
            return known;
        }
        let Ok(_reading) = self.reading.try_lock() else { return known };
        let rows = tokio::time::timeout(PATIENCE, database.alerts(Timestamp::now().as_microsecond())).await;
        let rows = rows.ok().and_then(Result::ok).map_or(known, Arc::new);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = (Some(Instant::now()), rows.clone());
        rows
    }

    fn known(&self) -> (Option<Instant>, Arc<Vec<AlertRow>>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An alert as a page shows it.
#[derive(Debug, Clone)]
pub(crate) struct Alert {
    pub(crate) symbol: &'static str,
    pub(crate) word: &'static str,
    pub(crate) text: String,
    pub(crate) ends: Option<When>,
}

impl Alert {
    fn new(row: &AlertRow, now: Timestamp) -> Self {
        let (symbol, word) = match row.level.as_str() {
            "error" => ("✘", "error"),
            "warning" => ("⚠", "warning"),
            _ => ("ℹ", "info"),
        };
        Self { symbol, word, text: row.text.clone(), ends: row.ends_us.map(|ends| When::micros(ends, now)) }
    }
}

tokio::task_local! {
    static SHOWN: Vec<Alert>;
}

/// What the page that is being made says at its top.
pub(crate) fn shown() -> Vec<Alert> {
    SHOWN.try_with(Clone::clone).unwrap_or_default()
}

/// Has the pages that are made by this request say it.
pub(crate) async fn tell(State(app): State<App>, request: Request, next: Next) -> Response {
    let rows = app.alerts().all(app.db()).await;
    let now = Timestamp::now();
    let shown = rows.iter().filter(|row| row.is_shown(now.as_microsecond()));
    let shown = shown.map(|row| Alert::new(row, now)).collect();
    SHOWN.scope(shown, next.run(request)).await
}
