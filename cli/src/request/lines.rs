//! Lists of requests: what each line asks for.

use std::fmt;

use proofhouse_core::{
    names::{Arch, BadName, Context, Package, Pair, Release, RequestQueue},
    request::{BadRequest, Request},
};
use serde_json::{Map, Value};

/// What holds for every line that does not say so itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) release: Option<Release>,
    pub(crate) arch: Option<Arch>,
    pub(crate) context: Option<Context>,
    pub(crate) params: Map<String, Value>,
}

/// A request and the queue that it belongs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) queue: RequestQueue,
    pub(crate) request: Request,
}

/// Why a line cannot be sent. No message of it holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadLine {
    /// It names no release or arch, and the arguments do neither.
    NoPair,
    /// A JSON object without a package.
    NoPackage,
    /// A key of the wrong type.
    NoText(&'static str),
    /// JSON that does not parse.
    Json(usize),
    /// A name that is none.
    Name(BadName),
    /// Not what a person may submit.
    Policy(Package),
    /// What the contracts do not allow.
    Request(BadRequest),
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPair => {
                f.write_str("it names no release and arch: give them as arguments or in the line")
            }
            Self::NoPackage => f.write_str("the object names no \"package\""),
            Self::NoText(key) => write!(f, "{key:?} must be a string"),
            Self::Json(column) => write!(f, "it is not JSON (column {column})"),
            Self::Name(error) => error.fmt(f),
            Self::Policy(package) => {
                write!(f, "{package} is no source package's name: two or more of a-z, 0-9, '.', '+', '-'")
            }
            Self::Request(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BadLine {}

impl From<BadName> for BadLine {
    fn from(error: BadName) -> Self {
        Self::Name(error)
    }
}

impl From<BadRequest> for BadLine {
    fn from(error: BadRequest) -> Self {
        Self::Request(error)
    }
}

/// All lines of a list with their numbers, from 1. Empty ones and those that begin with `#` are skipped.
pub(crate) fn parse(text: &[u8], defaults: &Defaults) -> Vec<(usize, Result<Wanted, BadLine>)> {
    let lines = text.split(|byte| *byte == b'\n').enumerate().map(|(n, line)| (n + 1, line.trim_ascii()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
        .map(|(n, line)| (n, parse_line(line, defaults)))
        .collect()
}

fn parse_line(line: &[u8], defaults: &Defaults) -> Result<Wanted, BadLine> {
    let line = std::str::from_utf8(line).map_err(|e| BadRequest::NotUtf8(e.valid_up_to()))?;
    if line.starts_with('{') {
        return from_object(object(line, 0)?, defaults);
    }
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let offset = line.len() - rest.len();
    let params = if rest.trim().is_empty() { Map::new() } else { object(rest, offset)? };
    // Of britney's file mode; a package's name holds no colon.
    if let Some((queue, package)) = first.split_once(':') {
        return from_britney(queue.parse()?, package.parse()?, params, defaults);
    }
    from_params(first.parse()?, params, defaults)
}

/// Parses without quoting the text in an error: it may hold a token.
fn object(text: &str, offset: usize) -> Result<Map<String, Value>, BadLine> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(BadRequest::NotAnObject.into()),
        Err(error) => Err(BadLine::Json(offset + error.column())),
    }
}

fn from_object(mut map: Map<String, Value>, defaults: &Defaults) -> Result<Wanted, BadLine> {
    let package = take_text(&mut map, "package")?.ok_or(BadLine::NoPackage)?;
    from_params(package.parse()?, map, defaults)
}

fn from_britney(
    queue: RequestQueue,
    package: Package,
    mut params: Map<String, Value>,
    defaults: &Defaults,
) -> Result<Wanted, BadLine> {
    if let Some(Value::String(triggers)) = params.get("triggers") {
        let triggers: Vec<&str> = triggers.split_whitespace().collect();
        params.insert("triggers".to_owned(), triggers.into());
    }
    with_queue(Some(queue), package, params, defaults)
}

/// `release`, `arch` and `context` may stand among the parameters.
fn from_params(package: Package, map: Map<String, Value>, defaults: &Defaults) -> Result<Wanted, BadLine> {
    with_queue(None, package, map, defaults)
}

fn with_queue(
    queue: Option<RequestQueue>,
    package: Package,
    mut map: Map<String, Value>,
    defaults: &Defaults,
) -> Result<Wanted, BadLine> {
    if !package.follows_policy() {
        return Err(BadLine::Policy(package));
    }
    let release = take_text(&mut map, "release")?.map(|t| t.parse()).transpose()?;
    let arch = take_text(&mut map, "arch")?.map(|t| t.parse()).transpose()?;
    let context = take_text(&mut map, "context")?.map(|t| t.parse()).transpose()?;
    let mut params = defaults.params.clone();
    params.extend(map);
    let request = Request::from_params(package, params)?;
    let queue = match queue {
        Some(queue) => queue,
        None => RequestQueue {
            context: context.or(defaults.context).unwrap_or_else(|| request.natural_context()),
            pair: Pair {
                release: release.or_else(|| defaults.release.clone()).ok_or(BadLine::NoPair)?,
                arch: arch.or_else(|| defaults.arch.clone()).ok_or(BadLine::NoPair)?,
            },
        },
    };
    Ok(Wanted { queue, request })
}

fn take_text(map: &mut Map<String, Value>, key: &'static str) -> Result<Option<String>, BadLine> {
    match map.shift_remove(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(BadLine::NoText(key)),
    }
}

/// One request from the arguments alone.
pub(crate) fn single(package: Package, defaults: &Defaults) -> Result<Wanted, BadLine> {
    from_params(package, Map::new(), defaults)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults {
            release: Some("noble".parse().unwrap()),
            arch: Some("amd64".parse().unwrap()),
            ..Defaults::default()
        }
    }

    fn one(line: &str, defaults: &Defaults) -> Result<String, String> {
        let parsed = parse(line.as_bytes(), defaults).remove(0).1;
        parsed
            .map(|w| format!("{} {}", w.queue, w.request.to_body().replace('\n', " ")))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn good_lines() {
        for (line, read) in [
            ("hello", "debci-noble-amd64 hello"),
            ("hello {\"triggers\": [\"a/1\"]}", "debci-noble-amd64 hello {\"triggers\":[\"a/1\"]}"),
            ("hello\t{\"arch\": \"armhf\"}", "debci-noble-armhf hello"),
            (
                "{\"package\": \"hello\", \"release\": \"jammy\", \"context\": \"huge\"}",
                "debci-huge-jammy-amd64 hello",
            ),
            (
                "{\"package\": \"hello\", \"ppas\": [\"a/b\"]}",
                "debci-ppa-noble-amd64 hello {\"ppas\":[\"a/b\"]}",
            ),
            (
                "debci-ppa-jammy-i386:green {\"triggers\": \"green/2 blue/1\"}",
                "debci-ppa-jammy-i386 green {\"triggers\":[\"green/2\",\"blue/1\"]}",
            ),
            (
                "debci-jammy-i386:green {\"triggers\": [\"green/2\"]}",
                "debci-jammy-i386 green {\"triggers\":[\"green/2\"]}",
            ),
        ] {
            assert_eq!(one(line, &defaults()), Ok(read.to_owned()), "{line}");
        }
    }

    #[test]
    fn bad_lines() {
        let nothing = Defaults::default();
        for (line, defaults, why) in [
            ("hello", &nothing, "names no release and arch"),
            ("{\"release\": \"noble\"}", &nothing, "names no \"package\""),
            ("{\"package\": 1}", &nothing, "\"package\" must be a string"),
            ("hello {\"arch\": [\"a\"]}", &defaults(), "\"arch\" must be a string"),
            ("hello {", &defaults(), "not JSON (column 7)"),
            ("hello []", &defaults(), "not an object"),
            ("he_llo", &defaults(), "package name"),
            ("Hello", &defaults(), "no source package's name"),
            ("hello {\"triggers\": \"a/1\"}", &defaults(), "\"triggers\" must be a list of strings"),
            ("debci-noble:green {}", &defaults(), "queue \"debci-noble\""),
            ("hello {\"ppas\": [\"u:s3cret@a/b\"]}", &defaults(), "no swiftuser"),
        ] {
            let error = one(line, defaults).unwrap_err();
            assert!(error.contains(why) && !error.contains("s3cret"), "{line}: {error}");
        }
    }

    #[test]
    fn numbers_count_every_line() {
        let text = b"# list\n\nhello\r\nhe_llo\n\xff\xfe\n  gzip\n";
        let parsed = parse(text, &defaults());
        let numbers: Vec<(usize, bool)> = parsed.iter().map(|(n, line)| (*n, line.is_ok())).collect();
        assert_eq!(numbers, [(3, true), (4, false), (5, false), (6, true)]);
    }

    #[test]
    fn a_line_wins_over_the_options() {
        let params = serde_json::from_str("{\"triggers\": [\"x/1\"], \"requester\": \"joe\"}").unwrap();
        let defaults = Defaults { params, context: Some(Context::Huge), ..defaults() };
        let read = one("hello {\"triggers\": [\"a/1\"]}", &defaults).unwrap();
        assert_eq!(read, "debci-huge-noble-amd64 hello {\"triggers\":[\"a/1\"],\"requester\":\"joe\"}");
    }
}
