//! Every address of the site, and what lies around all of them.

use std::time::Instant;

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use proofhouse_core::request::MAX_BODY;
use tower_http::{
    CompressionLevel,
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, Predicate},
};
use tracing::Instrument;

use crate::{
    alerts::tell,
    api,
    app::App,
    badge,
    failure::{Failure, dress},
    feeds, files,
    limits::{bound, refuse},
    pages, published, results,
    shared::share,
    statics, submit,
    validate::validate,
};

/// On every answer that does not say otherwise itself.
const HEADERS: [(HeaderName, &str); 9] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (HeaderName::from_static("x-permitted-cross-domain-policies"), "none"),
    (header::CACHE_CONTROL, "no-cache"),
    // At least what goes wrong is said as the client wants it.
    (header::VARY, "accept"),
];

/// Where people reach the site by https, browsers are to use nothing else for a year. Subdomains are not ours to bind.
const ONLY_HTTPS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The types that are sent packed. Those that come bit by bit are not among them.
const PACKED: [&str; 7] = [
    "text/html",
    "text/css",
    "text/javascript",
    "application/json",
    "application/problem+json",
    "image/svg+xml",
    feeds::TYPE,
];

/// The whole site.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(pages::home::get))
        .route("/search", get(pages::search::get))
        .route("/packages", get(pages::packages::list::get))
        .route("/packages/", get(pages::packages::list::get))
        .route("/failing", get(pages::lists::standings::failing))
        .route("/flaky", get(pages::lists::flaky::get))
        .route("/slow", get(pages::lists::standings::slow))
        .route("/stale", get(pages::lists::standings::stale))
        .route("/stuck", get(pages::lists::stuck::get))
        .route("/release/{release}", get(pages::release::get))
        .route("/user/{name}", get(pages::user::get))
        .route("/user/{name}/", get(pages::user::get))
        .route("/user/{name}/ppa", get(pages::user::ppas))
        .route("/user/{name}/ppa/", get(pages::user::ppas))
        .route("/user/{name}/ppa/{ppa}", get(pages::ppa::get))
        .route("/packages/{*path}", get(pages::packages::get))
        .route("/run/{uuid}", get(pages::run::get))
        .route("/run/{uuid}/log", get(pages::live_log::get))
        .route("/run/{uuid}/log/events", get(pages::live_log::events))
        .route("/run/{uuid}/attempts/{n}/log", get(pages::attempt_log::get))
        .route("/run/{uuid}/attempts/{n}/log.gz", get(pages::attempt_log::raw))
        .route("/compare", get(pages::compare::find))
        .route("/compare/{package}/{release}/{arch}/{before}/{after}", get(pages::compare::get))
        .route("/running", get(pages::running::get))
        .route("/trigger/{source}/{version}", get(pages::trigger::get))
        .route("/queue/{context}/{release}/{arch}", get(pages::queue::get))
        .route("/parked", get(pages::parked::get))
        .route("/waiting", get(pages::waiting::get))
        .route("/recent", get(pages::recent::get))
        .route("/queues.json", get(files::queues))
        .route("/queued.json", get(files::queued))
        .route("/queue_size.json", get(files::queue_size))
        .route("/static/running.json", get(files::running))
        .route("/static/autopkgtest.db", get(published::file))
        .route("/static/autopkgtest.db.sha256", get(published::digest))
        .route("/api/experimental/recent.json", get(files::recent))
        .route("/static/{file}", get(statics::get))
        .route("/robots.txt", get(statics::robots))
        .route("/statistics", get(pages::statistics::get))
        .route("/infrastructure", get(pages::infrastructure::get))
        .route("/feeds/package/{file}", get(feeds::package))
        .route("/feeds/release/{file}", get(feeds::release))
        .route("/feeds/user/{file}", get(feeds::user))
        .route("/feeds/trigger/{source}/{file}", get(feeds::trigger))
        .route("/badge/{*path}", get(badge::get))
        .merge(api::router())
        .route("/request.cgi", get(submit::cgi_get).head(submit::cgi_head).post(submit::cgi_post))
        .route("/results", any(results::any))
        .route("/results/", any(results::any))
        .route("/results/{*path}", any(results::any))
        .fallback(async || Failure::not_found("There is no such page."))
        .method_not_allowed_fallback(async || Failure::method("other methods"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Failure::internal().into_response()
        }))
        .layer(from_fn(refuse))
        .layer(from_fn_with_state(app.clone(), dress))
        .layer(from_fn_with_state(app.clone(), tell))
        .layer(from_fn(validate))
        .layer(from_fn_with_state(app.clone(), secure))
        .layer(packed())
        .layer(from_fn_with_state(app.shared().clone(), share))
        .layer(from_fn_with_state(app.clone(), bound))
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// What is text and made here is sent packed to who takes it so. What the store has is sent as it is there, with its tag,
/// its length and its parts.
fn packed() -> CompressionLayer<impl Predicate> {
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(
        |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
            let kind =
                headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default();
            !headers.contains_key(header::ACCEPT_RANGES) && PACKED.contains(&kind)
        },
    )
}

async fn secure(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        // What is packed varies by that too.
        if name == header::VARY {
            headers.append(name, HeaderValue::from_static(value));
        } else {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
    }
    if app.settings().site.scheme() == "https" {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, ONLY_HTTPS);
    }
    response
}

/// A span and a count for each answer: by the route's pattern, for a path can name a private run, and a query a secret.
async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("http", http.route = %route, http.method = %request.method());
    let start = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let (status, seconds) = (response.status().as_u16(), start.elapsed().as_secs_f64());
    span.in_scope(|| tracing::debug!(http.status = status, http.seconds = seconds, "answered"));
    app.answered(&route, status, seconds);
    response
}
