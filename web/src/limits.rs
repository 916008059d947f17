//! How much one address may ask for: so many pages in a while, and so many at once. Whoever asks for more is told so at once,
//! which costs nearly nothing: others do not notice.

use std::{
    borrow::Cow,
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::{Body, HttpBody},
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

use crate::{app::App, failure::Failure, settings::Settings};

/// What a page costs; see [`cost`].
const PAGE: u32 = 10;
/// What a costly page costs.
const COSTLY: u32 = 5 * PAGE;
/// So many seconds' worth may come at once.
const BURST_SECONDS: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// So much of one address is worked on at once. What is sent already does not count.
const AT_ONCE: usize = 32;
/// So many logs one address follows at once: some are of many people.
const STREAMS_AT_ONCE: usize = 100;
/// So many it has read at once: to unpack one takes a processor.
const LOGS_AT_ONCE: usize = 8;
/// So many it has searched at once: that may take a processor for seconds.
const SEARCHES_AT_ONCE: usize = 2;
/// Answers that are longer count until they are sent, in bytes: so long they lie in memory.
const LONG: u64 = 1 << 20;
/// What goes on for as long as somebody looks.
const STREAM: &str = "/run/{uuid}/log/events";
/// So much of all addresses: more than this many tasks that wait for the database help nobody.
const ALL_AT_ONCE: usize = 1024;
/// So often addresses that have not been seen lately are forgotten.
const SWEEP_EVERY: usize = 4096;

/// What is known of addresses. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Limits(Arc<Known>);

struct Known {
    rate: Option<DefaultKeyedRateLimiter<IpAddr>>,
    /// The most that one address can pay at once.
    most: u32,
    at_once: Mutex<HashMap<Asker, usize>>,
    all: AtomicUsize,
    asked: AtomicUsize,
}

/// Who asks, and for what.
type Asker = (IpAddr, Work);

/// What is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Work {
    Page,
    Log,
    Search,
    Stream,
}

impl Work {
    fn of(route: &str, path: &str, query: Option<&str>) -> Self {
        let searches = || form_urlencoded::parse(query.unwrap_or_default().as_bytes()).any(|(n, _)| n == "q");
        match path {
            _ if route == STREAM => Self::Stream,
            path if is_log(path) && searches() => Self::Search,
            path if is_log(path) => Self::Log,
            _ => Self::Page,
        }
    }

    /// How much of it one address gets at once.
    const fn most(self) -> usize {
        match self {
            Self::Page => AT_ONCE,
            Self::Log => LOGS_AT_ONCE,
            Self::Search => SEARCHES_AT_ONCE,
            Self::Stream => STREAMS_AT_ONCE,
        }
    }
}

/// The page of a log.
fn is_log(path: &str) -> bool {
    percent_decode_str(path).decode_utf8_lossy().trim_end_matches('/').ends_with("/log")
}

/// What is worked on, or goes on; it ends with this.
struct Open {
    limits: Limits,
    asker: Option<Asker>,
    /// It counts for all addresses together.
    counts: bool,
}

impl Limits {
    pub(crate) fn new(settings: &Settings) -> Self {
        let units = settings.address_rate.saturating_mul(PAGE);
        let quota = NonZeroU32::new(units)
            .map(|units| Quota::per_second(units).allow_burst(units.saturating_mul(BURST_SECONDS)));
        Self(Arc::new(Known {
            rate: quota.map(RateLimiter::keyed),
            most: units.saturating_mul(BURST_SECONDS.get()),
            at_once: Mutex::default(),
            all: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
        }))
    }

