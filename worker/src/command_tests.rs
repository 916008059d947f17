//! One row for each parameter, and for each combination of them that interacts.

use proofhouse_core::protocol::{AttemptId, Listed};
use serde_json::{Value, json};

use super::*;

fn settings(provider: Provider) -> Settings {
    Settings {
        name: "w".parse().unwrap(),
        host: "h".to_owned(),
        data: "/data".into(),
        pools: vec!["amd64".parse().unwrap()],
        slots: 1,
        provider,
        autopkgtest: "autopkgtest".into(),
        autopkgtest_args: Vec::new(),
        setup_commands: Vec::new(),
        rules: proofhouse_core::rules::Rules::default(),
        seal_keys: None,
        min_free_mib: 0,
        limits: crate::settings::Limits::NONE,
        metrics: std::sync::Arc::new(proofhouse_core::telemetry::metrics::Metrics::new(
            proofhouse_core::config::Role::Worker,
        )),
        guard: vec!["guard".into()],
    }
}

fn unshare() -> Provider {
    Provider::Unshare(crate::settings::Unshare {
        tarball: None,
        mirror: None,
        refresh: std::time::Duration::ZERO,
    })
}

fn lxd() -> Provider {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    Provider::Lxd(Lxd {
        remote: Some("far".to_owned()),
        image: "far:autopkgtest/ubuntu/{release}/{arch}".to_owned(),
        args: words("-p extra"),
        size_default: words("-c limits.cpu=2 -c limits.memory=4GiB"),
        size_big: words("-c limits.cpu=4 -c limits.memory=8GiB"),
    })
}

struct Case {
    settings: Settings,
    pair: &'static str,
    package: &'static str,
    params: Value,
    lists: Listed,
    checkout: Option<&'static str>,
}

impl Case {
    fn new(params: Value) -> Self {
        Self {
            settings: settings(unshare()),
            pair: "noble/amd64",
            package: "green",
            params,
            lists: Listed::default(),
            checkout: None,
        }
    }

    fn line(&self) -> CommandLine {
        let body = format!("{}\n{}", self.package, self.params);
        let grant = Grant {
            id: AttemptId { job: 7, attempt: 2 },
            uuid: uuid::Uuid::nil(),
            pair: self.pair.parse().unwrap(),
            context: proofhouse_core::names::Context::Ubuntu,
            body: body.clone(),
            lists: self.lists,
            lease_seconds: 60,
            end_seconds: 100,
        };
        let request = Request::parse(body.as_bytes()).unwrap();
        command_line(&Run {
            settings: &self.settings,
            grant: &grant,
            request: &request,
            worker: "w",
            work: Path::new("/w"),
            tarball: Some(Path::new("/t.tar")),
            checkout: self.checkout.map(Path::new),
        })
    }

    fn words(&self) -> Vec<String> {
        self.line().args.into_iter().map(|arg| arg.into_string().unwrap()).collect()
    }

    /// What stands between the output folder and the timeouts.
    fn middle(&self) -> Vec<String> {
        let words = self.words();
        let end = words.iter().position(|word| word.starts_with("--timeout-short=")).unwrap();
        words[2..end].to_vec()
    }

    /// What stands behind the timeouts and before `--`.
    fn late(&self) -> Vec<String> {
        let words = self.words();
        let begin = words.iter().position(|word| word.starts_with("--timeout-build=")).unwrap();
        let end = words.iter().position(|word| word == "--").unwrap();
        words[begin + 1..end].to_vec()
    }

    /// What stands behind `--`.
    fn provider(&self) -> String {
        let words = self.words();
        let begin = words.iter().position(|word| word == "--").unwrap();
        words[begin + 1..].join(" ")
    }
}

