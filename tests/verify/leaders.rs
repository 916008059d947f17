//! Many leaders end; one that hangs does so until the broker has given up its link too.

use std::time::Duration;

use anyhow::Result;
use proofhouse_tests::succession::Succession;

#[tokio::test]
async fn many_leaders_end_under_load() -> Result<()> {
    Succession { rounds: 4, freeze: Duration::from_secs(45), gap: Some(Duration::from_secs(10)) }.run().await
}
