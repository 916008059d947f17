//! Nagle's algorithm, off for connections to the database.
//!
//! sqlx 0.9.0 leaves it on (its issue 4335). TLS goes out in records of 16 KiB, and each after a statement's first would wait for
//! the server's delayed acknowledgement: 40 ms a statement, 200 ms a batch of requests. sqlx does not show its sockets, so this
//! goes by the process's own descriptors. To be deleted once sqlx does it again.

use std::os::fd::OwnedFd;

use rustix::{
    net::sockopt,
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
};

/// Turns it off for every TCP socket of this process; none here wants it.
pub(super) fn everywhere() {
    if let Err(error) = each() {
        tracing::debug!("TCP_NODELAY cannot be set, large statements take longer: {error}");
    }
}

fn each() -> std::io::Result<()> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let is_socket =
            std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
        let Some(number) =
            entry.file_name().to_str().and_then(|name| name.parse().ok()).filter(|_| is_socket)
        else {
            continue;
        };
        // It may be closed by now, or none of TCP.
        let socket: std::io::Result<OwnedFd> =
            pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).map_err(Into::into);
        match socket {
            Ok(socket) => drop(sockopt::set_tcp_nodelay(&socket, true)),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Err(error),
            Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn every_socket_of_this_process_sends_at_once() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        assert!(!client.nodelay().unwrap());
        super::everywhere();
        assert!(client.nodelay().unwrap());
    }
}
