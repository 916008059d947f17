//! One try to reach the broker.

use std::{
    io,
    net::{Shutdown, TcpStream},
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapin::{AsyncTcpStream, Connection, ConnectionProperties, ErrorKind, tcp::RustlsConnector};
use tokio::time::timeout;

use super::{
    address::Address,
    errors::{handshake, text},
};

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody answers, or nobody who speaks AMQP.
    Away(String),
    /// The broker answers and does not let us in: a wrong password, an unknown vhost.
    Refused(String),
    /// Whoever answers is not trusted, or does not speak TLS.
    Unsafe(String),
}

/// A second handle of the socket. lapin's thread waits for ever for a broker that accepts a connection and says nothing;
/// shutting the socket down ends it.
type Socket = Arc<Mutex<Option<TcpStream>>>;

/// Connects and shakes hands. Returns within twice the address's timeout.
pub(super) async fn dial(
    address: &Address,
    connection_name: &str,
    tls: Option<&RustlsConnector>,
) -> Result<Connection, Trouble> {
    let socket = Socket::default();
    let answer = timeout(address.timeout * 2, shake(address, connection_name, tls, socket.clone())).await;
    let socket = socket.lock().unwrap_or_else(PoisonError::into_inner).take();
    match answer {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) if error.is_amqp_error() => Err(Trouble::Refused(text(&error))),
        Ok(Err(error)) => {
            Err(handshake(&error)
                .map_or_else(|| Trouble::Away(ended(&error, tls.is_some())), Trouble::Unsafe))
        }
        Err(_) => {
            // A socket that is gone already needs no end.
            socket.map(|socket| socket.shutdown(Shutdown::Both));
            Err(Trouble::Away("it accepts the connection and does not answer".into()))
        }
    }
}

/// One that wants TLS may hang up before its first word about that is read.
fn ended(error: &lapin::Error, is_tls: bool) -> String {
    let text = text(error);
    match error.kind() {
        ErrorKind::IOError(error) if !is_tls && error.kind() == io::ErrorKind::ConnectionReset => {
            format!("{text}; where it wants TLS at this port, the URL begins with amqps://")
        }
        _ => text,
    }
}

async fn shake(
    address: &Address,
    connection_name: &str,
    tls: Option<&RustlsConnector>,
    socket: Socket,
) -> lapin::Result<Connection> {
    let (limit, tls) = (address.timeout, tls.cloned());
    let properties = ConnectionProperties::default().with_connection_name(connection_name.into());
    Connection::connector(
        address.uri.clone(),
        lapin::runtime::default_runtime()?,
        async move |uri, runtime| {
            let server = runtime.to_socket_addrs((uri.authority.host.clone(), uri.authority.port));
            let stream = within(limit, AsyncTcpStream::connect(&runtime, server)).await?;
            if let AsyncTcpStream::Plain(plain) = &stream {
                let second = TcpStream::from(plain.get_ref().as_fd().try_clone_to_owned()?);
                *socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(second);
            }
            match &tls {
                None => Ok(stream),
                Some(tls) => Ok(within(limit, stream.into_rustls(tls, &uri.authority.host)).await?),
            }
        },
        properties,
    )
    .await
}

async fn within<T>(limit: Duration, work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
