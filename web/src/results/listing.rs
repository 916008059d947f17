//! A container's listing as Swift gives it.

use axum::{
    Json,
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use proofhouse_core::{
    layout::Container,
    store::{Entry, ListQuery, MAX_PAGE},
};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::store_failure;
use crate::{app::App, failure::Failure, wanted::wants_json};

/// What a query asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    query: ListQuery,
    json: bool,
}

impl Wanted {
    /// Reads a query as Swift does. What would change the list and is not known here is refused, never ignored.
    fn parse(query: &str, headers: &HeaderMap) -> Result<Self, Failure> {
        let mut wanted = Self { json: wants_json(headers), ..Self::default() };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.contains('\0') {
                return Err(Failure::bad("A parameter holds a NUL.", ""));
            }
            match &*name {
                "prefix" => wanted.query.prefix = value.into_owned(),
                "delimiter" => wanted.query.delimiter = Some(value.into_owned()).filter(|d| !d.is_empty()),
                "marker" => wanted.query.marker = value.into_owned(),
                "limit" => wanted.query.limit = limit(&value)?,
                "format" => wanted.json = format(&value)?,
                "end_marker" | "reverse" | "path" if !value.is_empty() => {
                    return Err(Failure::bad(format!("{name} is not known here."), ""));
                }
                _ => {}
            }
        }
        Ok(wanted)
    }
}

/// Swift ignores what is no number, and refuses one that is too large.
fn limit(value: &str) -> Result<Option<usize>, Failure> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match value.parse() {
        Ok(limit) if limit <= MAX_PAGE => Ok(Some(limit)),
        _ => Err(Failure {
            status: StatusCode::PRECONDITION_FAILED,
            ..Failure::bad(format!("limit is at most {MAX_PAGE}."), "")
        }),
    }
}

fn format(value: &str) -> Result<bool, Failure> {
    match value {
        "json" => Ok(true),
        "xml" => Err(Failure {
            status: StatusCode::NOT_ACCEPTABLE,
            ..Failure::bad("Listings are plain text or JSON.", "")
        }),
        _ => Ok(false),
    }
}

pub(super) async fn get(app: &App, container: &Container, request: &Parts) -> Result<Response, Failure> {
    let wanted = Wanted::parse(request.uri.query().unwrap_or_default(), &request.headers)?;
    if request.method == Method::HEAD {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if wanted.query.limit == Some(0) {
        return Ok(answer(&[], wanted.json));
    }
    let entries = app.store().list(container, &wanted.query).await.map_err(store_failure)?;
    Ok(answer(&entries, wanted.json))
}

fn answer(entries: &[Entry], json: bool) -> Response {
    if json {
        return Json(entries.iter().map(entry_json).collect::<Value>()).into_response();
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    if entries.is_empty() {
        return (StatusCode::NO_CONTENT, kind).into_response();
    }
    let mut lines = String::new();
    for entry in entries {
        lines.push_str(entry.name());
        lines.push('\n');
    }
    (kind, lines).into_response()
}

fn entry_json(entry: &Entry) -> Value {
    match entry {
        Entry::Prefix(name) => json!({"subdir": name}),
        Entry::Object { name, length, etag, modified, content_type } => json!({
            "name": name,
            "bytes": length,
            "hash": etag,
            "content_type": content_type,
            // Swift's form: microseconds, no zone.
            "last_modified": modified.map(|at| at.strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_as_swift_reads_them() {
        let parse = |query: &str| Wanted::parse(query, &HeaderMap::new());
        let wanted =
            parse("delimiter=%40&prefix=noble%2Famd64%2Fg%2Fgreen%2F&marker=a+b%2B&limit=x").unwrap();
        let query = ListQuery {
            prefix: "noble/amd64/g/green/".into(),
            delimiter: Some("@".into()),
            marker: "a b+".into(),
            limit: None,
        };
        assert_eq!(wanted, Wanted { query, json: false });
        assert!(parse("format=json").unwrap().json);
        assert_eq!(parse("limit=10000").unwrap().query.limit, Some(10_000));
        for (query, status) in
            [("limit=10001", 412), ("format=xml", 406), ("reverse=1", 400), ("prefix=%00", 400)]
        {
            assert_eq!(parse(query).unwrap_err().status, status, "{query}");
        }
    }
}
