//! Addresses of pages and files: every part is encoded, whatever it holds.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proofhouse_core::{layout::Container, params::Ppa};

/// What stays as it is in a part of a path.
const PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'+')
    .remove(b'@')
    .remove(b':');

/// A path of these parts.
pub(crate) fn path(parts: &[&str]) -> String {
    use std::fmt::Write;
    let mut path = String::new();
    for part in parts {
        // Writing to a String cannot fail.
        let _ = write!(path, "/{}", utf8_percent_encode(part, PART));
    }
    path
}

/// The page of a package.
pub(crate) fn package_path(package: &str) -> String {
    path(&["packages", package])
}

/// The page of a package on a release and arch.
pub(crate) fn pair_path(package: &str, release: &str, arch: &str) -> String {
    path(&["packages", package, release, arch])
}

/// The page of a run.
pub(crate) fn run_path(package: &str, release: &str, arch: &str, run_id: &str) -> String {
    path(&["packages", package, release, arch, run_id])
}

/// The page of somebody.
pub(crate) fn user_path(name: &str) -> String {
    format!("{}/", path(&["user", name]))
}

/// The page of a PPA.
pub(crate) fn ppa_path(owner: &str, name: &str) -> String {
    path(&["user", owner, "ppa", name])
}

/// The page of a release.
pub(crate) fn release_path(release: &str) -> String {
    path(&["release", release])
}

/// The page of all that an upload, `source/version`, set off. None for what is no upload.
pub(crate) fn trigger_path(trigger: &str) -> Option<String> {
    let (source, version) = trigger.split_once('/')?;
    (trigger != "migration-reference/0").then(|| path(&["trigger", source, version]))
}

/// The words of a parameter's value, each with the page of what it names: an upload or a PPA. Others are one.
pub(crate) fn words_of<'a>(key: &str, value: &'a str) -> Vec<(&'a str, Option<String>)> {
    let page: fn(&str) -> Option<String> = match key {
        "triggers" => trigger_path,
        "ppas" => |text| text.parse::<Ppa>().ok().map(|ppa| ppa_path(&ppa.owner, &ppa.name)),
        _ => return vec![(value, None)],
    };
    value.split(' ').map(|word| (word, page(word))).collect()
}

/// The page of the PPA of a run, by the release and the container in which its results lie. Where its owner's name ends does
/// not matter: the page is the same.
pub(crate) fn container_path(release: &str, container: &str) -> Option<String> {
    let rest = container.strip_prefix("autopkgtest-")?.strip_prefix(release)?.strip_prefix('-')?;
    let (owner, name) = rest.split_once('-')?;
    Some(ppa_path(owner, name))
}

/// A file in the store. The slashes of its name stay.
pub(crate) fn results_path(container: &Container, object: &str) -> String {
    let parts: Vec<&str> = ["results", container.as_str()].into_iter().chain(object.split('/')).collect();
    path(&parts)
}

/// A step of the way to a page.
#[derive(Debug, Clone)]
pub(crate) struct Crumb {
    pub(crate) name: String,
    pub(crate) path: String,
}

/// The way to a package's pages: package, then release and arch, then run.
pub(crate) fn crumbs(package: &str, pair: Option<(&str, &str)>, run_id: Option<&str>) -> Vec<Crumb> {
    let mut crumbs = vec![Crumb { name: package.to_owned(), path: package_path(package) }];
    if let Some((release, arch)) = pair {
        crumbs.push(Crumb { name: format!("{release}/{arch}"), path: pair_path(package, release, arch) });
        if let Some(run_id) = run_id {
            crumbs.push(Crumb { name: run_id.to_owned(), path: run_path(package, release, arch, run_id) });
        }
    }
    crumbs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_encoded() {
        assert_eq!(package_path("libstdc++"), "/packages/libstdc++");
        assert_eq!(package_path("../\"<x>?"), "/packages/..%2F%22%3Cx%3E%3F");
        assert_eq!(run_path("a", "noble", "amd64", "2026@"), "/packages/a/noble/amd64/2026@");
        let words = words_of("triggers", "a/1 migration-reference/0");
        assert_eq!(words, [("a/1", Some("/trigger/a/1".to_owned())), ("migration-reference/0", None)]);
        assert_eq!(words_of("ppas", "joe/stuff:AB")[0].1.as_deref(), Some("/user/joe/ppa/stuff"));
        assert_eq!(words_of("env", "A=b/c d"), [("A=b/c d", None)]);
        let ppa = container_path("noble", "autopkgtest-noble-joe-my-stuff");
        assert_eq!(ppa.as_deref(), Some("/user/joe/ppa/my-stuff"));
        assert_eq!(container_path("noble", "autopkgtest-noble"), None);
        let container = "c".parse().unwrap();
        assert_eq!(results_path(&container, "a/b c@/log.gz"), "/results/c/a/b%20c@/log.gz");
    }
}
