//! Whether the addresses that a role listens on are free.

use std::{
    io::{Error, ErrorKind},
    net::{SocketAddr, TcpListener},
};

use proofhouse_core::config::Config;

use super::{check::Check, machine::output};
use crate::roles::UpFile;

/// The site's address and the admin port's.
pub(super) async fn checks(config: &Config) -> Vec<Check> {
    let up = UpFile::running(&config.data);
    let mut checks = Vec::new();
    for (option, address) in [("--listen", config.listen), ("--admin", config.admin)] {
        let tried = TcpListener::bind(address).map(drop);
        let holders = match &tried {
            Err(error) if error.kind() == ErrorKind::AddrInUse => holders(address).await,
            _ => String::new(),
        };
        checks.push(said(option, address, tried, &holders, up.as_ref()));
    }
    checks
}

/// The processes that listen there, as `ss` names them: of other users root alone is told.
async fn holders(address: SocketAddr) -> String {
    let port = format!("sport = :{}", address.port());
    let listed = output("ss", &["-Hltnp", &port]).await.unwrap_or_default();
    let names: Vec<&str> =
        listed.lines().filter_map(|line| line.split_once("users:")).map(|(_, who)| who.trim()).collect();
    names.join(" ")
}

fn said(
    option: &str,
    address: SocketAddr,
    tried: Result<(), Error>,
    holders: &str,
    up: Option<&UpFile>,
) -> Check {
    let name = format!("address {option}");
    let error = match tried {
        Ok(()) => return Check::good(name, format!("{address} is free")),
        Err(error) => error,
    };
    let fix = format!("choose another address with {option}");
    if error.kind() != ErrorKind::AddrInUse {
        return Check::bad(name, format!("{address} cannot be listened on: {error}"), fix);
    }
    match up {
        // What runs here as configured is in nobody's way.
        Some(up) if holders.is_empty() || holders.contains(&format!("pid={},", up.pid)) => Check::good(
            name,
            format!("{address} is used by the `proofhouse up` of this --data (process {})", up.pid),
        ),
        _ => {
            let who = if holders.is_empty() { String::new() } else { format!(" by {holders}") };
            Check::bad(
                name,
                format!("{address} is in use{who}"),
                format!("stop what listens there, or {fix}"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use proofhouse_core::config::{Options, Role};

    use super::*;

    #[tokio::test]
    async fn an_address_in_use_is_found() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let data = tempfile::tempdir().unwrap().path().join("none");
        let options = [
            ("LISTEN", address.to_string()),
            ("ADMIN", "127.0.0.1:0".to_owned()),
            ("DATA", data.display().to_string()),
        ];
        let options = options.map(|(name, value)| (format!("PROOFHOUSE_{name}"), value));
        let config = Config::load(Role::Operator, &Options::default(), options).unwrap();
        let checks = checks(&config).await;
        assert!(
            !checks[0].ok && checks[0].detail.starts_with(&format!("{address} is in use")),
            "{:?}",
            checks[0]
        );
        assert!(checks[1].ok, "{:?}", checks[1]);
    }

    #[test]
    fn what_runs_here_is_no_trouble() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let up = UpFile { pid: 7, site: String::new(), pairs: Vec::new() };
        let ok =
            |holders: &str, up| said("--listen", address, Err(ErrorKind::AddrInUse.into()), holders, up).ok;
        assert!(ok("((\"proofhouse\",pid=7,fd=9))", Some(&up)) && ok("", Some(&up)));
        assert!(!ok("((\"nginx\",pid=77,fd=9))", Some(&up)) && !ok("", None));
        assert!(said("--listen", address, Ok(()), "", None).ok);
        assert!(!said("--listen", address, Err(ErrorKind::AddrNotAvailable.into()), "", Some(&up)).ok);
    }
}