#[test]
fn the_whole_line_in_the_contracts_order() {
    let mut case = Case::new(json!({
        "triggers": ["green/2", "linux-meta/6"], "env": ["AB=c d", "EF=1"], "testname": "t1", "all-proposed": "1",
        "ppas": ["joe/foo", "joe/bar:ABCD"],
    }));
    case.pair = "noble/i386";
    case.settings.autopkgtest_args = vec!["--debug".to_owned()];
    case.settings.setup_commands = vec!["one; two".to_owned(), "three".to_owned()];
    let kernel = kernel::setup_commands(&Request {
        triggers: vec!["linux-meta/6".parse().unwrap()],
        ..Request::plain("x".parse().unwrap())
    });
    assert_eq!(
        case.words(),
        [
            "--output-dir",
            "/w/out",
            "-a",
            "i386",
            "--debug",
            "--setup-commands",
            "one; two",
            "--setup-commands",
            "three",
            "--setup-commands",
            &kernel[0],
            "--add-apt-source=ppa:joe/foo",
            "--add-apt-source=ppa:joe/bar:ABCD",
            "--apt-pocket=proposed",
            "--apt-upgrade",
            "green",
            "--timeout-short=300",
            "--timeout-install=3000",
            "--timeout-test=10000",
            "--timeout-copy=900",
            "--timeout-build=20000",
            "--env=AB=c d",
            "--env=EF=1",
            "--env=ADT_TEST_TRIGGERS=green/2 linux-meta/6",
            "--testname=t1",
            "--",
            "unshare",
            "--tarball",
            "/t.tar",
        ]
    );
    assert_eq!(case.line().program, PathBuf::from("autopkgtest"));
    assert_eq!(case.line().secret, None);
}

#[test]
fn archive_and_source_by_parameters() {
    let git = "https://x.org/y.git";
    let rows: Vec<(&str, Value, &str)> = vec![
        ("green", json!({}), "--apt-upgrade green"),
        ("green", json!({"triggers": ["a/1"]}), "--apt-pocket=proposed=src:a --apt-upgrade green"),
        (
            "green",
            json!({"triggers": ["b/1", "a/2"]}),
            "--apt-pocket=proposed=src:b,src:a --apt-upgrade green",
        ),
        ("green", json!({"triggers": ["migration-reference/0"]}), "--apt-upgrade green"),
        (
            "green",
            json!({"triggers": ["migration-reference/0", "a/1"]}),
            "--apt-pocket=proposed=src:a --apt-upgrade green",
        ),
        ("green", json!({"all-proposed": "1"}), "--apt-pocket=proposed --apt-upgrade green"),
        (
            "green",
            json!({"all-proposed": 1, "triggers": ["a/1"]}),
            "--apt-pocket=proposed --apt-upgrade green",
        ),
        (
            "green",
            json!({"all-proposed": "1", "triggers": ["migration-reference/0"]}),
            "--apt-pocket=proposed --apt-upgrade green",
        ),
        ("linux", json!({"triggers": ["a/1"]}), "--apt-pocket=proposed --apt-upgrade linux"),
        ("linux-aws", json!({"triggers": ["a/1"]}), "--apt-pocket=proposed --apt-upgrade linux-aws"),
        ("linux", json!({"triggers": ["migration-reference/0"]}), "--apt-upgrade linux"),
        ("linux", json!({}), "--apt-upgrade linux"),
        (
            "linux",
            json!({"triggers": ["a/1"], "ppas": ["j/p"]}),
            "--add-apt-source=ppa:j/p --apt-upgrade linux",
        ),
        ("linux", json!({"triggers": ["a/1"], "test-git": git}), "--apt-upgrade --no-built-binaries GIT"),
        ("green", json!({"ppas": ["j/p"]}), "--add-apt-source=ppa:j/p --apt-upgrade green"),
        (
            "green",
            json!({"ppas": ["j/p"], "triggers": ["a/1"]}),
            "--add-apt-source=ppa:j/p --apt-upgrade green",
        ),
        (
            "green",
            json!({"ppas": ["j/p"], "triggers": ["a/1"], "all-proposed": "1"}),
            "--add-apt-source=ppa:j/p --apt-pocket=proposed --apt-upgrade green",
        ),
        ("green", json!({"test-git": git}), "--apt-upgrade --no-built-binaries GIT"),
        (
            "green",
            json!({"test-git": format!("{git} b"), "triggers": ["a/1"]}),
            "--apt-upgrade --no-built-binaries GIT#b",
        ),
        ("green", json!({"test-git": git, "all-proposed": "1"}), "--apt-upgrade --no-built-binaries GIT"),
        (
            "green",
            json!({"test-git": git, "ppas": ["j/p"], "all-proposed": "1"}),
            "--add-apt-source=ppa:j/p --apt-upgrade --no-built-binaries GIT",
        ),
        ("green", json!({"build-git": git}), "--apt-upgrade GIT"),
        (
            "green",
            json!({"build-git": git, "triggers": ["a/1"]}),
            "--apt-pocket=proposed=src:a --apt-upgrade GIT",
        ),
        ("green", json!({"build-git": git, "test-git": git}), "--apt-upgrade --no-built-binaries GIT"),
    ];
    for (package, params, expected) in rows {
        let mut case = Case { package, ..Case::new(params.clone()) };
        assert_eq!(case.middle().join(" "), expected.replace("GIT", git), "{package} {params}");
        // The same without an archive of its own.
        case.settings.provider = Provider::Null { args: Vec::new() };
        let expected: Vec<&str> = expected
            .split(' ')
            .filter(|word| !word.starts_with("--apt-pocket") && *word != "--apt-upgrade")
            .collect();
        assert_eq!(
            case.middle().join(" "),
            expected.join(" ").replace("GIT", git),
            "null: {package} {params}"
        );
    }
}

