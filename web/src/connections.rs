//! Connections: each address may hold so many, and whoever opens one and says nothing does not keep it.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use rustix::{
    net::sockopt,
    process::{Resource, getrlimit},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower_http::timeout::TimeoutBody;

/// What one address gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How long it may take to ask, to ask again, and for each piece of what it sends.
    silent: Duration,
    /// How many connections it has at once.
    connections: usize,
    /// How many all addresses have together: what is left of the process's descriptors is for files, the database and the store.
    all: usize,
}

/// Behind some addresses are many people, each with a browser that keeps several connections.
const CONNECTIONS: usize = 400;
/// Whoever has an IPv6 network has many addresses: so many times as much for all of it.
const NETWORK_TIMES: usize = 4;
/// So many of ten descriptors.
const TENTHS: u64 = 8;

impl Bounds {
    /// For this process.
    pub(crate) fn usual() -> Self {
        // None: without end.
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let all = usize::try_from(descriptors / 10 * TENTHS).unwrap_or(usize::MAX);
        Self { silent: Duration::from_secs(30), connections: CONNECTIONS, all }
    }
}

/// A peer that takes nothing of what is sent to it for so long is gone: what waits for it lies in memory.
const UNREAD: Duration = Duration::from_secs(600);
/// After so long without a word the machine is asked whether it is still there.
const STILL_THERE: Duration = Duration::from_secs(60);
/// Pause where the process or the machine has no descriptor left.
const PAUSE: Duration = Duration::from_secs(1);

/// How many connections each address has, and whether one of it was refused. Cloning shares it.
#[derive(Debug, Clone, Default)]
struct Held(Arc<Mutex<HashMap<Holder, (usize, bool)>>>);

/// Who holds connections. Each that is counted ends with its [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Address(IpAddr),
    /// All of a site's IPv6 network, the first 48 bits (RFC 6177).
    Network(Ipv6Addr),
    All,
}

/// One of them; it ends with this.
struct Place {
    held: Held,
    holders: Vec<Holder>,
}

impl Bounds {
    /// As whom an address counts, and how many connections each may have.
    fn holders(self, address: IpAddr) -> Vec<(Holder, usize)> {
        let network = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> 48));
                Some((Holder::Network(network), self.connections.saturating_mul(NETWORK_TIMES)))
            }
        };
        let all = [(Holder::Address(address), self.connections), (Holder::All, self.all)];
        all.into_iter().chain(network).collect()
    }
}

impl Held {
    fn all(&self) -> MutexGuard<'_, HashMap<Holder, (usize, bool)>> {
        // Changes are whole even where a panic cut one short.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None where the address, its network or all together have enough.
    fn take(&self, address: IpAddr, bounds: Bounds) -> Option<Place> {
        let mut place = Place { held: self.clone(), holders: Vec::new() };
        for (holder, most) in bounds.holders(address) {
            let mut all = self.all();
            let (number, refused) = all.entry(holder).or_default();
            if *number < most {
                *number += 1;
                drop(all);
                place.holders.push(holder);
                continue;
            }
            // Told once, however many come.
            if !std::mem::replace(refused, true) {
                tracing::warn!(client.address = %address, connections.of = ?holder, "too many connections; more are closed");
            }
            drop(all);
            return None;
        }
        Some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.held.all();
        for holder in &self.holders {
            if let Some((number, _)) = all.get_mut(holder) {
                *number -= 1;
                if *number == 0 {
                    all.remove(holder);
                }
            }
        }
    }
}

