//! What Swift's answers say: headers, listings, access rules.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED,
};
use serde::Deserialize;

use crate::store::{ContentHeaders, Entry, ListQuery, ObjectInfo, is_answer, range::content_range};

/// The header that says who may read a container.
pub(super) const READ_ACL: HeaderName = HeaderName::from_static("x-container-read");

/// When an object was stored, in seconds with a fraction; `Last-Modified` rounds it up.
const X_TIMESTAMP: HeaderName = HeaderName::from_static("x-timestamp");

/// A header's text.
pub(super) fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// What the headers of a GET or HEAD say of the whole object, and which part of it comes.
pub(super) fn object(headers: &HeaderMap) -> Option<(ObjectInfo, Option<(u64, u64)>)> {
    let length = text(headers, &CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let range = text(headers, &CONTENT_RANGE).and_then(|text| content_range(&text));
    let (length, part) = match range {
        Some((part, length)) => (length, part),
        None => (length?, None),
    };
    let info = ObjectInfo {
        length,
        etag: text(headers, &ETAG).map(|etag| unquoted(&etag)).unwrap_or_default(),
        modified: modified(headers),
        headers: ContentHeaders {
            content_type: text(headers, &CONTENT_TYPE),
            content_encoding: text(headers, &CONTENT_ENCODING),
        },
    };
    Some((info, part))
}

fn modified(headers: &HeaderMap) -> Option<Timestamp> {
    let exact = text(headers, &X_TIMESTAMP).and_then(|text| {
        let (seconds, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let nanos: i32 = format!("{fraction:0<9.9}").parse().ok()?;
        Timestamp::new(seconds.parse().ok()?, nanos).ok()
    });
    exact.or_else(|| {
        let date = jiff::fmt::rfc2822::parse(&text(headers, &LAST_MODIFIED)?).ok()?;
        Some(date.timestamp())
    })
}

/// An entity tag without the quotes that some stores send.
pub(super) fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Prefix { subdir: String },
    Object { name: String, bytes: u64, hash: String, last_modified: String, content_type: String },
}

/// A listing with `format=json`; none where it is not the one that was asked for.
pub(in crate::store) fn listing(json: &[u8], query: &ListQuery) -> Option<Vec<Entry>> {
    if json.is_empty() {
        return Some(Vec::new()); // 204
    }
    let lines: Vec<Line> = serde_json::from_slice(json).ok()?;
    let page: Vec<Entry> = lines.into_iter().map(entry).collect();
    is_answer(&page, query).then_some(page)
}

#[derive(Deserialize)]
struct ContainerLine {
    name: String,
}

/// The names in an account's listing with `format=json`.
pub(in crate::store) fn containers(json: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    if json.is_empty() {
        return Ok(Vec::new()); // 204
    }
    let lines: Vec<ContainerLine> = serde_json::from_slice(json)?;
    Ok(lines.into_iter().map(|line| line.name).collect())
}

fn entry(line: Line) -> Entry {
    match line {
        Line::Prefix { subdir } => Entry::Prefix(subdir),
        Line::Object { name, bytes, hash, last_modified, content_type } => Entry::Object {
            name,
            length: bytes,
            etag: unquoted(&hash),
            modified: listed_time(&last_modified),
            content_type,
        },
    }
}

/// A listing's time: UTC, in Swift without a zone, in radosgw with `Z`.
fn listed_time(text: &str) -> Option<Timestamp> {
    let time: DateTime = text.trim_end_matches('Z').parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// True where an access rule lets anyone read and list.
pub(super) fn is_public(acl: &str) -> bool {
    rules(acl).any(|rule| rule == ".r:*") && rules(acl).any(|rule| rule == ".rlistings")
}

/// True where an access rule lets anyone read or list anything.
pub(super) fn is_open(acl: &str) -> bool {
    rules(acl).any(|rule| rule.starts_with(".r"))
}

/// True where an access rule names one reader and nobody else.
pub(super) fn names_only(acl: &str, reader: &str) -> bool {
    rules(acl).eq([format!("*:{reader}").as_str()])
}

fn rules(acl: &str) -> impl Iterator<Item = &str> {
    acl.split(',').map(str::trim).filter(|rule| !rule.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_rules() {
        assert!(is_public(".rlistings,.r:*") && is_public(".r:*, .rlistings"));
        for acl in ["", ".r:*", ".rlistings", "*:adt", ".r:example.org,.rlistings", ".r:*x,.rlistings"] {
            assert!(!is_public(acl), "{acl}");
        }
        assert!(names_only("*:adt:reader", "adt:reader") && names_only(" *:reader ,", "reader"));
        for acl in
            ["", "reader", "*:other", "*:reader,*:other", ".r:*,*:reader", "*:reader,*:reader", "*:readers"]
        {
            assert!(!names_only(acl, "reader"), "{acl}");
        }
        assert!(is_open("*:x,.r:example.org") && is_open(".rlistings") && !is_open("*:x") && !is_open(""));
    }

    #[test]
    fn headers_of_objects() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-length", "5"),
            ("content-range", "bytes 2-6/12"),
            ("etag", "\"abc\""),
            ("x-timestamp", "1763712000.50000"),
            ("last-modified", "Fri, 21 Nov 2025 08:00:01 GMT"),
            ("content-encoding", "gzip"),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let (info, part) = object(&headers).unwrap();
        assert_eq!((info.length, info.etag.as_str(), part), (12, "abc", Some((2, 6))));
        assert_eq!(info.modified.unwrap().to_string(), "2025-11-21T08:00:00.5Z");
        headers.remove("x-timestamp");
        headers.remove("content-range");
        let (info, part) = object(&headers).unwrap();
        assert_eq!((info.length, part), (5, None));
        assert_eq!(info.modified.unwrap().to_string(), "2025-11-21T08:00:01Z");
    }

    #[test]
    fn listings() {
        let json = br#"[{"subdir": "a@"}, {"bytes": 6, "content_type": "text/plain", "hash": "b1",
            "last_modified": "2026-11-21T08:06:41.123450", "name": "a/b"}]"#;
        let all = ListQuery::default();
        let entries = listing(json, &all).unwrap();
        assert_eq!(entries[0], Entry::Prefix("a@".into()));
        let Entry::Object { name, length, modified, .. } = &entries[1] else { panic!("{entries:?}") };
        assert_eq!((name.as_str(), *length), ("a/b", 6));
        assert_eq!(modified.unwrap().to_string(), "2026-11-21T08:06:41.12345Z");
        assert_eq!(listed_time("2026-11-21T08:06:41.123Z").unwrap().as_millisecond(), 1_795_248_401_123);
        assert!(listing(b"", &all).unwrap().is_empty() && listing(b"<html>", &all).is_none());
        let of = |prefix: &str, marker: &str| {
            let query = ListQuery { prefix: prefix.into(), marker: marker.into(), ..ListQuery::default() };
            listing(json, &query).is_some()
        };
        assert!(of("a", "") && of("a", "a"), "all of it");
        assert!(!of("a/", "") && !of("b", ""), "another prefix");
        assert!(!of("", "a/b") && !of("", "b"), "what was listed before");
        assert!(of("", "a") && !of("", "a@/x"), "a rolled-up name may be before the marker, an object not");
        let json = br#"[{"name": "a", "count": 1, "bytes": 2}, {"name": "b"}]"#;
        assert_eq!(containers(json).unwrap(), ["a", "b"]);
        assert!(containers(b"").unwrap().is_empty());
    }
}
