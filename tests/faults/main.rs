//! Faults over all kinds, for as long as `SECONDS` says, from `SEED` on, half of the time on Swift and half on S3: `make faults`.
//! Short forms are among the black-box tests.

use std::time::Duration;

use anyhow::{Context, Result};
use proofhouse_tests::faults::{Bench, Store, Strikes, Tally};

/// From so many seconds on each fault must have struck often enough.
const WHOLE: u64 = 900;

/// A number from the environment.
fn number(name: &str) -> Result<u64> {
    let text = std::env::var(name).with_context(|| format!("{name} must be set: run `make faults`"))?;
    text.parse().with_context(|| format!("{name}={text:?} is no number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_nothing_doubled_nothing_left() -> Result<()> {
    let (seconds, seed) = (number("SECONDS")?, number("SEED")?);
    let mut wrong = Vec::new();
    let (mut tally, mut results, mut real) = (Tally::default(), 0, 0);
    for (store, seed) in [(Store::Swift, seed), (Store::S3, seed + 1)] {
        let bench = Bench {
            lasts: Duration::from_secs(seconds / 2),
            seed,
            store,
            pause: Duration::from_millis(400),
            strikes: Strikes::All,
            planted: None,
        };
        let outcome = bench.run().await?;
        println!("{}", outcome.summary);
        results += outcome.results;
        real += outcome.real;
        tally.merge(outcome.tally);
        wrong.extend(outcome.wrong);
    }
    println!("{}{results} results, {real} of them of the real autopkgtest on lxd", tally.summary());
    println!("{} things are wrong", wrong.len());
    if seconds >= WHOLE {
        wrong.extend(tally.rare());
        if tally.total() < 300 || results < 2000 || real < 50 {
            wrong.push("that is less than 300 faults, 2,000 results or 50 of lxd".to_owned());
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