/// Serves whoever connects until `drain`, and then finishes what is open. `bound` says as whom a peer counts; proxies and
/// this machine's own programs count as nobody, and may be silent for as long as they like.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    bound: impl Fn(IpAddr) -> Option<IpAddr>,
    bounds: Bounds,
    drain: CancellationToken,
) {
    let silent = bounds.silent;
    let (mut patient, mut strict) = (http1::Builder::new(), http1::Builder::new());
    patient.header_read_timeout(None);
    strict.timer(TokioTimer::new()).header_read_timeout(silent);
    let (graceful, held) = (GracefulShutdown::new(), Held::default());
    while let Some(accepted) = drain.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_peer(&error) => continue,
            Err(error) => {
                tracing::warn!(error = %error, "no connection can be taken; trying again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let place = bound(peer.ip()).map(|address| held.take(address, bounds));
        let http = match &place {
            Some(None) => continue,
            Some(Some(_)) => &strict,
            None => &patient,
        };
        let patience = place.is_some().then_some(silent);
        prepare(&stream, patience.is_some());
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(|body| match patience {
                Some(silent) => Body::new(TimeoutBody::new(silent, body)),
                None => Body::new(body),
            });
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(error = %error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The peer was gone before it was taken.
fn is_of_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
    )
}

/// Lines of logs and small answers leave at once; a peer that vanished without a word is noticed, and so is, where it is bound,
/// one that takes nothing. Where any of it cannot be had, all is as it would be without.
fn prepare(stream: &TcpStream, is_bound: bool) {
    if is_bound {
        let unread = u32::try_from(UNREAD.as_millis()).unwrap_or(u32::MAX);
        let _ = sockopt::set_tcp_user_timeout(stream, unread);
    }
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_tcp_keepidle(stream, STILL_THERE);
    let _ = sockopt::set_socket_keepalive(stream, true);
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, net::SocketAddr};

    use axum::{body::Bytes, routing};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        task::JoinHandle,
    };

    use super::*;

    const ADDRESS: &str = "192.0.2.1";
    /// So many each.
    const FEW: usize = 5;

    struct Served {
        address: SocketAddr,
        drain: CancellationToken,
        task: JoinHandle<()>,
    }

    impl Served {
        async fn new(silent: Duration, is_bound: bool) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (address, drain) = (listener.local_addr().unwrap(), CancellationToken::new());
            let slowly = async move || {
                let parts = futures::stream::unfold(0, move |n| async move {
                    tokio::time::sleep(silent).await;
                    (n < 2).then(|| (Ok::<_, Infallible>(Bytes::from_static(b"part;")), n + 1))
                });
                Body::from_stream(parts)
            };
            let who = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string();
            let router = Router::new()
                .route("/", routing::get(who))
                .route("/slowly", routing::get(slowly))
                .route("/take", routing::post(async |body: Bytes| body));
            let bound = move |_| is_bound.then(|| ADDRESS.parse().unwrap());
            let bounds = Bounds { silent, connections: FEW, all: 2 * FEW };
            let task = tokio::spawn(serve(listener, router, bound, bounds, drain.clone()));
            Self { address, drain, task }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        /// What is answered until the connection ends, which nobody ends here.
        async fn said(&self, said: &str) -> String {
            let mut stream = self.connect().await;
            stream.write_all(said.as_bytes()).await.unwrap();
            until_end(&mut stream).await
        }

        async fn stop(self) {
            self.drain.cancel();
            self.task.await.unwrap();
        }
    }

    async fn until_end(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(60), read).await.expect("it ends");
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn who_says_nothing_is_left_and_who_is_answered_is_not() {
        let served = Served::new(Duration::from_secs(1), true).await;
        let [nothing, half, whole, slowly, body] = futures::future::join_all([
            served.said(""),
            served.said("GET / HTTP/1.1\r\nHost: x\r\n"),
            served.said("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
            served.said("GET /slowly HTTP/1.1\r\nHost: x\r\n\r\n"),
            served.said("POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc"),
        ])
        .await
        .try_into()
        .unwrap();
        assert_eq!((nothing.as_str(), half.contains("200 OK")), ("", false), "{half}");
        assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with("127.0.0.1"), "{whole}");
        assert_eq!(slowly.matches("part;").count(), 2, "{slowly}");
        assert!(body.starts_with("HTTP/1.1 400"), "{body}");
        served.stop().await;
    }

    #[tokio::test]
    async fn so_many_of_one_address() {
        let served = Served::new(Duration::from_secs(60), true).await;
        let mut open = Vec::new();
        for _ in 0..FEW {
            open.push(served.connect().await);
        }
        assert_eq!(served.said("").await, "", "closed at once");
        drop(open.pop());
        // The one that ended is noticed some time.
        while !served.said("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.contains("200 OK")
        {
        }
        drop(open);
        served.stop().await;
    }

    #[test]
    fn a_network_and_all_together_are_bound_too() {
        let bounds = Bounds { silent: Duration::ZERO, connections: 2, all: 10 };
        let held = Held::default();
        let taken = |address: String| held.take(address.parse().unwrap(), bounds);
        let network: Vec<Place> = (0..100).filter_map(|n| taken(format!("2001:db8:1:{n}::"))).collect();
        assert_eq!(network.len(), 2 * NETWORK_TIMES);
        let all: Vec<Place> = (0..100).filter_map(|n| taken(format!("192.0.2.{n}"))).collect();
        assert_eq!(network.len() + all.len(), 10);
        drop((network, all));
        assert!(held.all().values().all(|(number, _)| *number == 0));
    }

    #[tokio::test]
    async fn who_is_not_bound_may_be_silent() {
        let served = Served::new(Duration::from_millis(1), false).await;
        let mut open = Vec::new();
        for _ in 0..=FEW {
            open.push(served.connect().await);
        }
        for stream in &mut open {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            assert!(until_end(stream).await.starts_with("HTTP/1.1 200"));
        }
        served.stop().await;
    }
}
