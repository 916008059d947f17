//! The style sheet, the icon and the scripts: part of the program, under names that change with what they hold.

use std::sync::LazyLock;

use axum::{
    extract::{Path, rejection::PathRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use crate::failure::Failure;

struct File {
    /// `/static/{stem}-{hash}.{extension}`.
    path: String,
    content_type: &'static str,
    bytes: &'static [u8],
    etag: String,
}

fn file(stem: &str, extension: &str, content_type: &'static str, bytes: &'static [u8]) -> File {
    let hash = hex::encode(&Sha256::digest(bytes)[..6]);
    let path = format!("/static/{stem}-{hash}.{extension}");
    File { path, content_type, bytes, etag: format!("\"{hash}\"") }
}

static STYLE: LazyLock<File> =
    LazyLock::new(|| file("style", "css", "text/css; charset=utf-8", include_bytes!("../static/style.css")));
static ICON: LazyLock<File> =
    LazyLock::new(|| file("icon", "svg", "image/svg+xml", include_bytes!("../static/icon.svg")));
static LOG: LazyLock<File> =
    LazyLock::new(|| file("log", "js", "text/javascript; charset=utf-8", include_bytes!("../static/log.js")));
static FOLLOW: LazyLock<File> = LazyLock::new(|| {
    file("follow", "js", "text/javascript; charset=utf-8", include_bytes!("../static/follow.js"))
});

static FRESH: LazyLock<File> = LazyLock::new(|| {
    file("fresh", "js", "text/javascript; charset=utf-8", include_bytes!("../static/fresh.js"))
});

/// The style sheet's address.
pub(crate) fn style() -> &'static str {
    &STYLE.path
}

/// The icon's address.
pub(crate) fn icon() -> &'static str {
    &ICON.path
}

/// The address of the script for logs.
pub(crate) fn log_script() -> &'static str {
    &LOG.path
}

/// The address of the script for logs that grow.
pub(crate) fn follow_script() -> &'static str {
    &FOLLOW.path
}

/// The address of the script for pages that tell of what goes on.
pub(crate) fn fresh_script() -> &'static str {
    &FRESH.path
}

/// `/static/{name}`.
pub(crate) async fn get(
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Path(name) = path?;
    let files = [&*STYLE, &*ICON, &*LOG, &*FOLLOW, &*FRESH];
    let wanted = files.into_iter().find(|f| f.path.strip_prefix("/static/") == Some(&name));
    let Some(file) = wanted else { return Err(Failure::not_found("There is no such file.")) };
    let caching = [
        (header::ETAG, file.etag.as_str()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::CONTENT_TYPE, file.content_type),
    ];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == file.etag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    Ok((caching, file.bytes).into_response())
}

/// What programs that read whole sites are to leave alone: what costs much, changes all the time, or is there for other
/// programs. Pages of packages are what people look for. No rule but one with a wildcard ends in `?`: some readers take it away,
/// and would leave all of `/packages` alone.
const ROBOTS: &str = "\
User-agent: *
Disallow: /api
Disallow: /badge/
Disallow: /compare
Disallow: /failing?*
Disallow: /feeds/
Disallow: /flaky?*
Disallow: /packages?*
Disallow: /packages/*/log
Disallow: /packages/*?
Disallow: /parked
Disallow: /private-results/
Disallow: /queue/
Disallow: /queue_size.json
Disallow: /queued.json
Disallow: /queues.json
Disallow: /recent?*
Disallow: /request
Disallow: /results/
Disallow: /run/
Disallow: /running
Disallow: /search
Disallow: /slow?*
Disallow: /stale?*
Disallow: /static/autopkgtest.db
Disallow: /static/running.json
Disallow: /stuck
Disallow: /trigger/
Disallow: /user/
Disallow: /waiting
";

/// `/robots.txt`.
pub(crate) async fn robots() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=86400"),
    ];
    (headers, ROBOTS).into_response()
}
