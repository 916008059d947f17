//! A broker as a distribution runs it for britney: on the standard port, with the user that is shipped for gates.

use std::{collections::BTreeSet, net::TcpListener};

use anyhow::{Context, Result};
use proofhouse_tests::{
    amqp::{AmqpClient, Listener},
    rabbit::Rabbit,
    roles::ROLE_PASSWORD,
};
use serde_json::Value;

use crate::PATIENCE;

/// britney looks nowhere else, whatever its URL says.
const PORT: u16 = 5672;

pub(crate) struct Broker {
    rabbit: Rabbit,
    host: &'static str,
}

impl Broker {
    /// Starts it with a listener for britney on a loopback address.
    pub(crate) async fn start(host: &'static str) -> Result<Self> {
        drop(TcpListener::bind((host, PORT)).with_context(|| {
            format!("britney always connects to port {PORT}, and {host}:{PORT} is taken")
        })?);
        let rabbit = Rabbit::start_with(&format!("listeners.tcp.2 = {host}:{PORT}")).await?;
        rabbit.secured("/").await?;
        Ok(Self { rabbit, host })
    }

    /// For Proofhouse.
    pub(crate) fn url(&self) -> String {
        self.rabbit.url()
    }

    /// For britney.
    pub(crate) fn britneys_url(&self) -> String {
        format!("amqp://gate:{ROLE_PASSWORD}@{}", self.host)
    }

    /// What is announced as complete from now on.
    pub(crate) async fn results(&self) -> Result<Results> {
        let client = AmqpClient::connect(&self.url()).await?;
        let listener = client.listen("testcomplete.fanout").await?;
        Ok(Results { listener, _client: client })
    }
}

/// Results as they come.
pub(crate) struct Results {
    listener: Listener,
    _client: AmqpClient,
}

impl Results {
    /// Waits until each of these came once, in any order: package, triggers, exit code. Returns their run ids.
    pub(crate) async fn until<const N: usize>(
        &mut self,
        wanted: [(&str, &str, i64); N],
    ) -> Result<Vec<String>> {
        let mut run_ids = Vec::new();
        let mut missing = BTreeSet::from(wanted.map(|(p, t, code)| (p.to_owned(), t.to_owned(), code)));
        while !missing.is_empty() {
            let came = self.listener.next(PATIENCE).await.with_context(|| format!("missing: {missing:?}"))?;
            let result: Value = serde_json::from_slice(&came)?;
            let text = |key: &str| result[key].as_str().unwrap_or_default().to_owned();
            let code = result["exitcode"].as_i64().unwrap_or(-1);
            let known = missing.remove(&(text("package"), text("triggers"), code));
            anyhow::ensure!(known, "nobody expected {result}; missing: {missing:?}");
            run_ids.extend(text("swift_dir").rsplit('/').next().map(str::to_owned));
        }
        Ok(run_ids)
    }
}
