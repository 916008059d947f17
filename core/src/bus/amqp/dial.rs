//! One try to reach the broker.

use std::{
    net::{Shutdown, TcpStream},
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapin::{AsyncTcpStream, Connection, ConnectionProperties, tcp::TLSConfig, uri::AMQPScheme};
use tokio::time::timeout;

use super::{address::Address, errors::text};

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody answers, or nobody who speaks AMQP.
    Away(String),
    /// The broker answers and does not let us in: a wrong password, an unknown vhost.
    Refused(String),
}

/// A second handle of the socket. lapin's thread waits for ever for a broker that accepts a connection and says nothing;
/// shutting the socket down ends it.
type Socket = Arc<Mutex<Option<TcpStream>>>;

/// Connects and shakes hands. Returns within twice the address's timeout.
pub(super) async fn dial(address: &Address, connection_name: &str) -> Result<Connection, Trouble> {
    let socket = Socket::default();
    let answer = timeout(address.timeout * 2, shake(address, connection_name, socket.clone())).await;
    let socket = socket.lock().unwrap_or_else(PoisonError::into_inner).take();
    match answer {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) if error.is_amqp_error() => Err(Trouble::Refused(text(&error))),
        Ok(Err(error)) => Err(Trouble::Away(text(&error))),
        Err(_) => {
            // A socket that is gone already needs no end.
            socket.map(|socket| socket.shutdown(Shutdown::Both));
            Err(Trouble::Away("it accepts the connection and does not answer".into()))
        }
    }
}

async fn shake(address: &Address, connection_name: &str, socket: Socket) -> lapin::Result<Connection> {
    let limit = address.timeout;
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
            match uri.scheme {
                AMQPScheme::AMQP => Ok(stream),
                AMQPScheme::AMQPS => {
                    Ok(within(limit, stream.into_tls(&uri.authority.host, TLSConfig::default())).await?)
                }
            }
        },
        properties,
    )
    .await
}

async fn within<T>(limit: Duration, work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
