//! The configuration reference, made from the declarations.

use std::fmt::Write as _;

use super::{
    SETTINGS,
    declare::{Given, Setting},
};

const HEAD: &str = "\
# Configuration

Every setting can be given in three ways: as an option, as an environment variable, as a key of the TOML file that
`--config` names. Options win over the environment, the environment over the file. Secrets are no options.
`proofhouse up` fills in whatever it needs; the other roles say what they miss.

An unknown key, a value of the wrong type or one that is not allowed ends the program with status 2 and a message that
names the place and what is allowed. A variable `PROOFHOUSE_…` that is no setting is a mistake where its name is close to
a setting's; others are left alone, for Kubernetes sets such variables by itself. An empty variable counts as not given.

A list is an array in the file. As a text (an option, a variable) its items stand between commas, or one a line where
the value is ARGS or COMMANDS. Relative paths begin at the working directory. In the file, `lxd.image` is the key `image`
of the section `[lxd]`.

Logs go to stderr: coloured text on a terminal, JSON lines elsewhere. `PROOFHOUSE_LOG` filters them (`info`, or per
module as in `info,proofhouse_core::bus=debug`); it has no option and no key.

Credentials of the store come from the environment: `OS_*` or clouds.yaml for Swift, `AWS_*` or a profile for S3.
";

/// The text of `docs/reference/configuration.md`.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            let _ = write!(text, "\n## {group}\n");
        }
        text.push_str(&entry(setting));
    }
    text
}

fn entry(setting: &Setting) -> String {
    let mut text = format!("\n### `{}`\n\n{}\n\n", setting.key(), setting.help.trim());
    if setting.given != Given::NotAsOption {
        let _ = writeln!(text, "- option: `--{} {}`", setting.option(), setting.value);
    }
    let _ = writeln!(text, "- environment: `{}`", setting.variable());
    if setting.given == Given::NotInFile {
        text.push_str("- not a key of the file\n");
    }
    match setting.default {
        None => {}
        Some("") => text.push_str("- default: empty\n"),
        Some(default) => {
            let lines: Vec<String> = default.lines().map(|line| format!("`{line}`")).collect();
            let _ = writeln!(text, "- default: {}", lines.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::reference;

    #[test]
    fn the_reference_is_up_to_date() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/configuration.md");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, reference()).unwrap();
        }
        assert!(
            fs::read_to_string(&file).unwrap_or_default() == reference(),
            "docs/reference/configuration.md is out of date; make it anew with: UPDATE=1 cargo test -p proofhouse-core reference"
        );
    }
}
