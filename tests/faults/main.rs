//! Faults over all kinds, for as long as `SECONDS` says, from `SEED` on: `make faults`. Half of the time on Swift, half on S3.

use std::time::Duration;

use anyhow::{Context, Result};
use proofhouse_tests::faults::{Bench, Store, Strikes};

/// A number from the environment.
fn number(name: &str) -> Result<u64> {
    let text = std::env::var(name).with_context(|| format!("{name} must be set: run `make faults`"))?;
    text.parse().with_context(|| format!("{name}={text:?} is no number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_nothing_doubled_nothing_left() -> Result<()> {
    let (seconds, seed) = (number("SECONDS")?, number("SEED")?);
    let mut wrong = Vec::new();
    for (store, seed) in [(Store::Swift, seed), (Store::S3, seed + 1)] {
        let bench = Bench {
            lasts: Duration::from_secs(seconds / 2),
            seed,
            store,
            pause: Duration::from_millis(150),
            strikes: Strikes::All,
            planted: None,
        };
        let outcome = bench.run().await?;
        println!("{}", outcome.summary);
        for rare in &outcome.rare {
            println!("struck too rarely in this half: {rare}");
        }
        wrong.extend(outcome.wrong);
    }
    anyhow::ensure!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}