    fn at_once(&self) -> MutexGuard<'_, HashMap<Asker, usize>> {
        // Numbers are whole even where a panic cut a change short.
        self.0.at_once.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this may be worked on now. None: whoever asks is not bound.
    fn open(&self, address: Option<IpAddr>, cost: u32, work: Work) -> Result<Open, Failure> {
        if let (Some(address), Some(rate)) = (address, &self.0.rate) {
            self.within(rate, address, cost)?;
        }
        let mut open = Open { limits: self.clone(), asker: None, counts: true };
        if self.0.all.fetch_add(1, Ordering::Relaxed) >= ALL_AT_ONCE {
            return Err(Failure::busy());
        }
        let Some(address) = address.filter(|_| self.0.rate.is_some()) else { return Ok(open) };
        let asker = (address, work);
        let mut at_once = self.at_once();
        let number = at_once.entry(asker).or_default();
        if *number >= work.most() {
            return Err(Failure::too_fast(1));
        }
        *number += 1;
        drop(at_once);
        open.asker = Some(asker);
        Ok(open)
    }

    fn within(
        &self,
        rate: &DefaultKeyedRateLimiter<IpAddr>,
        address: IpAddr,
        cost: u32,
    ) -> Result<(), Failure> {
        if self.0.asked.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            rate.retain_recent();
        }
        // More than there ever is cannot be paid.
        let cost = NonZeroU32::new(cost.min(self.0.most)).unwrap_or(NonZeroU32::MIN);
        let Ok(Err(not_until)) = rate.check_key_n(&address, cost) else {
            return Ok(());
        };
        let wait = not_until.wait_time_from(rate.clock().now());
        Err(Failure::too_fast(i64::try_from(wait.as_secs()).unwrap_or(i64::MAX).saturating_add(1)))
    }
}

impl Open {
    /// From here on it counts for its address alone.
    fn goes_on(&mut self) {
        if std::mem::take(&mut self.counts) {
            self.limits.0.all.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.goes_on();
        let Some(asker) = self.asker else { return };
        let mut at_once = self.limits.at_once();
        if let Some(number) = at_once.get_mut(&asker) {
            *number -= 1;
            if *number == 0 {
                at_once.remove(&asker);
            }
        }
    }
}

/// What is not worked on, and why.
#[derive(Debug, Clone)]
pub(crate) struct Refused(Failure);

/// Answers what is not worked on.
pub(crate) async fn refuse(mut request: Request, next: Next) -> Response {
    match request.extensions_mut().remove::<Refused>() {
        Some(Refused(failure)) => failure.into_response(),
        None => next.run(request).await,
    }
}

/// Bounds what an address may ask for: it is counted here, before answers are shared, and refused where answers are made.
pub(crate) async fn bound(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let address = peer.and_then(|peer| asking(app.settings(), peer, request.headers()));
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let cost = cost(route, request.uri().path(), request.uri().query());
    let work = Work::of(route, request.uri().path(), request.uri().query());
    match app.limits().open(address, cost, work) {
        Ok(mut open) => {
            let response = next.run(request).await;
            // What is packed as it is sent lies in memory whole.
            let is_packed = response.headers().contains_key(header::CONTENT_ENCODING)
                && !response.headers().contains_key(header::ACCEPT_RANGES);
            let is_long = response.body().size_hint().exact().map_or(is_packed, |length| length > LONG);
            if work != Work::Stream && !is_long {
                return response;
            }
            open.goes_on();
            response.map(|body| held(body, open))
        }
        Err(failure) => {
            request.extensions_mut().insert(Refused(failure));
            next.run(request).await
        }
    }
}

/// A body that counts as long as somebody reads it.
fn held(body: Body, open: Open) -> Body {
    Body::from_stream(body.into_data_stream().inspect(move |_| {
        let _ = &open;
    }))
}

/// What an answer costs: a file hardly anything, what reads much of the past or unpacks logs more than a page.
fn cost(route: &str, path: &str, query: Option<&str>) -> u32 {
    let query = query.unwrap_or_default().as_bytes();
    let asks = |(name, value): (Cow<'_, str>, Cow<'_, str>)| {
        matches!(&*name, "q" | "user" | "offset") || name == "limit" && value.len() > 3
    };
    if route.starts_with("/results") {
        // A file, or a list of them.
        let is_list = path.trim_matches('/').split('/').count() < 3 || path.ends_with('/');
        return if is_list { PAGE } else { 1 };
    }
    if ["/static/{file}", "/robots.txt"].contains(&route) {
        return 1;
    }
    // What is skipped is read.
    let skipped = form_urlencoded::parse(query).filter(|(name, _)| name == "offset");
    let skipped = skipped.filter_map(|(_, value)| value.parse::<u32>().ok()).max().unwrap_or_default();
    let is_narrow =
        || form_urlencoded::parse(query).any(|(name, _)| matches!(&*name, "release" | "arch" | "result"));
    match route.strip_prefix("/api/v1").unwrap_or(route) {
        "/search"
        | "/compare"
        | "/running"
        | "/waiting"
        | "/statistics"
        | "/queues.json"
        | "/queued.json"
        | "/static/running.json" => COSTLY,
        route
            if ["/trigger/", "/triggers/", "/feeds/", "/compare/"]
                .iter()
                .any(|base| route.starts_with(base)) =>
        {
            COSTLY
        }
        "/user/{name}" | "/user/{name}/" | "/users/{user}" if is_narrow() => COSTLY,
        _ if is_log(path) || form_urlencoded::parse(query).any(asks) => {
            COSTLY.saturating_add((skipped / 1000).saturating_mul(PAGE))
        }
        _ => PAGE,
    }
}

/// Who asks: the peer, or whom the proxies that are trusted name. None for this machine's own programs and for the proxies
/// themselves, which are not bound.
pub(crate) fn asking(settings: &Settings, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
    let trusted = |address: IpAddr| settings.trusted_proxies.iter().any(|network| network.contains(address));
    let mut address = peer.to_canonical();
    // Each proxy adds whom it was asked by at the end: what stands before the first that is not ours may be invented, and of
    // any bytes.
    let values: Vec<&[u8]> = headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes).collect();
    let named = values.iter().flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let named: Vec<&[u8]> = named.filter(|name| !name.is_empty()).collect();
    for name in named.into_iter().rev() {
        if !trusted(address) {
            break;
        }
        match named_address(name) {
            Some(before) => address = before.to_canonical(),
            // Whoever it was does not go free: all whom this proxy does not name count as one.
            None => return Some(network(address)),
        }
    }
    (!address.is_loopback() && !trusted(address)).then(|| network(address))
}

