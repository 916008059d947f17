//! How a run is repeated: on a machine of one's own, and here. What stands in a command line is quoted for a shell.

use proofhouse_core::{
    arguments::{environment, image_arch, partial, pocket},
    db::ResultRow,
    layout::Container,
    names::Pair,
    params::Ppa,
    request::Request,
};
use serde::Serialize;
use url::form_urlencoded;
use utoipa::ToSchema;

use crate::private::{PublicJob, PublicResult};

/// How a run is repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Reproduce {
    /// On a machine of one's own, with a testbed that autopkgtest-build-lxd made.
    pub(crate) autopkgtest: String,
    /// Here, for operators.
    pub(crate) proofhouse: String,
    /// The path that asks for it here; null: it cannot be asked for by HTTP.
    pub(crate) again: Option<String>,
}

/// As a run was asked for: by its job, or by its result, where that says everything.
pub(crate) fn request_of(row: &PublicResult, job: Option<&PublicJob>) -> Option<Request> {
    if let Some(job) = job {
        return job.request().ok();
    }
    let ResultRow { container, release, package, triggers, env, .. } = &**row;
    // Nobody knows all PPAs of a run with PPAs by its container.
    let own = Container::of_run(&release.parse().ok()?, None, false);
    if own.as_str() != container {
        return None;
    }
    let mut request = Request::plain(package.parse().ok()?);
    for trigger in triggers.iter().flat_map(|text| text.split_whitespace()) {
        request.triggers.push(trigger.parse().ok()?);
    }
    for pair in env.iter().flat_map(|text| text.split(',')).filter(|text| !text.is_empty()) {
        match pair.split_once('=')? {
            ("all-proposed", _) => request.all_proposed = true,
            ("testname", name) => request.testname = Some(name.parse().ok()?),
            _ => return None,
        }
    }
    Some(request)
}

impl Reproduce {
    /// None for a private one.
    pub(crate) fn of(request: &Request, pair: &Pair) -> Option<Self> {
        if request.is_private() || request.has_credentials() {
            return None;
        }
        Some(Self {
            autopkgtest: autopkgtest(request, pair)?,
            proofhouse: proofhouse(request, pair)?,
            again: again(request, pair),
        })
    }
}

/// None where something cannot be quoted, which no request holds.
fn command_line(words: &[String]) -> Option<String> {
    shlex::try_join(words.iter().map(String::as_str)).ok()
}

fn autopkgtest(request: &Request, pair: &Pair) -> Option<String> {
    let mut words = vec!["autopkgtest".to_owned()];
    words.extend(partial(pair).iter().map(|word| (*word).to_owned()));
    words
        .extend(request.ppas.iter().map(|ppa| format!("--add-apt-source=ppa:{}", ppa.without_credentials())));
    words.extend(pocket(request));
    words.push("--apt-upgrade".to_owned());
    words.extend(environment(request));
    match (&request.test_git, &request.test_bzr, &request.build_git) {
        (Some(git), ..) => words.extend(["--no-built-binaries".to_owned(), git.to_string()]),
        // autopkgtest takes no branch of bzr.
        (None, Some(_), _) => return None,
        (None, None, Some(git)) => words.push(git.to_string()),
        (None, None, None) => words.push(request.package.to_string()),
    }
    let release = pair.release.as_str();
    let image = format!("autopkgtest/{}/{release}/{}", distribution(release), image_arch(pair));
    words.extend(["--", "lxd", &image].map(str::to_owned));
    command_line(&words)
}

/// Releases of Debian; autopkgtest-build-lxd names its images by the distribution, and Ubuntu has new names twice a year.
const OF_DEBIAN: [&str; 10] =
    ["buster", "bullseye", "bookworm", "trixie", "forky", "duke", "stable", "testing", "unstable", "sid"];

fn distribution(release: &str) -> &'static str {
    if OF_DEBIAN.contains(&release) { "debian" } else { "ubuntu" }
}

