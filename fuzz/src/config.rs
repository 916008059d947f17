//! Configuration: the settings of each role, the rules of the log and of pools.

use std::path::Path;

use proofhouse_core::{
    config::{Config, Role},
    queue::PoolRules,
    rules::Rules,
};

use crate::choice;

const SECRET: &str = "s3cr3t-t0k3n";
const ROLES: [Role; 5] = [Role::Up, Role::Dispatcher, Role::Worker, Role::Web, Role::Operator];

/// Any text is a configuration or a list of mistakes, and neither prints a secret.
pub(crate) fn config(data: &[u8]) {
    let (how, data) = choice(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let role = ROLES[usize::from(how) % ROLES.len()];
    let _ = read(role, text);
    let _ = Rules::parse(text, Path::new("rules.toml"));
    let _ = PoolRules::parse(text);

    // A password with anything behind it.
    let rest = text.lines().next().unwrap_or_default().replace(SECRET, "");
    for (key, scheme) in
        [("bus", "amqp"), ("database", "postgres"), ("store", "swift+https"), ("site", "https")]
    {
        let said = read(role, &format!("{key} = \"{scheme}://user:{SECRET}@{rest}\""));
        assert!(!said.contains(SECRET), "{key}: {said}");
    }
    let said = read(role, &format!("seal_key = \"{SECRET}{rest}\""));
    assert!(!said.contains(SECRET), "{said}");
}

fn read(role: Role, text: &str) -> String {
    match Config::of_text(role, Path::new("proofhouse.toml"), text) {
        Ok(config) => format!("{config:?}"),
        Err(mistakes) => format!("{mistakes} {mistakes:?}"),
    }
}
