//! `proofhouse config check`: every mistake with its place, without starting anything.

use std::path::Path;

use anyhow::{Result, bail};
use proofhouse_core::config::{Config, Options, Role};
use serde_json::json;

use crate::{
    args::CheckArgs,
    print,
    status::{Misuse, Status},
};

pub(crate) fn main(args: &CheckArgs) -> Result<Status> {
    let loaded = load(args.file.as_deref(), args.role.unwrap_or(Role::Operator))?;
    match loaded {
        Ok(config) => {
            let what =
                config.file.as_ref().map_or("the environment".to_owned(), |file| file.display().to_string());
            if args.json {
                print::json(&json!({ "ok": true, "mistakes": [] }))?;
            } else {
                print::text(&format!("✔ {what} can be used\n"))?;
            }
            Ok(Status::Done)
        }
        Err(error) if args.json => {
            let mistakes: Vec<String> = error.0.iter().map(ToString::to_string).collect();
            print::json(&json!({ "ok": false, "mistakes": mistakes }))?;
            Ok(Status::Usage)
        }
        Err(error) => bail!(error),
    }
}

type Loaded = Result<Config, proofhouse_core::config::BadConfig>;

fn load(file: Option<&Path>, role: Role) -> Result<Loaded> {
    let Some(file) = file else { return Ok(Config::load_here(role, &Options::default())) };
    let Some(file) = file.to_str() else {
        return Err(Misuse(format!("{} is not UTF-8", file.display())).into());
    };
    // What the environment says beside it counts, as it would for the role.
    let variables =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let named = ("PROOFHOUSE_CONFIG".to_owned(), file.to_owned());
    let variables = variables.filter(|(name, _)| *name != named.0).chain([named.clone()]);
    Ok(Config::load(role, &Options::default(), variables.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_checked_for_a_role() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("worker.toml");
        std::fs::write(&file, "slots = 0\nprovidr = \"null\"\n").unwrap();
        let mistakes = load(Some(&file), Role::Operator).unwrap().unwrap_err().to_string();
        assert!(
            mistakes.contains("worker.toml:1: slots") && mistakes.contains("worker.toml:2: providr"),
            "{mistakes}"
        );
        std::fs::write(&file, "slots = 2\n").unwrap();
        assert!(load(Some(&file), Role::Operator).unwrap().is_ok());
        assert!(load(Some(&file), Role::Worker).unwrap().is_err(), "a worker needs a bus");
    }
}