fn proofhouse(request: &Request, pair: &Pair) -> Option<String> {
    let fixed =
        ["proofhouse", "request", pair.release.as_str(), pair.arch.as_str(), request.package.as_str()];
    let mut words: Vec<String> = fixed.map(str::to_owned).into();
    for (name, value) in options(request) {
        words.extend([format!("--{name}"), value]);
    }
    if request.all_proposed {
        words.push("--all-proposed".to_owned());
    }
    command_line(&words)
}

/// Parameters by the names that the command line and the form have for them.
fn options(request: &Request) -> Vec<(&'static str, String)> {
    let named = |name, values: Vec<String>| values.into_iter().map(move |value| (name, value));
    let one = |value: Option<String>| value.into_iter().collect();
    let all = [
        named("trigger", request.triggers.iter().map(ToString::to_string).collect()),
        named("ppa", request.ppas.iter().map(Ppa::without_credentials).collect()),
        named("env", request.env.iter().map(ToString::to_string).collect()),
        named("test-git", one(request.test_git.as_ref().map(ToString::to_string))),
        named("build-git", one(request.build_git.as_ref().map(ToString::to_string))),
        named("test-bzr", one(request.test_bzr.as_ref().map(ToString::to_string))),
        named("testname", one(request.testname.as_ref().map(ToString::to_string))),
    ];
    all.into_iter().flatten().collect()
}

/// The link of gates and mails (contract "request.cgi"). None for what its form does not have.
fn again(request: &Request, pair: &Pair) -> Option<String> {
    if request.test_git.is_some() || request.test_bzr.is_some() {
        return None;
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("release", pair.release.as_str());
    query.append_pair("arch", pair.arch.as_str());
    query.append_pair("package", request.package.as_str());
    query.extend_pairs(options(request));
    if request.all_proposed {
        query.append_pair("all-proposed", "1");
    }
    Some(format!("/request.cgi?{}", query.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Option<Reproduce> {
        Reproduce::of(&Request::parse(body.as_bytes()).unwrap(), &"noble/amd64".parse().unwrap())
    }

    #[test]
    fn as_it_was_asked_for() {
        let run =
            of(r#"green {"triggers": ["green/1:2", "libfoo++/3"], "env": ["A_B=c d"], "testname": "one"}"#)
                .unwrap();
        assert_eq!(
            run.autopkgtest,
            "autopkgtest '--apt-pocket=proposed=src:green,src:libfoo++' --apt-upgrade '--env=A_B=c d' \
             '--env=ADT_TEST_TRIGGERS=green/1:2 libfoo++/3' '--testname=one' green -- lxd autopkgtest/ubuntu/noble/amd64"
        );
        assert_eq!(
            run.proofhouse,
            "proofhouse request noble amd64 green --trigger green/1:2 --trigger libfoo++/3 --env 'A_B=c d' --testname one"
        );
        assert_eq!(
            run.again.unwrap(),
            "/request.cgi?release=noble&arch=amd64&package=green&trigger=green%2F1%3A2&trigger=libfoo%2B%2B%2F3\
             &env=A_B%3Dc+d&testname=one"
        );
        let debian = Reproduce::of(&Request::parse(b"green").unwrap(), &"bookworm/amd64".parse().unwrap());
        assert!(debian.unwrap().autopkgtest.ends_with(" green -- lxd autopkgtest/debian/bookworm/amd64"));
        let ppa = of(r#"green {"ppas": ["own/name"]}"#).unwrap();
        assert!(ppa.autopkgtest.contains("'--add-apt-source=ppa:own/name' --apt-upgrade green"));
        assert_eq!(of(r#"green {"test-git": "https://x/y"}"#).unwrap().again, None);
        assert_eq!(of(r#"green {"triggers": ["a/1"], "swiftuser": "u"}"#), None);
    }
}