#[test]
fn a_bzr_branch_is_tested_like_a_git_clone() {
    let mut case = Case::new(json!({"test-bzr": "lp:x", "triggers": ["a/1"]}));
    case.checkout = Some("/w/checkout");
    assert_eq!(case.middle().join(" "), "--apt-upgrade --no-built-binaries /w/checkout");
}

#[test]
fn environment_by_parameters() {
    for (params, expected) in [
        (json!({}), vec![]),
        (json!({"env": ["AB=1"]}), vec!["--env=AB=1"]),
        (json!({"triggers": ["a/1", "b/2"]}), vec!["--env=ADT_TEST_TRIGGERS=a/1 b/2"]),
        (
            json!({"triggers": ["migration-reference/0"]}),
            vec!["--env=ADT_TEST_TRIGGERS=migration-reference/0"],
        ),
        (json!({"testname": "x"}), vec!["--testname=x"]),
        (
            json!({"testname": "x", "env": ["AB=", "CD=2"], "triggers": ["a/1"]}),
            vec!["--env=AB=", "--env=CD=2", "--env=ADT_TEST_TRIGGERS=a/1", "--testname=x"],
        ),
    ] {
        assert_eq!(Case::new(params.clone()).late(), expected, "{params}");
    }
}

#[test]
fn what_the_architecture_needs() {
    for (pair, expected) in [
        ("noble/amd64", ""),
        ("noble/riscv64", "--needs-internet=skip "),
        ("noble/i386", "-a i386 "),
        ("focal/i386", "-a i386 "),
        ("bionic/i386", ""),
        ("xenial/i386", ""),
        ("noble/s390x", ""),
    ] {
        let case = Case { pair, ..Case::new(json!({})) };
        assert_eq!(case.middle().join(" "), format!("{expected}--apt-upgrade green"), "{pair}");
    }
}

#[test]
fn what_a_private_run_tests_stands_in_a_file() {
    let params = json!({"ppas": ["j/a", "joe:s3cret@j/b:AB"], "triggers": ["linux-meta-x/1"], "env": ["AB=1"], "testname": "t",
        "all-proposed": "1"});
    let public = Case::new(
        json!({"ppas": ["j/a", "j/b:AB"], "triggers": ["linux-meta-x/1"], "env": ["AB=1"], "testname": "t",
        "all-proposed": "1"}),
    );
    let mut private = Case::new(params);
    private.params["swiftuser"] = json!("x");
    for case in [&public, &private] {
        assert_eq!(case.provider(), "unshare --tarball /t.tar");
    }
    assert_eq!(private.words()[..4], ["--output-dir", "/w/out", "@/w/arguments", "--"]);
    let lines = private.line().secret.unwrap();
    let public = public.words();
    let public: Vec<OsString> = public[2..public.len() - 4]
        .iter()
        .map(|word| word.replace("ppa:j/b:AB", "ppa:joe:s3cret@j/b:AB").into())
        .collect();
    assert_eq!(lines, public, "the same in the same order");
    // Each is one line of the file.
    assert!(lines.iter().all(|line| !line.to_str().unwrap().contains('\n')));
}

