//! Leaders die, stop, hang and lose their database while requests come in.

use std::time::Duration;

use anyhow::Result;
use proofhouse_tests::succession::Succession;

#[tokio::test]
async fn leaders_die_stop_hang_and_lose_their_database() -> Result<()> {
    Succession { rounds: 1, freeze: Duration::from_secs(9), gap: None }.run().await
}
