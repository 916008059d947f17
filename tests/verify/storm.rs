//! Everything dies at random moments, for minutes.

use std::time::Duration;

use anyhow::Result;
use proofhouse_tests::storm::Storm;

#[tokio::test]
async fn everything_dies_at_random_moments() -> Result<()> {
    Storm { requests: 600, packages: 30, lasts: Duration::from_secs(180), everything: true }.blow().await
}
