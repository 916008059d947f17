//! What earlier versions wrote is read by this one: messages, and rows. `tests/recorded/VERSION` holds what each released
//! version wrote; what the current one writes is recorded anew with `UPDATE=1 cargo test -p proofhouse-tests --test recorded`
//! until its release, and never after.

mod database;
mod dump;
mod first_schema;
mod messages;
mod rows;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The version that is being made.
const CURRENT: &str = env!("CARGO_PKG_VERSION");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded")
}

/// All recorded versions with one of their files.
fn recordings(file: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let path = entry.path().join(file);
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            found.push((entry.file_name().to_string_lossy().into_owned(), text));
        }
    }
    anyhow::ensure!(found.iter().any(|(version, _)| version == CURRENT), "{CURRENT} is not recorded");
    Ok(found)
}

/// True where the current version is to be recorded anew.
fn updates() -> bool {
    std::env::var_os("UPDATE").is_some()
}

fn record(file: &str, text: &str) -> Result<()> {
    let folder = root().join(CURRENT);
    std::fs::create_dir_all(&folder)?;
    Ok(std::fs::write(folder.join(file), text)?)
}
