//! An object: streamed, in parts where they are asked for, with its tag.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use jiff::fmt::rfc2822;
use proofhouse_core::{
    layout::Container,
    store::{ByteRange, ObjectInfo},
};

use super::store_failure;
use crate::{app::App, failure::Failure};

/// Answers with a file of the store; whether that may be read was decided before.
pub(crate) async fn get(
    app: &App,
    container: &Container,
    object: &str,
    request: &Parts,
) -> Result<Response, Failure> {
    let headers = &request.headers;
    let range = headers.get(header::RANGE).and_then(|v| v.to_str().ok()).and_then(parse_range);
    if request.method == Method::HEAD || range.is_some() {
        let info = app.store().head(container, object).await.map_err(store_failure)?;
        if not_modified(headers, &info) {
            return Ok(unchanged(&info));
        }
        if request.method == Method::HEAD {
            return Ok((described(&info, info.length), Body::empty()).into_response());
        }
        if let Some(range) = range.filter(|_| if_range_holds(headers, &info)) {
            return part(app, container, object, range, &info).await;
        }
    }
    let object = app.store().get(container, object, None).await.map_err(store_failure)?;
    if not_modified(headers, &object.info) {
        return Ok(unchanged(&object.info));
    }
    let described = described(&object.info, object.info.length);
    Ok((described, Body::from_stream(object.stream)).into_response())
}

async fn part(
    app: &App,
    container: &Container,
    object: &str,
    range: ByteRange,
    info: &ObjectInfo,
) -> Result<Response, Failure> {
    if range.within(info.length).is_none() {
        let total = [(header::CONTENT_RANGE, format!("bytes */{}", info.length))];
        return Ok((StatusCode::RANGE_NOT_SATISFIABLE, total).into_response());
    }
    let object = app.store().get(container, object, Some(range)).await.map_err(store_failure)?;
    // By what came, not by what was asked for: the object may have been replaced meanwhile.
    let length = object.info.length;
    let Some((first, last)) = object.part else {
        return Ok((described(&object.info, length), Body::from_stream(object.stream)).into_response());
    };
    let place = [(header::CONTENT_RANGE, format!("bytes {first}-{last}/{length}"))];
    let headers = described(&object.info, last - first + 1);
    Ok((StatusCode::PARTIAL_CONTENT, headers, place, Body::from_stream(object.stream)).into_response())
}

/// One range of bytes. Several, or what cannot be read, are ignored, as RFC 9110 (14.2) allows.
fn parse_range(text: &str) -> Option<ByteRange> {
    let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
    match (first, last) {
        ("", last) => Some(ByteRange::Last(last.parse().ok()?)),
        (first, "") => Some(ByteRange::From(first.parse().ok()?, None)),
        (first, last) => {
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(ByteRange::From(first, Some(last)))
        }
    }
}

fn quoted(info: &ObjectInfo) -> String {
    format!("\"{}\"", info.etag)
}

fn not_modified(headers: &HeaderMap, info: &ObjectInfo) -> bool {
    if !headers.contains_key(header::IF_NONE_MATCH) {
        let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|v| v.to_str().ok());
        let since = since.and_then(|text| rfc2822::DateTimeParser::new().parse_timestamp(text).ok());
        // What headers say has whole seconds.
        return since.zip(info.modified).is_some_and(|(since, at)| at.as_second() <= since.as_second());
    }
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    let tag = quoted(info);
    tags.flat_map(|v| v.split(',')).map(str::trim).any(|t| {
        let t = t.strip_prefix("W/").unwrap_or(t);
        // Clients of Swift send its tags as it sends them: without quotes.
        t == "*" || t == tag || t == info.etag
    })
}

fn if_range_holds(headers: &HeaderMap, info: &ObjectInfo) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|v| v.as_bytes() == quoted(info).as_bytes())
}

fn unchanged(info: &ObjectInfo) -> Response {
    let mut headers = described(info, info.length);
    headers.remove(header::CONTENT_LENGTH);
    (StatusCode::NOT_MODIFIED, headers).into_response()
}

/// The headers of an answer that carries `length` bytes of an object.
fn described(info: &ObjectInfo, length: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name, value: Option<String>| {
        if let Some(value) = value.and_then(|v| HeaderValue::try_from(v).ok()) {
            headers.insert(name, value);
        }
    };
    let kind = info.headers.content_type.clone().unwrap_or_else(|| "application/octet-stream".to_owned());
    set(header::CONTENT_TYPE, Some(kind));
    set(header::CONTENT_ENCODING, info.headers.content_encoding.clone());
    set(header::ETAG, Some(quoted(info)));
    set(header::CONTENT_LENGTH, Some(length.to_string()));
    set(header::ACCEPT_RANGES, Some("bytes".to_owned()));
    let printer = rfc2822::DateTimePrinter::new();
    let modified = info.modified.and_then(|at| printer.timestamp_to_rfc9110_string(&at).ok());
    set(header::LAST_MODIFIED, modified);
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(parse_range("bytes=0-4"), Some(ByteRange::From(0, Some(4))));
        assert_eq!(parse_range("bytes=5-"), Some(ByteRange::From(5, None)));
        assert_eq!(parse_range("bytes=-3"), Some(ByteRange::Last(3)));
        for ignored in ["bytes=", "bytes=4-1", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=--1"] {
            assert_eq!(parse_range(ignored), None, "{ignored}");
        }
    }
}
