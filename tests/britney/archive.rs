//! A small archive as britney reads it, and the source trees of its packages.

use std::{
    fmt::Write,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// The release whose packages migrate from `-proposed`.
pub(crate) const RELEASE: &str = "noble";
/// Its one architecture.
pub(crate) const ARCH: &str = "amd64";

struct Package {
    name: &'static str,
    /// In the release, and in `-proposed` where a new version waits there.
    versions: (&'static str, Option<&'static str>),
    depends: &'static str,
    /// What the package's test does; it knows its triggers as every test does, by `ADT_TEST_TRIGGERS`.
    test: &'static str,
}

/// `green` may migrate: what depends on it fails with it, but failed before too. `black` may not, for it breaks `grey`, until
/// that is mended: a file `repaired` in the folder of the trees says so.
const PACKAGES: [Package; 4] = [
    Package { name: "green", versions: ("1", Some("2")), depends: "", test: "exit 0" },
    Package { name: "lightgreen", versions: ("1", None), depends: "green", test: "exit 1" },
    Package { name: "black", versions: ("1", Some("2")), depends: "", test: "exit 0" },
    Package {
        name: "grey",
        versions: ("1", None),
        depends: "black",
        test: r#"[ -e FOLDER/repaired ] || [ "$ADT_TEST_TRIGGERS" != black/2 ]"#,
    },
];

/// Writes the indexes of the release and of `-proposed`, in the old layout (britney's `suiteloader.py`).
pub(crate) fn write_indexes(dir: &Path) -> Result<()> {
    let proposed = format!("{RELEASE}-proposed");
    write_suite(&dir.join(RELEASE), PACKAGES.iter().map(|p| (p, p.versions.0)))?;
    let new = PACKAGES.iter().filter_map(|p| Some((p, p.versions.1?)));
    write_suite(&dir.join(&proposed), new.clone())?;
    fs::create_dir(dir.join(RELEASE).join("state"))?;
    fs::create_dir(dir.join(&proposed).join("Hints"))?;
    // Which PPA a version was copied from: britney asks Launchpad about those that are not in here.
    let copied: serde_json::Map<_, _> =
        new.map(|(p, version)| (p.name.to_owned(), serde_json::json!({ version: "" }))).collect();
    fs::write(dir.join(&proposed).join("SourcePPA"), serde_json::to_vec(&copied)?)?;
    Ok(())
}

fn write_suite<'a>(dir: &Path, packages: impl Iterator<Item = (&'a Package, &'a str)>) -> Result<()> {
    fs::create_dir_all(dir)?;
    let (mut sources, mut binaries) = (String::new(), String::new());
    for (Package { name, depends, .. }, version) in packages {
        let common = format!(
            "Package: {name}\nVersion: {version}\nSection: devel\nMaintainer: Joe <joe@example.org>\n"
        );
        write!(sources, "{common}Testsuite: autopkgtest\n\n")?;
        let depends = if depends.is_empty() { String::new() } else { format!("Depends: {depends}\n") };
        write!(
            binaries,
            "{common}Architecture: {ARCH}\nPriority: optional\nDescription: small\n{depends}\n"
        )?;
    }
    fs::write(dir.join("Sources"), sources)?;
    fs::write(dir.join(format!("Packages_{ARCH}")), binaries)?;
    // What tells of ages, urgencies and bugs has nothing to say.
    for empty in ["Dates", "Urgency", "BugsV", "Blocks"] {
        fs::write(dir.join(empty), "")?;
    }
    Ok(())
}

/// Writes a source tree for each version, `{name}-{version}`, with a test that the host can run as it is.
pub(crate) fn write_trees(dir: &Path) -> Result<()> {
    for package in &PACKAGES {
        for version in std::iter::once(package.versions.0).chain(package.versions.1) {
            write_tree(dir, package, version)?;
        }
    }
    Ok(())
}

fn write_tree(trees: &Path, Package { name, test, .. }: &Package, version: &str) -> Result<()> {
    let dir = trees.join(format!("{name}-{version}"));
    let test = test.replace("FOLDER", &trees.display().to_string());
    let tests: PathBuf = dir.join("debian/tests");
    fs::create_dir_all(&tests)?;
    fs::write(
        dir.join("debian/changelog"),
        format!(
            "{name} ({version}) {RELEASE}; urgency=medium\n\n  * New.\n\n \
             -- Joe <joe@example.org>  Fri, 20 Nov 2026 12:00:00 +0000\n"
        ),
    )?;
    fs::write(
        dir.join("debian/control"),
        format!(
            "Source: {name}\nMaintainer: Joe <joe@example.org>\n\n\
             Package: {name}\nArchitecture: any\nDescription: small\n"
        ),
    )?;
    fs::write(tests.join("control"), "Tests: check\nDepends:\n")?;
    let check = tests.join("check");
    fs::write(&check, format!("#!/bin/sh\necho \"triggers: $ADT_TEST_TRIGGERS\"\n{test}\n"))?;
    fs::set_permissions(&check, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
