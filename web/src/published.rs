//! `/static/autopkgtest.db` and its digest: the pair that the store's pointer names, and the one before it while a client
//! may still need it. When which is shown, and why webs agree on it: [`proofhouse_core::published`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::{Timestamp, fmt::rfc2822};
use proofhouse_core::{
    layout::Container,
    published::{CACHE, MAX_POINTER, POINTER, Pair, Pointer, Shown, Wanted},
    store::StoreError,
};
use tokio::sync::Mutex;

use crate::{app::App, failure::Failure, results::object};

/// A clock that takes longer to be read is not known well.
const CLOCK_WITHIN: Duration = Duration::from_secs(1);

/// What this process knows of the published database. One reads the pointer while the others wait for it.
#[derive(Debug, Default)]
pub(crate) struct Published(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    pointer: Option<Arc<Pointer>>,
    /// When reading the pointer began; none: it was never read.
    read: Option<Instant>,
    /// By how much the job table's clock is ahead of this machine's, in microseconds.
    ahead_us: i64,
}

/// `/static/autopkgtest.db`.
pub(crate) async fn file(State(app): State<App>, request: Request) -> Result<Response, Failure> {
    let (request, _) = request.into_parts();
    let pair = shown(&app, Wanted::File).await?;
    let mut response =
        object::get(&app, &Container::published(), &pair.file(), &request).await.map_err(ours)?;
    if response.headers().contains_key(header::CONTENT_TYPE) {
        let kind = HeaderValue::from_static("application/vnd.sqlite3");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(response)
}

/// `/static/autopkgtest.db.sha256`: 64 hex digits and nothing else.
pub(crate) async fn digest(State(app): State<App>, headers: HeaderMap) -> Result<Response, Failure> {
    let pair = shown(&app, Wanted::Digest).await?;
    let tag = format!("\"{}\"", pair.digest);
    let from = Timestamp::from_microsecond(pair.from_us).unwrap_or(Timestamp::UNIX_EPOCH);
    let modified = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&from).unwrap_or_default();
    let same = headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == tag.as_bytes());
    let described = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::ETAG, tag),
        (header::LAST_MODIFIED, modified),
    ];
    if same {
        return Ok((StatusCode::NOT_MODIFIED, described).into_response());
    }
    Ok((described, pair.digest).into_response())
}

/// The container is ours: that it cannot be read is the store's trouble, not the client's.
fn ours(failure: Failure) -> Failure {
    if failure.status == StatusCode::UNAUTHORIZED { Failure::away("store") } else { failure }
}

/// The pair that is shown now; waits for the moment of a change where it is near.
async fn shown(app: &App, wanted: Wanted) -> Result<Pair, Failure> {
    loop {
        let (pointer, ahead_us) = known(app).await?;
        let now_us = Timestamp::now().as_microsecond() + ahead_us;
        match pointer.as_ref().map(|pointer| pointer.shown(wanted, now_us)) {
            Some(Shown::Pair(pair)) => return Ok(pair.clone()),
            Some(Shown::Wait(us)) => {
                tokio::time::sleep(Duration::from_micros(us.unsigned_abs())).await;
            }
            Some(Shown::Nothing) | None => {
                return Err(Failure::not_found(
                    "No database is published yet: the first one comes once a dispatcher has run for a moment.",
                ));
            }
        }
    }
}

/// The pointer, read no longer than [`CACHE`] ago, and how far the job table's clock is ahead.
async fn known(app: &App) -> Result<(Option<Arc<Pointer>>, i64), Failure> {
    let mut known = app.published().0.lock().await;
    if known.read.is_none_or(|read| read.elapsed() >= CACHE) {
        let began = Instant::now();
        known.pointer = pointer(app).await?.map(Arc::new);
        // Without the job table the difference is as it was.
        let asked = Timestamp::now().as_microsecond();
        let clock = tokio::time::timeout(CLOCK_WITHIN, app.db().now_us()).await;
        if let Ok(Ok(theirs)) = clock {
            let answered = Timestamp::now().as_microsecond();
            known.ahead_us = theirs - (asked + (answered - asked) / 2);
        }
        known.read = Some(began);
    }
    Ok((known.pointer.clone(), known.ahead_us))
}

async fn pointer(app: &App) -> Result<Option<Pointer>, Failure> {
    let bytes = match app.store().get(&Container::published(), POINTER, None).await {
        // To who does not own a Swift account a container that is missing is one that is forbidden.
        Err(error) if error.is_missing() || matches!(error, StoreError::Forbidden { .. }) => return Ok(None),
        object => object?.bytes(MAX_POINTER).await?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        tracing::error!(error = %error, "the published database's pointer cannot be read");
        Failure::internal()
    })
}
