//! The command line of one run (contract "The command line, in this order").

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use proofhouse_core::{
    arguments::{environment, image_arch, partial, pocket},
    names::Pair,
    protocol::{Grant, Timeouts},
    request::Request,
};

use crate::{
    kernel,
    settings::{Lxd, Provider, Settings},
    testbed,
};

/// Architectures on which the list `vm_packages` gets virtual machines.
const VM_ARCHES: [&str; 3] = ["amd64", "amd64v3", "s390x"];

/// One run, as far as its command line depends on it.
pub(crate) struct Run<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) grant: &'a Grant,
    /// With credentials opened.
    pub(crate) request: &'a Request,
    /// The worker's name, for labels.
    pub(crate) worker: &'a str,
    /// `<work>` of the contract.
    pub(crate) work: &'a Path,
    /// The root tarball, for the provider `unshare`.
    pub(crate) tarball: Option<&'a Path>,
    /// The checkout of `test-bzr`.
    pub(crate) checkout: Option<&'a Path>,
}

/// What is to be started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Arguments that no process list may show: they stand in the [`secret_file`], one a line.
    pub(crate) secret: Option<Vec<OsString>>,
}

/// Where secret arguments stand. autopkgtest reads them in place of the argument `@file`.
pub(crate) fn secret_file(work: &Path) -> PathBuf {
    work.join("arguments")
}

/// Builds the command line of `run`.
pub(crate) fn command_line(run: &Run) -> CommandLine {
    let mut args: Vec<OsString> = vec!["--output-dir".into(), run.work.join("out").into()];
    args.extend(machine(&run.grant.pair).map(Into::into));
    args.extend(run.settings.autopkgtest_args.iter().map(Into::into));
    args.extend(setup_commands(run.settings.setup_commands.iter().cloned()));
    let of_request = of_request(run);
    // A process list shows what a private run tests to everybody on this machine.
    let secret = if run.request.is_private() {
        let mut file = OsString::from("@");
        file.push(secret_file(run.work));
        args.push(file);
        Some(of_request)
    } else {
        args.extend(of_request);
        None
    };
    args.push("--".into());
    args.extend(provider(run));
    CommandLine { program: run.settings.autopkgtest.clone(), args, secret }
}

fn setup_commands(commands: impl IntoIterator<Item = String>) -> impl Iterator<Item = OsString> {
    commands.into_iter().flat_map(|command| ["--setup-commands".into(), command.into()])
}

/// What depends on the request: its kernels (6), and 7 to 11.
fn of_request(run: &Run) -> Vec<OsString> {
    let mut args: Vec<OsString> = setup_commands(kernel::setup_commands(run.request)).collect();
    args.extend(run.request.ppas.iter().map(|ppa| format!("--add-apt-source=ppa:{}", ppa.reveal()).into()));
    args.extend(archive(run).into_iter().map(Into::into));
    args.extend(source(run));
    args.extend(timeouts(Timeouts::of(run.grant.lists, &run.grant.pair)).map(Into::into));
    args.extend(environment(run.request).map(Into::into));
    args
}

/// 3 and 4: what the architecture needs.
fn machine(pair: &Pair) -> impl Iterator<Item = &'static str> {
    let internet = (pair.arch.as_str() == "riscv64").then_some("--needs-internet=skip");
    internet.into_iter().chain(partial(pair).iter().copied())
}

/// 8: what of -proposed is used, and the upgrade.
fn archive(run: &Run) -> Vec<String> {
    if matches!(run.settings.provider, Provider::Null { .. }) {
        return Vec::new();
    }
    pocket(run.request).into_iter().chain(["--apt-upgrade".to_owned()]).collect()
}

/// 9: the test source.
fn source(run: &Run) -> Vec<OsString> {
    let clone = |source: OsString| vec!["--no-built-binaries".into(), source];
    match (&run.request.test_git, run.checkout, &run.request.build_git) {
        (Some(git), _, _) => clone(git.as_str().into()),
        (None, Some(checkout), _) => clone(checkout.into()),
        (None, None, Some(git)) => vec![git.as_str().into()],
        (None, None, None) => vec![run.request.package.as_str().into()],
    }
}

/// 10.
fn timeouts(t: Timeouts) -> impl Iterator<Item = String> {
    [("short", t.short), ("install", t.install), ("test", t.test), ("copy", t.copy), ("build", t.build)]
        .into_iter()
        .map(|(name, seconds)| format!("--timeout-{name}={seconds}"))
}

/// 12: the provider's arguments.
fn provider(run: &Run) -> Vec<OsString> {
    match &run.settings.provider {
        Provider::Null { args } => std::iter::once("null").chain(strings(args)).map(Into::into).collect(),
        Provider::Unshare(_) => {
            let tarball = run.tarball.map(|path| ["--tarball".into(), path.into()]);
            std::iter::once("unshare".into()).chain(tarball.into_iter().flatten()).collect()
        }
        Provider::Lxd(lxd) => lxd_args(run, lxd).into_iter().map(Into::into).collect(),
    }
}

/// Users of a container's own. What LXD starts in containers shares a process group with it (`lxc exec`), and a signal to
/// one's group (`kill 0`) knows no container: it reaches all in the group who are the same user on the host.
const OWN_IDS: &str = "security.idmap.isolated=true";

fn lxd_args(run: &Run, lxd: &Lxd) -> Vec<String> {
    let Grant { id, pair, lists, .. } = run.grant;
    let vm = lists.vm && VM_ARCHES.contains(&pair.arch.as_str());
    let mut args = vec!["lxd".to_owned()];
    if let Some(remote) = &lxd.remote {
        args.extend(["-r".to_owned(), remote.clone()]);
    }
    if vm {
        args.push("--vm".to_owned());
    }
    let image = for_pair(&lxd.image, pair);
    args.push(if vm { format!("{image}/vm") } else { image });
    // A virtual machine, which has a kernel of its own, is refused with it. What comes later counts.
    if !vm && !lxd.args.iter().any(|arg| arg == "--vm") {
        args.extend(["-c", OWN_IDS].map(str::to_owned));
    }
    args.extend(lxd.args.iter().cloned());
    args.extend(testbed::lxd::labels(run.worker, *id).into_iter().flat_map(|label| ["-c".to_owned(), label]));
    let size = if lists.big { &lxd.size_big } else { &lxd.size_default };
    // Containers on s390x start with one CPU only (contract "Testbed providers").
    let one_cpu = pair.arch.as_str() == "s390x" && !vm;
    args.extend(size.iter().map(|arg| match arg.split_once("limits.cpu=") {
        Some((option, _)) if one_cpu => format!("{option}limits.cpu=1"),
        _ => arg.clone(),
    }));
    if vm {
        without_process_limit(&mut args);
    }
    args
}

/// LXD limits the processes of containers alone, and refuses a virtual machine that is to have such a limit.
fn without_process_limit(args: &mut Vec<String>) {
    while let Some(at) = args.iter().position(|arg| arg.contains("limits.processes=")) {
        // `-c limits.processes=N` is two arguments.
        let from = if args[at].starts_with('-') { at } else { at.saturating_sub(1) };
        args.drain(from..=at);
    }
}

/// A template with `{release}` and `{arch}` filled in.
pub(crate) fn for_pair(template: &str, pair: &Pair) -> String {
    template.replace("{release}", pair.release.as_str()).replace("{arch}", image_arch(pair))
}

fn strings(args: &[String]) -> impl Iterator<Item = &str> {
    args.iter().map(String::as_str)
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
