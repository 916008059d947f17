//! The API is as its description says, whatever is asked: schemathesis makes requests of the description and looks at answers.

use anyhow::{Context, Result};
use proofhouse_tests::{checkers::check, shown::Shown};
use serde_json::Value;

/// What an answer has to be. Also where what is asked is against the description: schemathesis asks that, too.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,unsupported_method";

/// A few requests of each operation, the same each time; with `names` in paths.
async fn holds(shown: &Shown, names: &str) -> Result<()> {
    let configuration = tempfile::NamedTempFile::with_suffix(".toml")?;
    std::fs::write(configuration.path(), names)?;
    let configuration = configuration.path().display().to_string();
    let examples = if cfg!(feature = "verify") { "60" } else { "12" };
    let url = format!("{}/api/v1/openapi.json", shown.site);
    let args = [
        "--config-file",
        &configuration,
        "run",
        &url,
        "--url",
        &shown.site,
        "--checks",
        CHECKS,
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        examples,
        "--generation-deterministic",
        "--no-shrink",
        "--request-timeout",
        "30",
        // Python 3.11 cannot parse its own source in two threads at once (cpython issue 106905), which hypothesis does.
        "--workers",
        "1",
        "--no-color",
    ];
    check("schemathesis", &args).await.map(drop)
}

#[tokio::test]
async fn the_api_is_as_it_is_described() -> Result<()> {
    let shown = Shown::full(20).await?;
    holds(&shown, "").await.context("with any names")?;
    // The same of something that is there.
    let there = [("package", "red"), ("release", "noble"), ("arch", "amd64"), ("uuid", shown.name("done")?)];
    let there = there.map(|(name, value)| format!("\"path.{name}\" = {}\n", Value::from(value)));
    holds(&shown, &format!("[parameters]\n{}", there.concat())).await.context("with names that are there")
}
