//! Many who ask for the same page at once get the same answer: it is made once for all who asked before its making began.
//! Nobody gets an answer that is older than the question, and a flood on one page costs the database what two readers cost.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{limits::Refused, validate::LONGEST};

/// What changes something, is streamed, or lies in memory anyway.
const ALONE: [&str; 10] = [
    // What it does is done for each who asks.
    "/request.cgi",
    "/results",
    "/results/",
    "/results/{*path}",
    "/static/{file}",
    "/static/autopkgtest.db",
    "/run/{uuid}/log",
    "/run/{uuid}/log/events",
    "/run/{uuid}/attempts/{n}/log.gz",
    "/robots.txt",
];
/// Whoever sends one of these may get what others do not.
const OWN: [HeaderName; 5] =
    [header::AUTHORIZATION, header::COOKIE, header::RANGE, header::IF_RANGE, header::IF_MODIFIED_SINCE];
/// What an answer depends on beside its address.
const VARIES: [HeaderName; 3] = [header::ACCEPT, header::ACCEPT_ENCODING, header::IF_NONE_MATCH];

type Key = (String, Vec<HeaderValue>);

/// The pages that are being made, each with how many ask for it. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<All>>);

type All = HashMap<Key, (usize, Arc<Slot>)>;

/// Who makes a page holds it; what was made last is in it.
type Slot = tokio::sync::Mutex<Option<Made>>;

#[derive(Debug)]
struct Made {
    /// When its making began.
    began: Instant,
    /// None: it is nothing that can be shared.
    answer: Option<Answer>,
}

/// A whole answer.
#[derive(Debug, Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Bytes,
}

/// One who asks for a page. The last one leaves nothing behind.
struct Asking<'a> {
    shared: &'a Shared,
    key: Key,
    slot: Arc<Slot>,
}

impl Shared {
    fn all(&self) -> MutexGuard<'_, All> {
        // Changes are whole even where a panic cut one short.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asking(&self, key: Key) -> Asking<'_> {
        let mut all = self.all();
        let (number, slot) = all.entry(key.clone()).or_default();
        *number += 1;
        Asking { shared: self, key, slot: slot.clone() }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut all = self.shared.all();
        if let Some((number, _)) = all.get_mut(&self.key) {
            *number -= 1;
            if *number == 0 {
                all.remove(&self.key);
            }
        }
    }
}

/// What makes two requests the same; none where the answer is for one alone.
fn key(request: &Request) -> Option<Key> {
    let route = request.extensions().get::<MatchedPath>()?.as_str();
    let headers = request.headers();
    if request.method() != Method::GET
        || request.extensions().get::<Refused>().is_some()
        || ALONE.contains(&route)
        || OWN.iter().any(|name| headers.contains_key(name))
    {
        return None;
    }
    // One that is not sent is not one that is sent empty: each name says how often it comes.
    let varies = VARIES.iter().flat_map(|name| {
        let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
        [HeaderValue::from(values.len())].into_iter().chain(values.into_iter().cloned()).collect::<Vec<_>>()
    });
    Some((request.uri().to_string(), varies.collect()))
}

