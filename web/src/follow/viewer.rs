//! One who looks: a log that grows, as events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use super::{Log, buffer::Phase};
use crate::{app::App, failure::Failure};

/// After so long a browser that lost the connection tries again.
const RETRY: Duration = Duration::from_secs(2);
/// Of one whose worker died nothing may be stored: the run's page knows.
const OVER: &str =
    "This attempt is over; no more lines come. The page of the run leads to what is stored of it.";

struct Viewer {
    log: Arc<Log>,
    changed: watch::Receiver<u64>,
    closing: CancellationToken,
    _place: OwnedSemaphorePermit,
    /// The last line that was sent.
    last: u64,
    phase: Phase,
}

/// What comes behind a line, as it comes.
pub(crate) fn events(app: &App, log: Arc<Log>, last: u64) -> Result<Response, Failure> {
    let place = app.follows().viewers.clone().try_acquire_owned().map_err(|_| Failure::busy())?;
    let viewer = Viewer {
        changed: log.changed.subscribe(),
        log,
        closing: app.follows().closing.clone(),
        _place: place,
        last,
        phase: Phase::Unheard,
    };
    let first = stream::iter([Ok::<_, Infallible>(Event::default().retry(RETRY))]);
    let rest = stream::unfold(viewer, async |mut viewer| {
        let event = viewer.next().await?;
        Some((Ok::<_, Infallible>(event), viewer))
    });
    Ok(Sse::new(first.chain(rest)).keep_alive(KeepAlive::default()).into_response())
}

/// What is said to who had an attempt of which no more comes: a browser asks until it is told.
pub(crate) fn over(run_path: &str, another_runs: bool) -> Response {
    let event = if another_runs {
        state("This attempt is over, and another one runs.", Some(&format!("{run_path}/log")))
    } else {
        state(OVER, Some(run_path))
    };
    Sse::new(stream::iter([Ok::<_, Infallible>(event)])).into_response()
}

impl Viewer {
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.changed.mark_unchanged();
            if let Some(event) = self.ready() {
                return Some(event);
            }
            if self.phase == Phase::Over {
                return None;
            }
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                () = self.closing.cancelled() => return None,
            }
        }
    }

    /// What can be sent now. Nothing is laid by for a viewer: one that is slow misses lines, and costs no more than others.
    fn ready(&mut self) -> Option<Event> {
        let buffer = self.log.buffer();
        let (batch, phase) = (buffer.first_behind(self.last), buffer.phase());
        drop(buffer);
        if let Some(batch) = batch {
            self.last = batch.last;
            let id = format!("{}:{}", self.log.id.attempt, batch.last);
            return Some(Event::default().id(id).data(&batch.html));
        }
        if phase == self.phase {
            return None;
        }
        self.phase = phase;
        said(phase, &self.log.run_path)
    }
}

/// What people are told of it.
fn said(phase: Phase, run_path: &str) -> Option<Event> {
    match phase {
        Phase::Unheard => None,
        Phase::Grows => Some(state("Connected: lines are shown as they are written.", None)),
        Phase::Silent => Some(state(
            "Nothing is heard of the worker just now. The run may go on; its log is stored at the end.",
            None,
        )),
        Phase::Over => Some(state(OVER, Some(run_path))),
    }
}

/// How it stands; once it is over, with where to go on.
fn state(text: &str, over: Option<&str>) -> Event {
    let state = json!({"text": text, "over": over.is_some(), "path": over});
    Event::default().event("state").data(state.to_string())
}
