//! Where a testbed's packages and sources come from.
//!
//! autopkgtest reads the first line for the release, makes those of further pockets out of it, and gets a test's source by
//! `deb-src`: both kinds are needed, one entry a line, the release itself first.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
};

use crate::files;

/// The archives of this machine's apt: `uri suite component` a line; empty where there is no apt.
pub(super) fn of_host() -> String {
    output(
        "apt-get",
        &["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
    )
}

/// The proxies of this machine's apt, as apt's own configuration.
pub(super) fn proxies() -> String {
    let format = "%F \"%v\";%n";
    output(
        "apt-config",
        &["dump", "--no-empty", "--format", format, "Acquire::http::Proxy", "Acquire::https::Proxy"],
    )
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// The text of `sources.list` for a release: from `mirror`, or as this machine (`host`) gets its own packages. Empty where
/// neither is known.
pub(super) fn for_release(mirror: Option<&str>, release: &str, host: &str) -> String {
    let archives = match mirror {
        Some(mirror) => vec![(mirror.to_owned(), release.to_owned(), components(mirror).to_owned())],
        None => from_host(release, host),
    };
    let both = |(uri, suite, components): &(String, String, String)| {
        ["deb", "deb-src"].map(|kind| format!("{kind} {uri} {suite} {components}"))
    };
    files::lines(&archives.iter().flat_map(both).collect::<Vec<_>>())
}

fn components(mirror: &str) -> &'static str {
    if mirror.contains("ubuntu") { "main restricted universe multiverse" } else { "main" }
}

/// The release with its updates where the host follows the same one; else the release alone, from the host's archive.
fn from_host(release: &str, host: &str) -> Vec<(String, String, String)> {
    let mut found: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    let mut any = None;
    for line in host.lines() {
        let [uri, suite, component] = line.split(' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        if any.is_none() && !suite.contains('-') {
            any = Some(uri.to_owned());
        }
        let pocket = suite.strip_prefix(release);
        if matches!(pocket, Some("" | "-updates" | "-security")) {
            // Sorted by suite first, so that the release itself leads.
            let all = found.entry((suite.to_owned(), uri.to_owned())).or_default();
            if !all.contains(&component) {
                all.push(component);
            }
        }
    }
    if found.keys().any(|(suite, _)| suite == release) {
        return found.into_iter().map(|((suite, uri), all)| (uri, suite, all.join(" "))).collect();
    }
    let alone = |uri: String| (uri.clone(), release.to_owned(), components(&uri).to_owned());
    any.map(alone).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "http://m/debian/ bookworm-updates main\nhttp://m/debian/ bookworm main\n\
        http://m/debian/ bookworm contrib\nhttp://m/security/ bookworm-security main\n\
        http://m/debian/ bookworm-backports main\nhttps://other/x stable main\n";

    #[test]
    fn the_hosts_own_release_comes_with_its_updates() {
        assert_eq!(
            for_release(None, "bookworm", HOST),
            "deb http://m/debian/ bookworm main contrib\ndeb-src http://m/debian/ bookworm main contrib\n\
             deb http://m/security/ bookworm-security main\ndeb-src http://m/security/ bookworm-security main\n\
             deb http://m/debian/ bookworm-updates main\ndeb-src http://m/debian/ bookworm-updates main\n"
        );
    }

    #[test]
    fn other_releases_and_other_hosts() {
        assert_eq!(
            for_release(None, "trixie", HOST),
            "deb http://m/debian/ trixie main\ndeb-src http://m/debian/ trixie main\n"
        );
        assert_eq!(for_release(None, "sid", ""), "", "no archive is known");
        assert!(
            for_release(Some("http://u/ubuntu"), "noble", HOST)
                .starts_with("deb http://u/ubuntu noble main restricted universe multiverse\n")
        );
    }
}