impl Answer {
    /// The whole of an answer that is made here; any other is given back.
    async fn of(response: Response) -> Result<Self, Response> {
        let length = response.body().size_hint().upper();
        // What is packed has no length; what had a tag before, or says what is wrong, was not too long.
        let is_short = length.is_some_and(|length| length <= LONGEST);
        let is_made_here = response.status().is_client_error()
            || response.status().is_server_error()
            || response.headers().contains_key(header::ETAG);
        let is_for_one = response.status().is_success()
            && response.headers().get(header::CACHE_CONTROL).is_some_and(|value| value == "no-store");
        let is_whole = (is_short || is_made_here)
            && !is_for_one
            && !response.headers().contains_key(header::ACCEPT_RANGES);
        if !is_whole {
            return Err(response);
        }
        let (parts, body) = response.into_parts();
        match to_bytes(body, usize::MAX).await {
            Ok(bytes) => Ok(Self { status: parts.status, headers: parts.headers, bytes }),
            Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.bytes));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// Has those who ask for the same at once share the answer.
pub(crate) async fn share(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Some(key) = key(&request) else { return next.run(request).await };
    let asked = Instant::now();
    let asking = shared.asking(key);
    let mut guard = asking.slot.lock().await;
    if let Some(made) = guard.as_ref().filter(|made| made.began >= asked) {
        let answer = made.answer.clone();
        drop(guard);
        // Each makes its own, all at once, where one cannot serve them.
        return match answer {
            Some(answer) => answer.into_response(),
            None => next.run(request).await,
        };
    }
    let began = Instant::now();
    match Answer::of(next.run(request).await).await {
        Ok(answer) => {
            *guard = Some(Made { began, answer: Some(answer.clone()) });
            answer.into_response()
        }
        Err(response) => {
            *guard = Some(Made { began, answer: None });
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{Router, middleware::from_fn_with_state, routing::get};
    use futures::future::join_all;
    use tower::ServiceExt;

    use super::*;

    /// A site with one page that counts how often it is made.
    struct Page {
        router: Router,
        shared: Shared,
        failed: Arc<AtomicUsize>,
    }

    impl Page {
        fn new() -> Self {
            let [made, failed] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
            let shared = Shared::default();
            let page = move || {
                let made = made.clone();
                async move {
                    let n = made.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    n.to_string()
                }
            };
            let failures = failed.clone();
            let away = move || {
                let failures = failures.clone();
                async move {
                    tokio::task::yield_now().await;
                    (StatusCode::SERVICE_UNAVAILABLE, failures.fetch_add(1, Ordering::Relaxed).to_string())
                }
            };
            let stream =
                async || Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>("a part")]));
            let router =
                Router::new().route("/", get(page)).route("/away", get(away)).route("/stream", get(stream));
            let router = router.layer(from_fn_with_state(shared.clone(), share));
            Self { router, shared, failed }
        }

        async fn ask(&self, address: &str, headers: &[(&'static str, &str)]) -> Response {
            let mut request = Request::builder().uri(address);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
        }

        async fn text(&self, address: &str, headers: &[(&'static str, &str)]) -> String {
            let body = self.ask(address, headers).await.into_body();
            String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap()
        }
    }

    #[tokio::test]
    async fn who_asks_at_once_shares_and_who_asks_later_gets_what_is_newer() {
        let page = Page::new();
        let all = join_all((0..100).map(|_| page.text("/", &[]))).await;
        // Those that asked while the first was made have the second.
        assert_eq!((&*all[0], all[1..].iter().all(|text| text == "1")), ("0", true), "{all:?}");
        assert_eq!(page.text("/", &[]).await, "2");
        assert!(page.shared.all().is_empty());
    }

    #[tokio::test]
    async fn other_questions_have_other_answers() {
        let page = Page::new();
        let headers: [&[(&str, &str)]; 5] = [
            &[],
            &[("accept", "application/json")],
            &[("accept-encoding", "gzip")],
            &[("if-none-match", "W/\"1\"")],
            &[("authorization", "Bearer x")],
        ];
        let all =
            join_all(headers.iter().map(|headers| page.text("/", headers)).chain([page.text("/?a", &[])]));
        let mut all = all.await;
        all.sort();
        assert_eq!(all, ["0", "1", "2", "3", "4", "5"]);
        let tokens = join_all((0..3).map(|_| page.text("/", &[("authorization", "Bearer x")]))).await;
        assert_eq!(tokens.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{tokens:?}");
        assert!(page.shared.all().is_empty());
    }

    #[tokio::test]
    async fn failures_are_shared_and_streams_are_not() {
        let page = Page::new();
        let answers = join_all((0..10).map(|_| page.ask("/away", &[]))).await;
        assert!(answers.iter().all(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE));
        assert!(page.failed.load(Ordering::Relaxed) <= 2);
        let streams = join_all((0..10).map(|_| page.text("/stream", &[]))).await;
        assert!(streams.iter().all(|text| text == "a part"), "{streams:?}");
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_others_their_answer() {
        let page = Page::new();
        {
            let mut first = std::pin::pin!(page.text("/", &[]));
            assert!(futures::poll!(&mut first).is_pending());
            let mut second = std::pin::pin!(page.text("/", &[]));
            assert!(futures::poll!(&mut second).is_pending());
        }
        assert!(page.shared.all().is_empty());
        let text = tokio::time::timeout(std::time::Duration::from_secs(10), page.text("/", &[])).await;
        assert_eq!(text.unwrap(), "1");
    }
}
