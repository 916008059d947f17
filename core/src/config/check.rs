//! What the settings must be together: what a role needs, and what contradicts itself.

use std::collections::BTreeMap;

use super::{BadConfig, BusUrl, Config, Mistake, Place, Role, SETTINGS, Setting};

/// Where each setting was given.
pub(super) type Places = BTreeMap<&'static str, Place>;

/// A mistake in a setting that was given, with its place and the name that it has there.
pub(super) fn mistake(places: &Places, field: &str, what: impl std::fmt::Display) -> Mistake {
    let Some(setting) = SETTINGS.iter().find(|s| s.field == field) else {
        return Mistake::new(format!("{field}: {what}"));
    };
    let name = match places.get(field) {
        Some(Place::Option) => format!("--{}", setting.option()),
        Some(Place::Environment) => setting.variable(),
        Some(Place::File { .. }) | None => setting.key(),
    };
    match places.get(field) {
        Some(place) => Mistake::at(place, &name, what),
        None => Mistake::new(format!("{name}: {what}")),
    }
}

fn needs(role: Role, fields: &[&str]) -> Mistake {
    let settings = fields.iter().filter_map(|f| SETTINGS.iter().find(|s| s.field == *f));
    let ways: Vec<String> = settings.map(ways).collect();
    Mistake::new(format!("{} needs {}", role.as_str(), ways.join(", or ")))
}

fn ways(setting: &Setting) -> String {
    format!("--{} ({}; key {})", setting.option(), setting.variable(), setting.key())
}

/// The error for a setting that is needed after all.
pub(super) fn missing(role: Role, field: &str) -> BadConfig {
    BadConfig(vec![needs(role, &[field])])
}

/// Adds everything that is wrong with `config` to `mistakes`.
pub(super) fn check(config: &Config, places: &Places, mistakes: &mut Vec<Mistake>) {
    check_needs(config, mistakes);
    check_served(config, places, mistakes);
    if config.bus == Some(BusUrl::Local) && config.role != Role::Up {
        let what = "local: is within one process and works with `proofhouse up` alone; use amqp://…";
        mistakes.push(mistake(places, "bus", what));
    }
    let both_fixed = config.listen == config.admin && config.listen.port() != 0;
    if both_fixed && config.role.includes(Role::Web) {
        mistakes.push(mistake(places, "admin", "is the same address as listen; it needs a port of its own"));
    }
}

fn check_needs(config: &Config, mistakes: &mut Vec<Mistake>) {
    let role = config.role;
    let database = (role.includes(Role::Dispatcher) || role.includes(Role::Web)) && config.database.is_none();
    let bus = (role.includes(Role::Dispatcher) || role.includes(Role::Worker)) && config.bus.is_none();
    let store = role != Role::Operator && config.store.is_none();
    for (field, missing) in [("database", database), ("bus", bus), ("store", store)] {
        if missing {
            mistakes.push(needs(role, &[field]));
        }
    }
    if role.includes(Role::Worker) && config.arches.is_empty() {
        mistakes.push(needs(role, &["arches"]));
    }
}

fn check_served(config: &Config, places: &Places, mistakes: &mut Vec<Mistake>) {
    if !config.role.includes(Role::Dispatcher) {
        return;
    }
    let given = |field| places.contains_key(field);
    if given("releases") && !given("arches") {
        mistakes.push(mistake(places, "releases", "needs arches beside it, or pairs in its place"));
    } else if config.served.is_empty() {
        mistakes.push(needs(config.role, &["releases", "pairs"]));
    }
    for queue in &config.answer_bad_requests {
        if !config.served.contains(&queue.pair) {
            let what = format!("{queue} is not served here (not among the configured releases and arches)");
            mistakes.push(mistake(places, "answer_bad_requests", what));
        }
    }
}
