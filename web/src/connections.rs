//! Connections: each address may hold so many, and whoever opens one and says nothing does not keep it.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    net::IpAddr,
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
use rustix::net::sockopt;
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
}

/// Behind some addresses are many people, each with a browser that keeps several connections.
pub(crate) const USUAL: Bounds = Bounds { silent: Duration::from_secs(30), connections: 400 };
/// After so long without a word the machine is asked whether it is still there.
const STILL_THERE: Duration = Duration::from_secs(60);
/// Pause where the process or the machine has no descriptor left.
const PAUSE: Duration = Duration::from_secs(1);

/// How many connections each address has, and whether one of it was refused. Cloning shares it.
#[derive(Debug, Clone, Default)]
struct Held(Arc<Mutex<HashMap<IpAddr, (usize, bool)>>>);

/// One of them; it ends with this.
struct Place {
    held: Held,
    address: IpAddr,
}

impl Held {
    fn all(&self) -> MutexGuard<'_, HashMap<IpAddr, (usize, bool)>> {
        // Changes are whole even where a panic cut one short.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None where the address has enough.
    fn take(&self, address: IpAddr, most: usize) -> Option<Place> {
        let mut all = self.all();
        let (number, refused) = all.entry(address).or_default();
        if *number >= most {
            // Told once, however many come.
            if !std::mem::replace(refused, true) {
                tracing::warn!(client.address = %address, "an address has too many connections; more are closed");
            }
            return None;
        }
        *number += 1;
        Some(Place { held: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.held.all();
        if let Some((number, _)) = all.get_mut(&self.address) {
            *number -= 1;
            if *number == 0 {
                all.remove(&self.address);
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
    Bounds { silent, connections }: Bounds,
    drain: CancellationToken,
) {
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
        let place = bound(peer.ip()).map(|address| held.take(address, connections));
        let http = match &place {
            Some(None) => continue,
            Some(Some(_)) => &strict,
            None => &patient,
        };
        let patience = place.is_some().then_some(silent);
        prepare(&stream);
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

/// Lines of logs and small answers leave at once; a peer that vanished without a word is noticed. Where either cannot be had,
/// all is as it would be without.
fn prepare(stream: &TcpStream) {
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
            let bounds = Bounds { silent, connections: FEW };
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
