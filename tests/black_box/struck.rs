//! The fault bench in short, and with errors built in, which it must find. All of it: `make faults`.

use std::time::Duration;

use anyhow::Result;
use proofhouse_tests::faults::{Bench, Store, Strikes};

const SHORT: Bench = Bench {
    lasts: Duration::from_secs(60),
    seed: 5,
    store: Store::Swift,
    pause: Duration::from_millis(250),
    strikes: Strikes::Short,
    planted: None,
};

#[tokio::test]
async fn a_minute_loses_and_doubles_nothing() -> Result<()> {
    let outcome = SHORT.run().await?;
    println!("{}{}", outcome.summary, outcome.tally.summary());
    assert!(outcome.wrong.is_empty(), "{}", outcome.wrong.join("\n"));
    assert!(outcome.tally.total() >= 15, "{} faults struck", outcome.tally.total());
    Ok(())
}

#[tokio::test]
async fn requests_that_are_acknowledged_before_they_are_committed_are_missed() -> Result<()> {
    let planted = Some("acknowledges-first");
    let bench = Bench { planted, lasts: Duration::from_secs(15), strikes: Strikes::Acknowledged, ..SHORT };
    let outcome = bench.run().await?;
    assert!(outcome.wrong.iter().any(|wrong| wrong.starts_with("LOST")), "{:?}", outcome.wrong);
    Ok(())
}

#[tokio::test]
async fn what_a_deposed_dispatcher_decides_is_noticed() -> Result<()> {
    let planted = Some("no-fencing");
    let bench = Bench { planted, lasts: Duration::from_secs(30), strikes: Strikes::Thawed, ..SHORT };
    let outcome = bench.run().await?;
    assert!(outcome.wrong.iter().any(|wrong| wrong.starts_with("DOUBLED")), "{:?}", outcome.wrong);
    Ok(())
}