/// Some proxies name the port, too.
fn named_address(name: &[u8]) -> Option<IpAddr> {
    let name = std::str::from_utf8(name).ok()?;
    name.parse().ok().or_else(|| name.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Whoever has an IPv6 address has at least 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    #[test]
    fn who_asks() {
        let settings = Settings {
            trusted_proxies: ["10.0.0.0/8", "127.0.0.1"].map(|n| n.parse().unwrap()).into(),
            ..settings()
        };
        let of = |peer: &str, forwarded: &str| {
            let headers = HeaderMap::from_iter([(
                axum::http::HeaderName::from_static("x-forwarded-for"),
                HeaderValue::from_bytes(forwarded.as_bytes()).unwrap(),
            )]);
            asking(&settings, peer.parse().unwrap(), &headers).map(|address| address.to_string())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of("203.0.113.9", "192.0.2.1"), some("203.0.113.9"), "who is not trusted is not believed");
        assert_eq!(of("10.1.1.1", "192.0.2.1"), some("192.0.2.1"));
        assert_eq!(of("10.1.1.1", "192.0.2.1, 203.0.113.9, 10.2.2.2"), some("203.0.113.9"));
        assert_eq!(of("127.0.0.1", "nonsense, 192.0.2.1"), some("192.0.2.1"));
        assert_eq!(of("10.1.1.1", "192.0.2.1:4711"), some("192.0.2.1"), "with a port");
        for unreadable in ["nonsense", "192.0.2.1, unknown", "\u{e9}"] {
            assert_eq!(
                of("10.1.1.1", unreadable),
                some("10.1.1.1"),
                "all whom the proxy does not name are one"
            );
        }
        assert_eq!(
            of("10.1.1.1", "\u{e9}, 192.0.2.1"),
            some("192.0.2.1"),
            "what is invented changes nothing"
        );
        assert_eq!(of("::ffff:203.0.113.9", ""), some("203.0.113.9"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6", ""), some("2001:db8:1:2::"));
        for (peer, forwarded) in [("127.0.0.1", ""), ("::1", "192.0.2.1"), ("10.1.1.1", "10.1.1.2")] {
            assert_eq!(of(peer, forwarded), None, "{peer}");
        }
    }

    #[test]
    fn as_much_as_was_said_and_others_do_not_notice() {
        let limits = Limits::new(&Settings { address_rate: 1, ..settings() });
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let taken = (0..100).take_while(|_| limits.open(Some(one), PAGE, Work::Page).is_ok()).count();
        assert!((10..=11).contains(&taken), "{taken}");
        let refused = limits.open(Some(one), PAGE, Work::Page).err().unwrap();
        assert_eq!((refused.status.as_u16(), refused.retry_after.is_some_and(|s| s >= 1)), (429, true));
        assert!(limits.open(Some(other), COSTLY, Work::Page).is_ok());
        assert!((0..1000).all(|_| limits.open(None, COSTLY, Work::Page).is_ok()), "who is not bound");
    }

    #[test]
    fn only_so_much_at_once() {
        let limits = Limits::new(&Settings { address_rate: 1000, ..settings() });
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut open: Vec<_> =
            (0..AT_ONCE).map(|_| limits.open(Some(one), 1, Work::Page).ok().unwrap()).collect();
        assert_eq!(limits.open(Some(one), 1, Work::Page).err().unwrap().status, 429);
        assert!(limits.open(Some(other), 1, Work::Page).is_ok());
        let streams: Vec<_> =
            (0..STREAMS_AT_ONCE).map(|_| limits.open(Some(one), 1, Work::Stream).ok().unwrap()).collect();
        assert_eq!(limits.open(Some(one), 1, Work::Stream).err().unwrap().status, 429);
        open.pop();
        assert!(limits.open(Some(one), 1, Work::Page).is_ok());
        drop(streams);
        let all: Vec<_> = std::iter::from_fn(|| limits.open(None, 1, Work::Page).ok()).collect();
        assert_eq!(
            (all.len() + open.len(), limits.open(Some(other), 1, Work::Page).err().unwrap().status.as_u16()),
            (ALL_AT_ONCE, 503)
        );
        drop((all, open));
        assert!(limits.at_once().is_empty() && limits.0.all.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn costs() {
        assert_eq!(cost("/results/{*path}", "/results/a/log.gz", None), 1);
        assert_eq!(cost("/packages/{*path}", "/packages/green", None), PAGE);
        assert_eq!(cost("/packages/{*path}", "/packages/green/noble/amd64/2026@/log", None), COSTLY);
        assert_eq!(cost("/recent", "/recent", Some("limit=5&user=joe")), COSTLY);
        assert_eq!(cost("/recent", "/recent", Some("limit=100")), PAGE);
        assert_eq!(cost("/recent", "/recent", Some("limit=1000")), COSTLY);
        assert_eq!(cost("/recent", "/recent", Some("%6Fffset=5")), COSTLY);
        assert_eq!(cost("/recent", "/recent", Some("offset=100000")), COSTLY + 100 * PAGE);
        assert_eq!(cost("/packages/{*path}", "/packages/green/noble/amd64/2026@/log/", None), COSTLY);
        for list in ["/results/a/", "/results/a", "/results/"] {
            assert_eq!(cost("/results/{*path}", list, None), PAGE, "{list}");
        }
        assert_eq!(cost("/user/{name}/", "/user/joe/", Some("result=fail")), COSTLY);
        assert_eq!(cost("/recent", "/recent", Some("offset=0&offset=9000")), COSTLY + 9 * PAGE);
        assert_eq!(cost("/packages/{*path}", "/packages/green/noble/amd64/2026@/%6Cog", None), COSTLY);
        assert_eq!(cost("/api/v1/triggers/{source}/{version}", "", None), COSTLY);
        assert_eq!(cost("/api/v1/results", "/api/v1/results", None), PAGE);
        assert_eq!(cost(STREAM, "/run/x/log/events", None), PAGE);
        assert_eq!(cost("", "/nope", None), PAGE);
    }
}
