//! A TCP proxy that stands before a server and breaks what goes through it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

use crate::ports::free_port;

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Connections made under a smaller number are cut.
    generation: u64,
    refuse: bool,
    hold: bool,
    /// In both directions.
    silent: bool,
    /// Before each piece that goes through, in either direction.
    delay: Duration,
    /// Where new connections go.
    server: Option<SocketAddr>,
}

/// A proxy on a port of its own; it lives on the runtime of the test that started it.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    listening: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl TcpProxy {
    /// Starts a proxy before `server`.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let (state, states) = watch::channel(State::default());
        let (listens, listening) = watch::channel(false);
        let task = tokio::spawn(async move {
            if let Err(e) = listen(address, server, states, listens).await {
                eprintln!("the proxy {address} ended: {e:#}");
            }
        });
        let proxy = Self { address, state, listening, task };
        proxy.wait_until_listening(true).await?;
        Ok(proxy)
    }

    /// The address to give to clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with host and port replaced by the proxy's.
    pub fn before(&self, url: &str) -> Result<String> {
        let mut url = url::Url::parse(url)?;
        url.set_ip_host(self.address.ip()).ok().context("a URL with a host")?;
        url.set_port(Some(self.address.port())).ok().context("a URL with a port")?;
        Ok(url.into())
    }

    /// Closes all connections; bytes that were held are lost. New ones are taken.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// From here on new connections are refused. Those that exist stay.
    pub async fn refuse(&self) -> Result<()> {
        self.state.send_modify(|state| state.refuse = true);
        self.wait_until_listening(false).await
    }

    /// Takes new connections again.
    pub async fn restore(&self) -> Result<()> {
        self.state.send_modify(|state| state.refuse = false);
        self.wait_until_listening(true).await
    }

    /// From here on what clients send stays in the proxy; what the server sends goes through. Followed by
    /// [`Self::cut`] it loses, say, the client's acknowledgements.
    pub fn hold_client_to_server(&self) {
        self.state.send_modify(|state| state.hold = true);
    }

    /// From here on nothing goes through in either direction, as where a cable is pulled; new connections come to nothing too.
    pub fn silence(&self) {
        self.state.send_modify(|state| state.silent = true);
    }

    /// Everything takes so much longer; zero: no longer than it does.
    pub fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }

    /// New connections go to another server; those that exist are closed.
    pub fn redirect(&self, server: SocketAddr) {
        self.state.send_modify(|state| {
            state.server = Some(server);
            state.generation += 1;
        });
    }

    /// Lets go what is held or silent.
    pub fn resume(&self) {
        self.state.send_modify(|state| (state.hold, state.silent) = (false, false));
    }

    async fn wait_until_listening(&self, wanted: bool) -> Result<()> {
        let mut listening = self.listening.clone();
        let seen =
            tokio::time::timeout(Duration::from_secs(10), listening.wait_for(|is| *is == wanted)).await;
        seen.context("the proxy does not follow")?.context("the proxy has ended").map(drop)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn listen(
    address: SocketAddr,
    server: SocketAddr,
    mut states: watch::Receiver<State>,
    listening: watch::Sender<bool>,
) -> Result<()> {
    loop {
        states.wait_for(|state| !state.refuse).await?;
        let listener = TcpListener::bind(address).await?;
        listening.send_replace(true);
        let connections = states.clone();
        loop {
            tokio::select! {
                refused = states.wait_for(|state| state.refuse) => {
                    refused?;
                    break;
                }
                accepted = listener.accept() => {
                    tokio::spawn(carry(accepted?.0, server, connections.clone()));
                }
            }
        }
        drop(listener);
        listening.send_replace(false);
    }
}

/// One connection. How it ends does not matter: both ends see it closed.
async fn carry(client: TcpStream, server: SocketAddr, states: watch::Receiver<State>) {
    let State { generation, server: other, .. } = *states.borrow();
    let Ok(server) = TcpStream::connect(other.unwrap_or(server)).await else { return };
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let mut cuts = states.clone();
    tokio::select! {
        _ = cuts.wait_for(|state| state.generation > generation) => (),
        () = pump(client_reads, server_writes, states.clone(), true) => (),
        () = pump(server_reads, client_writes, states, false) => (),
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut states: watch::Receiver<State>,
    by_client: bool,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let passes = states.wait_for(|state| !(state.silent || state.hold && by_client)).await;
        let Ok(delay) = passes.map(|state| state.delay) else { return };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
