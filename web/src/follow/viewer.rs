//! One who looks: a log that grows, as events.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use super::{Log, buffer::Phase};
use crate::{app::App, failure::Failure};

/// After so long a browser that lost the connection tries again.
const RETRY: Duration = Duration::from_secs(2);

struct Viewer {
    log: Arc<Log>,
    changed: watch::Receiver<u64>,
    closing: CancellationToken,
    _place: OwnedSemaphorePermit,
    /// The last line that was sent.
    last: u64,
    phase: Phase,
    ready: VecDeque<Event>,
    done: bool,
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
        ready: [Event::default().retry(RETRY)].into(),
        done: false,
    };
    let all = stream::unfold(viewer, async |mut viewer| {
        let event = viewer.next().await?;
        Some((Ok::<_, Infallible>(event), viewer))
    });
    Ok(Sse::new(all).keep_alive(KeepAlive::default()).into_response())
}

impl Viewer {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.done {
                return None;
            }
            self.changed.mark_unchanged();
            self.read();
            if !self.ready.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                () = self.closing.cancelled() => return None,
            }
        }
    }

    fn read(&mut self) {
        let buffer = self.log.buffer();
        for batch in buffer.behind(self.last) {
            self.last = batch.last;
            self.ready.push_back(Event::default().id(batch.last.to_string()).data(&batch.html));
        }
        let phase = buffer.phase();
        drop(buffer);
        if phase != self.phase {
            self.phase = phase;
            self.done = phase == Phase::Over;
            self.ready.extend(said(phase, &self.log.run_path));
        }
    }
}

/// What people are told of it.
fn said(phase: Phase, run_path: &str) -> Option<Event> {
    let text = match phase {
        Phase::Unheard => return None,
        Phase::Grows => "Connected: lines are shown as they are written.",
        Phase::Silent => {
            "Nothing is heard of the worker just now. The run may go on; its log is stored at the end."
        }
        Phase::Over => "This attempt is over; its log is complete. Its evidence is stored now.",
    };
    let is_over = phase == Phase::Over;
    let state = json!({"text": text, "over": is_over, "path": is_over.then_some(run_path)});
    Some(Event::default().event("state").data(state.to_string()))
}