#[test]
fn lists_and_architectures_decide_testbed_and_timeouts() {
    let label = "-c user.proofhouse.job=7 -c user.proofhouse.attempt=2 -c user.proofhouse.worker=w";
    let own = "-c security.idmap.isolated=true";
    let image = "far:autopkgtest/ubuntu/noble";
    let (small, big) = ("-c limits.cpu=2 -c limits.memory=4GiB", "-c limits.cpu=4 -c limits.memory=8GiB");
    let one_cpu = "-c limits.cpu=1 -c limits.memory=4GiB";
    let none = Listed::default();
    let rows: Vec<(&str, Listed, &str, String, &str)> = vec![
        ("noble/amd64", none, "10000", format!("{image}/amd64 {own} -p extra {label} {small}"), ""),
        (
            "noble/amd64",
            Listed { big: true, ..none },
            "20000",
            format!("{image}/amd64 {own} -p extra {label} {big}"),
            "",
        ),
        (
            "noble/amd64",
            Listed { long: true, ..none },
            "40000",
            format!("{image}/amd64 {own} -p extra {label} {small}"),
            "",
        ),
        (
            "noble/amd64",
            Listed { big: true, long: true, ..none },
            "40000",
            format!("{image}/amd64 {own} -p extra {label} {big}"),
            "",
        ),
        (
            "noble/amd64",
            Listed { vm: true, ..none },
            "10000",
            format!("{image}/amd64/vm -p extra {label} {small}"),
            "--vm ",
        ),
        (
            "noble/s390x",
            Listed { vm: true, ..none },
            "10000",
            format!("{image}/s390x/vm -p extra {label} {small}"),
            "--vm ",
        ),
        (
            "noble/arm64",
            Listed { vm: true, ..none },
            "10000",
            format!("{image}/arm64 {own} -p extra {label} {small}"),
            "",
        ),
        ("noble/s390x", none, "10000", format!("{image}/s390x {own} -p extra {label} {one_cpu}"), ""),
        (
            "noble/s390x",
            Listed { big: true, ..none },
            "20000",
            format!("{image}/s390x {own} -p extra {label} {}", big.replace("cpu=4", "cpu=1")),
            "",
        ),
        ("noble/riscv64", none, "40000", format!("{image}/riscv64 {own} -p extra {label} {small}"), ""),
        ("noble/i386", none, "10000", format!("{image}/amd64 {own} -p extra {label} {small}"), ""),
    ];
    for (pair, lists, timeout, expected, vm) in rows {
        let case = Case { pair, lists, settings: settings(lxd()), ..Case::new(json!({})) };
        assert_eq!(case.provider(), format!("lxd -r far {vm}{expected}"), "{pair} {lists:?}");
        assert!(case.words().contains(&format!("--timeout-test={timeout}")), "{pair} {lists:?}");
    }
    let mut machines = settings(lxd());
    if let Provider::Lxd(lxd) = &mut machines.provider {
        lxd.args.push("--vm".to_owned());
    }
    let case = Case { settings: machines, ..Case::new(json!({})) };
    assert!(!case.provider().contains("idmap"), "{}", case.provider());
}

#[test]
fn local_providers() {
    let mut case = Case::new(json!({}));
    assert_eq!(case.provider(), "unshare --tarball /t.tar");
    case.settings.provider = Provider::Null { args: vec!["-d".to_owned()] };
    assert_eq!(case.provider(), "null -d");
}
