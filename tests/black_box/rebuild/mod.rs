//! The index is lost and rebuilt from the store alone.

mod foreign;
mod old;
mod same;
mod stopped;

use std::path::Path;

use anyhow::{Context, Result};
use proofhouse_core::evidence;
use proofhouse_tests::proofhouse;
use serde_json::Value;

/// Writes a run as another system would leave it in a folder.
fn write_run(store: &Path, container: &str, folder: &str, members: &[(&str, &str)]) -> Result<()> {
    let members: Vec<(&str, Vec<u8>)> =
        members.iter().map(|(name, text)| (*name, text.as_bytes().to_vec())).collect();
    write_file(store, container, &format!("{folder}/log.gz"), &evidence::gzip(b"the log\n")?)?;
    write_file(store, container, &format!("{folder}/result.tar"), &evidence::result_tar(&members)?)
}

fn write_file(store: &Path, container: &str, object: &str, bytes: &[u8]) -> Result<()> {
    let path = store.join(container).join(object);
    std::fs::create_dir_all(path.parent().context("a folder")?)?;
    Ok(std::fs::write(path, bytes)?)
}

/// `proofhouse reindex --json`: the exit status, the summary, and what it said meanwhile.
async fn reindex(args: &[&str], env: &[(String, String)]) -> Result<(Option<i32>, Value, String)> {
    let mut all = vec!["reindex", "--json"];
    all.extend(args);
    let output = proofhouse::run(&all, env).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let summary = serde_json::from_slice(&output.stdout).with_context(|| said.clone())?;
    Ok((output.status.code(), summary, said))
}

/// A page as a person sees it, or JSON. How long ago something was is left out: it depends on when one looks.
async fn page(url: &str) -> Result<(u16, String)> {
    let answer =
        reqwest::Client::new().get(url).header("accept", "text/html, application/json").send().await?;
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    let parts = text.split("<small>").map(|part| part.split_once("</small>").map_or(part, |(_, rest)| rest));
    Ok((status, parts.collect()))
}
