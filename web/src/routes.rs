//! Every address of the site, and what lies around all of them.

use std::time::Instant;

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use proofhouse_core::request::MAX_BODY;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::{
    app::App,
    failure::{Failure, dress},
    files, pages, published, results, statics, submit,
};

/// On every answer that does not say otherwise itself.
const HEADERS: [(HeaderName, &str); 9] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
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

/// The whole site.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(pages::home::get))
        .route("/packages", get(pages::search::get))
        .route("/packages/", get(pages::search::get))
        .route("/packages/{*path}", get(pages::packages::get))
        .route("/run/{uuid}", get(pages::run::get))
        .route("/run/{uuid}/attempts/{n}/log", get(pages::attempt_log::get))
        .route("/run/{uuid}/attempts/{n}/log.gz", get(pages::attempt_log::raw))
        .route("/running", get(pages::running::get))
        .route("/waiting", get(pages::waiting::get))
        .route("/recent", get(pages::recent::get))
        .route("/queues.json", get(files::queues))
        .route("/queued.json", get(files::queued))
        .route("/queue_size.json", get(files::queue_size))
        .route("/api/v1/demand", get(files::demand))
        .route("/static/running.json", get(files::running))
        .route("/static/autopkgtest.db", get(published::file))
        .route("/static/autopkgtest.db.sha256", get(published::digest))
        .route("/api/experimental/recent.json", get(files::recent))
        .route("/static/{file}", get(statics::get))
        .route("/request.cgi", get(submit::cgi_get).post(submit::cgi_post))
        .route("/api/v1/requests", axum::routing::post(submit::api))
        .route("/results", any(results::any))
        .route("/results/", any(results::any))
        .route("/results/{*path}", any(results::any))
        .fallback(async || Failure::not_found("There is no such page."))
        .method_not_allowed_fallback(async || Failure::method("other methods"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Failure::internal().into_response()
        }))
        .layer(from_fn(dress))
        .layer(from_fn_with_state(app.clone(), secure))
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

async fn secure(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
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
