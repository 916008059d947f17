//! Pictures of every page, wide and narrow, light and dark, empty and full, for people to look at:
//! `screenshots FOLDER [PACKAGES]`. `PACKAGES` (25000): how many one upload set tests off of, on seven architectures.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use proofhouse_tests::{
    browser::{Browser, LOOKS},
    shown::Shown,
};

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().context("usage: screenshots FOLDER [PACKAGES]")?);
    let packages = args.next().map_or(Ok(25_000), |n| n.parse()).context("PACKAGES is a number")?;
    let browser = Browser::start().await?;
    take(&browser, &Shown::empty().await?, folder.join("empty")).await?;
    take(&browser, &Shown::full(packages).await?, folder.join("full")).await
}

async fn take(browser: &Browser, shown: &Shown, folder: PathBuf) -> Result<()> {
    fs::create_dir_all(&folder)?;
    for (page, url) in shown.pages() {
        for look in LOOKS {
            browser.look(look).await?;
            browser.open(&url).await?;
            let file = folder.join(format!("{page}-{}.png", look.name()));
            fs::write(&file, STANDARD.decode(browser.picture().await?)?)?;
            println!("{}", file.display());
        }
    }
    Ok(())
}
