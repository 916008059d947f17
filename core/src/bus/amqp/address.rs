//! Where the broker is: the URL, and what of it people may see.

use std::time::Duration;

use lapin::uri::AMQPUri;
use url::{Host, Url};

use crate::bus::BusError;

/// How often a sign of life is asked of the broker when the URL does not say, in seconds.
const HEARTBEAT_SECONDS: u16 = 15;

/// How long a broker may take to answer when the URL does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The query's keys that have an effect (RabbitMQ's "URI query parameters").
const KEYS: [&str; 5] = ["heartbeat", "channel_max", "frame_max", "auth_mechanism", "connection_timeout"];

/// A broker's address.
pub(super) struct Address {
    /// With the password.
    pub(super) uri: AMQPUri,
    /// Without it: host, port, and the vhost where it is not `/`.
    pub(super) shown: String,
    /// For the connection, and again for the handshake on it.
    pub(super) timeout: Duration,
}

impl Address {
    /// Reads `amqp[s]://user:password@host:port/vhost?heartbeat=15`. Its errors never hold the text, which has the password.
    pub(super) fn parse(text: &str) -> Result<Self, BusError> {
        let bad = |why: String| BusError::Url(why);
        let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
        let host = host(&url).ok_or_else(|| bad("it names no host".into()))?;
        if let Some((key, _)) = url.query_pairs().find(|(key, _)| !KEYS.contains(&key.as_ref())) {
            return Err(bad(format!("{key} is not known; allowed are {}", KEYS.join(", "))));
        }
        let mut uri: AMQPUri = text.parse().map_err(bad)?;
        uri.authority.host = host;
        if uri.vhost.is_empty() {
            uri.vhost = "/".into();
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        let timeout = uri.query.connection_timeout.map_or(TIMEOUT, Duration::from_millis);
        Ok(Self { shown: shown(&uri), uri, timeout })
    }
}

/// The host as the resolver takes it: an IPv6 address without its brackets.
fn host(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Ipv6(address) => Some(address.to_string()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Domain("") => None,
        Host::Domain(name) => Some(name.to_owned()),
    }
}

fn shown(uri: &AMQPUri) -> String {
    let (host, port) = (&uri.authority.host, uri.authority.port);
    let server = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    if uri.vhost == "/" { server } else { format!("{server} vhost {}", uri.vhost) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vhost_is_the_slash_unless_named() {
        for text in ["amqp://u:p@broker", "amqp://u:p@broker/", "amqp://u:p@broker/%2f"] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.uri.vhost.as_str(), address.shown.as_str()), ("/", "broker:5672"), "{text}");
        }
        let address = Address::parse("amqps://u:p@broker/ci").unwrap();
        assert_eq!((address.uri.vhost.as_str(), address.shown.as_str()), ("ci", "broker:5671 vhost ci"));
    }

    #[test]
    fn addresses_of_both_families() {
        let address = Address::parse("amqp://u:p@[::1]:5690?heartbeat=20&connection_timeout=1500").unwrap();
        assert_eq!((address.uri.authority.host.as_str(), address.shown.as_str()), ("::1", "[::1]:5690"));
        assert_eq!((address.uri.query.heartbeat, address.timeout.as_millis()), (Some(20), 1500));
        assert_eq!(Address::parse("amqp://u:p@127.0.0.1:5690").unwrap().shown, "127.0.0.1:5690");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for text in [
            "amqp://u:hunter2@",
            "amqp:u:hunter2@host",
            "http://u:hunter2@host",
            "amqp://u:hunter2@host:99999",
            "amqp://u:hunter2@host?heartbeet=3",
            "amqp://u:hunter2@host?heartbeat=x",
        ] {
            let error = Address::parse(text).err().expect(text);
            assert!(matches!(error, BusError::Url(_)), "{text}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
