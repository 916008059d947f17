//! Faults over all kinds: in short; with errors built in, which must be found; and for as long as `SECONDS` says, from `SEED` on,
//! half of the time on Swift and half on S3. `make faults`.

use std::time::Duration;

use anyhow::{Context, Result};
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
    println!("{}", outcome.summary);
    assert!(outcome.wrong.is_empty(), "{}", outcome.wrong.join("\n"));
    assert!(outcome.faults >= 15, "{} faults struck", outcome.faults);
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
