//! What a client has already is not sent again: each answer that is made here, not streamed, has a tag of what it holds.

use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// Answers that are longer are not looked at: the largest are lists that change all the time.
pub(crate) const LONGEST: u64 = 8 << 20;

/// Adds a tag; where the client has what it stands for, the answer is that nothing changed.
pub(crate) async fn validate(request: Request, next: Next) -> Response {
    let is_get = request.method() == Method::GET;
    let had: Vec<HeaderValue> = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    let response = next.run(request).await;
    let length = response.body().size_hint().exact();
    let told = is_get
        && response.status() == StatusCode::OK
        && !response.headers().contains_key(header::ETAG)
        && response.headers().get(header::CACHE_CONTROL).is_none_or(|value| value != "no-store")
        && length.is_some_and(|length| length <= LONGEST);
    if !told {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else { return Failure::internal().into_response() };
    // A weak one: packed or not, it is the same.
    let tag = format!("W/\"{}\"", hex::encode(&Sha256::digest(&bytes)[..12]));
    let same = has(&had, &tag);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    if !same {
        return Response::from_parts(parts, Body::from(bytes));
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_TYPE);
    parts.status = StatusCode::NOT_MODIFIED;
    Response::from_parts(parts, Body::empty())
}

/// True where one of the tags that a client names is this one, however strong.
fn has(named: &[HeaderValue], tag: &str) -> bool {
    let plain = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let named = named.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    named.map(str::trim).any(|one| one == "*" || plain(one) == plain(tag))
}

/// Says when what is shown last changed.
pub(crate) fn dated(headers: &mut HeaderMap, at: jiff::Timestamp) {
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    let text = printer.timestamp_to_rfc9110_string(&at).ok();
    if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert(header::LAST_MODIFIED, value);
    }
}
