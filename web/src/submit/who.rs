//! Who is asking: the holder of an API token, or, on a loopback address that is open, anyone on this machine.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use proofhouse_core::db::token_hash;

use crate::{app::App, failure::Failure};

/// Who asks where no token is needed.
const LOCAL: &str = "local";

/// Who is asking, and what they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: String,
    /// May ask for tests.
    pub(super) may_request: bool,
    /// May ask for a second run of what is there already.
    pub(super) may_force: bool,
    /// May say in whose name it asks: nobody checked who it is.
    pub(super) may_name: bool,
}

/// How somebody says who they are.
enum Claim {
    Bearer(String),
    /// The old cookie: user and key.
    Cookie(String, String),
}

const ADVICE: &str = "Send an API token as `Authorization: Bearer TOKEN`. \
    The operators of this site make one with `proofhouse token`.";

/// Finds out who is asking.
pub(super) async fn ask(app: &App, headers: &HeaderMap) -> Result<Person, Failure> {
    let secret = match claim(headers) {
        None if app.settings().open => return local(headers, app.settings().site.host_str()),
        None => return Err(Failure::who("Asking for tests needs an API token.", ADVICE)),
        Some(Claim::Bearer(secret)) => (secret, None),
        Some(Claim::Cookie(user, key)) => {
            // A browser sends cookies along whoever made the link.
            if comes_from_elsewhere(headers) {
                return Err(elsewhere());
            }
            (key, Some(user))
        }
    };
    let (secret, user) = secret;
    let token = app.db().valid_token(&token_hash(&secret)).await?;
    let token = token.filter(|t| user.as_ref().is_none_or(|user| *user == t.person));
    let token = token
        .ok_or_else(|| Failure::who("This token is not known, has ended or was called back.", ADVICE))?;
    Ok(Person {
        may_request: token.may("request"),
        may_force: token.may("force"),
        may_name: false,
        name: token.person,
    })
}

fn local(headers: &HeaderMap, site: Option<&str>) -> Result<Person, Failure> {
    // What came through a proxy may come from anywhere; what names another host, from a page that had its name
    // point here.
    let proxied = headers.contains_key("x-forwarded-for") || headers.contains_key(header::FORWARDED);
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).map(host_name);
    let here = host.is_none_or(|host| Some(host) == site || is_loopback(host));
    if proxied || !here {
        return Err(Failure::who(
            "Asking for tests needs an API token, but from this machine itself.",
            ADVICE,
        ));
    }
    if comes_from_elsewhere(headers) {
        return Err(elsewhere());
    }
    Ok(Person { name: LOCAL.to_owned(), may_request: true, may_force: true, may_name: true })
}

fn elsewhere() -> Failure {
    Failure::forbidden(
        "Another site's page sent this request.",
        "Open the address by hand if you mean it, or use an API token.",
    )
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A browser always says where a request was made; no header means no browser.
fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| !matches!(site.as_bytes(), b"none" | b"same-origin"))
}

fn claim(headers: &HeaderMap) -> Option<Claim> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(authorization) = text(header::AUTHORIZATION) {
        let (scheme, secret) = authorization.trim().split_once(' ').unwrap_or((authorization, ""));
        // Anything but a bearer token is a claim that nobody can check.
        let secret = if scheme.eq_ignore_ascii_case("bearer") { secret.trim() } else { "" };
        return Some(Claim::Bearer(secret.to_owned()));
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let cookie = cookies.flat_map(|v| v.split(';')).find_map(|c| c.trim().strip_prefix("X-Api-Key="))?;
    let value = percent_decode_str(cookie.trim_matches('"')).decode_utf8().ok()?;
    let (user, key) = value.split_once(':').unwrap_or((&value, ""));
    Some(Claim::Cookie(user.to_owned(), key.to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn open_means_this_machine() {
        let ask = |pairs: &[(&str, &str)]| local(&headers(pairs), Some("tests.example")).map(|p| p.name);
        for good in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "tests.example"] {
            assert_eq!(ask(&[("host", good)]).unwrap(), LOCAL, "{good}");
        }
        assert!(ask(&[("sec-fetch-site", "none")]).is_ok());
        for bad in [
            [("host", "evil.example")],
            [("x-forwarded-for", "10.0.0.1")],
            [("sec-fetch-site", "cross-site")],
        ] {
            assert!(ask(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn both_kinds_of_claim() {
        let of = |name: &str, value: &str| match claim(&headers(&[(name, value)])) {
            Some(Claim::Bearer(secret)) => secret,
            Some(Claim::Cookie(user, key)) => format!("{user} {key}"),
            None => "nobody".to_owned(),
        };
        assert_eq!(of("authorization", "bearer abc"), "abc");
        assert_eq!(of("authorization", "Basic abc"), "");
        assert_eq!(of("cookie", "a=b; X-Api-Key=joe:k:e%3Dy"), "joe k:e=y");
        assert_eq!(of("cookie", "session=x"), "nobody");
    }
}
