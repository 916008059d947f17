//! The sources together, and what each role needs.

use std::{fs, path::Path};

use clap::{CommandFactory, Parser};

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

fn options(arguments: &[&str]) -> Options {
    Command::try_parse_from([&["x"], arguments].concat()).unwrap().options
}

fn load(role: Role, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, BadConfig> {
    let environment = environment.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned()));
    Config::load(role, &options(arguments), environment)
}

fn mistakes(role: Role, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    load(role, arguments, environment).unwrap_err().to_string()
}

const SERVED: [&str; 4] = ["--releases", "noble", "--arches", "amd64"];

#[test]
fn clap_takes_the_options() {
    Command::command().debug_assert();
    let help = Command::command().render_long_help().to_string();
    assert!(help.contains("--lease-seconds <N>") && help.contains("PROOFHOUSE_LEASE_SECONDS"), "{help}");
    assert!(!help.contains("[default: ]"), "{help}");
    assert!(help.contains("--seal-key-file") && !help.contains("--seal-key "), "{help}");
}

#[test]
fn options_win_over_the_environment_and_the_environment_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.toml");
    fs::write(&file, "slots = 2\nlease_seconds = 2\nretry_attempts = 2\n[lxd]\nremote = \"r\"\n").unwrap();
    let file = file.to_str().unwrap();
    let arguments = [&SERVED[..], &["--config", file, "--slots", "4"]].concat();
    let environment = [("PROOFHOUSE_SLOTS", "3"), ("PROOFHOUSE_LEASE_SECONDS", "3")];
    let config = load(Role::Up, &arguments, &environment).unwrap();
    assert_eq!((config.worker.slots, config.lease.as_secs(), config.retry_attempts), (4, 3, 2));
    assert_eq!(config.retry_pause.as_secs(), 300, "the default");
    assert_eq!(config.worker.lxd.remote.as_deref(), Some("r"));

    let by_environment = load(Role::Operator, &[], &[("PROOFHOUSE_CONFIG", file)]).unwrap();
    assert_eq!(by_environment.worker.slots, 2);
    assert!(mistakes(Role::Operator, &["--config", "/nowhere/p.toml"], &[]).contains("cannot be read"));
}

#[test]
fn arguments_that_begin_with_dashes_follow_an_equals_sign() {
    let config = load(Role::Up, &[&SERVED[..], &["--lxd-args=--vm"]].concat(), &[]).unwrap();
    assert_eq!(config.worker.lxd.args, ["--vm"]);
    assert!(Command::try_parse_from(["x", "--slots", "--arches", "amd64"]).is_err());
}

#[test]
fn up_fills_in_what_is_missing() {
    let config = load(Role::Up, &[&SERVED[..], &["--data", "/d"]].concat(), &[]).unwrap();
    assert_eq!(config.database().unwrap(), &DatabaseUrl::Sqlite("/d/proofhouse.db".into()));
    assert_eq!(config.store().unwrap(), &StoreUrl::Folder("/d/store".into()));
    assert_eq!(config.bus().unwrap(), &BusUrl::Local);
    assert_eq!(config.served.pairs().map(ToString::to_string).collect::<Vec<_>>(), ["noble/amd64"]);
    let operator = load(Role::Operator, &["--data", "/d"], &[]).unwrap();
    assert_eq!(operator.database, config.database);
    assert_eq!(load(Role::Operator, &["--bus", "local:"], &[]).unwrap().bus, None);
    assert!(operator.bus().unwrap_err().to_string().contains("operator needs --bus"));
}

#[test]
fn roles_say_what_they_need() {
    let all = ["--database", "postgres://h/d", "--bus", "amqp://h", "--store", "file:///s"];
    for (role, given, needed) in [
        (Role::Up, &[][..], &["--releases"][..]),
        (Role::Dispatcher, &[], &["--database", "--bus", "--store", "--releases"]),
        (Role::Dispatcher, &all, &["--releases"]),
        (Role::Worker, &[], &["--bus", "--store", "--arches"]),
        (Role::Worker, &all, &["--arches"]),
        (Role::Web, &[], &["--database", "--store"]),
        (Role::Web, &["--store", "file:///s"], &["--database"]),
    ] {
        let text = mistakes(role, given, &[]);
        for option in needed {
            let start = format!("{} needs {option} (PROOFHOUSE_", role.as_str());
            assert!(text.contains(&start), "{start:?} in {text}");
        }
    }
    assert!(load(Role::Dispatcher, &[&all[..], &SERVED[..]].concat(), &[]).is_ok());
    assert!(load(Role::Worker, &[&all[..], &["--arches", "amd64"]].concat(), &[]).is_ok());
    assert!(load(Role::Web, &all, &[]).is_ok());
}

