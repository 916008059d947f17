//! What kind of answer a client wants.

use axum::http::{HeaderMap, Uri, header::ACCEPT};

/// What kind of answer a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A page.
    Html,
    /// JSON.
    Json,
    /// Plain text: clients of the store and of the published database.
    Text,
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|part| part.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(kind)))
}

/// True where the client names `text/html`. `*/*` is what scripts send.
pub(crate) fn names_html(headers: &HeaderMap) -> bool {
    accepts(headers, "text/html")
}

/// True where the client asks for JSON and not for a page as well.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    accepts(headers, "application/json") && !names_html(headers)
}

impl Format {
    /// The format of an answer to this address.
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let path = uri.path();
        let is_json = std::path::Path::new(path).extension().is_some_and(|e| e == "json");
        if ["/results/", "/static/autopkgtest.db"].iter().any(|text| path.starts_with(text))
            || path == "/results"
        {
            Self::Text
        } else if is_json || path.starts_with("/api/") || wants_json(headers) {
            Self::Json
        } else {
            Self::Html
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())])
    }

    #[test]
    fn scripts_do_not_name_html() {
        assert!(names_html(&headers("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")));
        assert!(!names_html(&headers("*/*")) && !names_html(&HeaderMap::new()));
        assert!(wants_json(&headers("application/json, */*")));
        assert!(!wants_json(&headers("text/html, application/json")));
    }

    #[test]
    fn formats() {
        let of = |uri: &str| Format::of(&uri.parse().unwrap(), &HeaderMap::new());
        assert_eq!(of("/queues.json"), Format::Json);
        assert_eq!(of("/api/v1/requests"), Format::Json);
        assert_eq!(of("/results/x"), Format::Text);
        assert_eq!(of("/static/autopkgtest.db.sha256"), Format::Text);
        assert_eq!(of("/request.cgi?x=.json"), Format::Html);
    }
}