#[test]
fn contradictions() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "s3cret\n").unwrap();
    let secret = secret.to_str().unwrap();
    for (arguments, environment, mistake) in [
        (&["--releases", "noble"][..], &[][..], "--releases: needs arches"),
        (&["--admin", "127.0.0.1:8080"], &[], "--admin: is the same address as listen"),
        (
            &["--answer-bad-requests", "debci-jammy-amd64"],
            &[],
            "--answer-bad-requests: debci-jammy-amd64 is not served here",
        ),
        (&["--database-password-file", secret], &[], "there is no database URL"),
        (&["--database", "sqlite:///x", "--database-password-file", secret], &[], "SQLite has no password"),
        (&["--bus", "amqp://u:p@h", "--bus-password-file", secret], &[], "has a password already"),
        (&["--bus", "amqp://u@h", "--bus-password-file", "/nowhere"], &[], "/nowhere cannot be read"),
        (
            &["--seal-key-file", secret],
            &[("PROOFHOUSE_SEAL_KEY", "x")],
            "--seal-key-file: seal_key is given too",
        ),
        (&["--seal-key-file", secret], &[], "--seal-key-file: a seal key is 64 hex digits"),
        (&[], &[("PROOFHOUSE_SEAL_KEY", "s3cret")], "PROOFHOUSE_SEAL_KEY: a seal key is 64 hex digits"),
    ] {
        let served = if arguments.contains(&"--releases") { &[][..] } else { &SERVED[..] };
        let text = mistakes(Role::Up, &[served, arguments].concat(), environment);
        assert!(text.contains(mistake) && !text.contains("s3cret"), "{mistake:?} in {text}");
    }
    let arguments = ["--store", "file:///s", "--arches", "a", "--bus", "local:"];
    assert!(mistakes(Role::Worker, &arguments, &[]).contains("--bus: local: is within one process"));
}

#[test]
fn no_secret_prints() {
    let key = SealKeys::generate();
    let arguments = ["--database", "postgres://u:s3cret@h/d", "--bus", "amqp://u:s3cret@h"];
    let config = load(
        Role::Up,
        &[&SERVED[..], &arguments].concat(),
        &[("PROOFHOUSE_SEAL_KEY", &key), ("PROOFHOUSE_STORE", "swift+http://u:s3cret@h/auth")],
    );
    let text = format!("{:?} {:?}", config.unwrap(), options(&arguments));
    assert!(!text.contains("s3cret") && !text.contains(&key), "{text}");
}

#[test]
fn passwords_by_file_go_into_the_urls() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, "p@ss\n").unwrap();
    let arguments = ["--bus", "amqp://u@h", "--bus-password-file", file.to_str().unwrap()];
    let config = load(Role::Up, &[&SERVED[..], &arguments].concat(), &[]).unwrap();
    let BusUrl::Amqp(url) = config.bus.unwrap() else { panic!() };
    assert_eq!(url.as_str(), "amqp://u:p%40ss@h/%2f");
}

#[test]
fn up_makes_its_seal_key_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    make_seal_keys(&data).unwrap();
    let made = fs::read(data.join("seal.key")).unwrap();
    make_seal_keys(&data).unwrap();
    assert_eq!(fs::read(data.join("seal.key")).unwrap(), made);
    assert_eq!(fs::metadata(data.join("seal.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "nothing is left over");
    fs::write(data.join("seal.key"), "x").unwrap();
    assert!(make_seal_keys(&data).unwrap_err().to_string().contains("seal.key: a seal key is"));
}

#[test]
fn the_shipped_samples_load() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/samples");
    for role in [Role::Up, Role::Dispatcher, Role::Worker, Role::Web] {
        let file = samples.join(format!("{}.toml", role.as_str()));
        let text = fs::read_to_string(&file).unwrap();
        // Password files that the samples name exist on no test machine.
        let reading = Reading::file(&file, &text);
        assert_eq!(reading.mistakes, [], "{}", file.display());
        let with_all = uncommented(&text);
        let reading = Reading::file(&file, &with_all);
        assert_eq!(reading.mistakes, [], "{} with its suggestions", file.display());
        let config = Config::load(role, &options(&["--config", file.to_str().unwrap()]), []);
        assert!(config.is_ok(), "{config:?}");
    }
}

/// Lines `# key = value` are suggestions: they must be right too.
fn uncommented(text: &str) -> String {
    let line = |line: &str| {
        let rest = line.strip_prefix("# ").filter(|r| {
            r.split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        });
        format!("{}\n", rest.unwrap_or(line))
    };
    text.lines().map(line).collect()
}

#[test]
fn rules_are_read_with_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.toml");
    fs::write(&file, "off = [\"kernel-panic\"]\n").unwrap();
    let arguments = ["--rules", file.to_str().unwrap()];
    let names =
        |config: &Config| config.worker.rules.iter().map(|rule| rule.name.clone()).collect::<Vec<_>>();
    let config = load(Role::Operator, &arguments, &[]).unwrap();
    assert!(!names(&config).contains(&"kernel-panic".to_owned()));
    fs::write(&file, "\noff = [\"nothing\"]\n").unwrap();
    assert!(
        mistakes(Role::Operator, &arguments, &[])
            .contains("rules.toml:2: off: \"nothing\" is no shipped rule")
    );
    assert!(mistakes(Role::Operator, &["--rules", "/nowhere"], &[]).contains("/nowhere: cannot be read"));
    let web = ["--database", "postgres://h/d", "--store", "file:///s", "--rules", "/nowhere"];
    assert!(load(Role::Web, &web, &[]).is_ok(), "it has no use for them");
}

#[test]
fn every_default_is_a_value() {
    let settings = Reading::default().draft.settle();
    assert_eq!(settings.slots.get(), 1);
    assert_eq!(settings.lxd_size_default.0.len(), 4);
    assert!(settings.releases.0.is_empty());
}
