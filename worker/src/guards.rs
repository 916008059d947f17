//! One process that forks a worker's guards: both ends of the socket between them.
//!
//! A guard that is a program of its own would need private memory for whatever a program as large as this one relocates
//! when it is loaded; one that is forked shares that with all the others. For each guard the worker sends the guard's end
//! of a new pair of sockets, its [line](crate::guard), and keeps the other end. Nobody else holds either of them, so that
//! each side sees at once when the other is gone.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream as Socket,
    },
    process::Stdio,
    time::Instant,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, dup2_stdin, fork, setpgid},
};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::{io::Interest, net::UnixStream, process::Command, sync::Mutex};

use crate::guard::Report;

/// The worker's end. Dropping it ends the process that forks; the guards stay for their runners.
pub(crate) struct Guards {
    command: Vec<OsString>,
    /// Its process is started with the first guard, and anew when it is gone.
    server: Mutex<Option<UnixStream>>,
}

impl Guards {
    /// `command` is the program that calls [`crate::guard_main`], and its arguments.
    pub(crate) fn new(command: Vec<OsString>) -> Self {
        Self { command, server: Mutex::default() }
    }

    /// Starts a guard; returns the worker's end of its line.
    pub(crate) async fn start(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = Socket::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        let mut server = self.server.lock().await;
        if let Some(server) = &*server
            && send(server, theirs.as_fd()).await.is_ok()
        {
            return Ok(ours);
        }
        send(server.insert(self.start_server()?), theirs.as_fd()).await?;
        Ok(ours)
    }

    fn start_server(&self) -> io::Result<UnixStream> {
        let (program, args) =
            self.command.split_first().ok_or_else(|| io::Error::other("no program starts the guards"))?;
        let (ours, theirs) = Socket::pair()?;
        ours.set_nonblocking(true)?;
        // Its end is seen at the socket; the runtime reaps it.
        let _ = without_secrets(Command::new(program))
            .args(args)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        UnixStream::from_std(ours)
    }
}

/// What this process knows is not for the tests that it runs: on this machine itself they see the runner's environment.
fn without_secrets(mut command: Command) -> Command {
    const NAMES: [&str; 4] =
        ["PROOFHOUSE_SEAL_KEY", "PROOFHOUSE_BUS", "PROOFHOUSE_DATABASE", "PROOFHOUSE_STORE"];
    let is_secret = |name: &str| NAMES.contains(&name) || name.starts_with("OS_") || name.starts_with("AWS_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_secret) {
            command.env_remove(name);
        }
    }
    command
}

async fn send(server: &UnixStream, line: BorrowedFd<'_>) -> io::Result<()> {
    let send = || {
        let lines = [line];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        rights.push(SendAncillaryMessage::ScmRights(&lines));
        // A descriptor travels with a byte at least.
        sendmsg(server, &[IoSlice::new(&[0])], &mut rights, SendFlags::NOSIGNAL)?;
        Ok(())
    };
    server.async_io(Interest::WRITABLE, send).await
}

/// The life of the process that forks; standard input is its end of the socket. It returns in each guard, with its line,
/// and without one in the process itself, once the worker is gone.
pub(crate) fn serve() -> io::Result<Option<(Socket, Children)>> {
    // A signal to the whole group or service is the worker's to answer.
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect::<SigSet>().thread_block()?;
    let children = Children::new()?;
    let control = io::stdin();
    loop {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG))
            && status != WaitStatus::StillAlive
        {}
        if !children.wait(Some(control.as_fd()), None) {
            continue;
        }
        let Some(line) = receive(control.as_fd())? else {
            return Ok(None);
        };
        match fork_here() {
            Ok(ForkResult::Child) => {
                setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
                // Only the process itself may hold the socket, so that the worker sees when it is gone.
                dup2_stdin(File::open("/dev/null")?)?;
                return Ok(Some((line, children)));
            }
            Ok(ForkResult::Parent { .. }) => {}
            Err(errno) => Report::NotStarted(format!("a guard cannot be forked: {errno}")).tell(&line),
        }
    }
}

#[expect(unsafe_code, reason = "no library forks without")]
fn fork_here() -> Result<ForkResult, Errno> {
    // SAFETY: this process has one thread, so that the child finds nothing half done.
    unsafe { fork() }
}

/// The next guard's line; none when the worker is gone.
fn receive(control: BorrowedFd<'_>) -> io::Result<Option<Socket>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    recvmsg(control, &mut [IoSliceMut::new(&mut byte)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let mut lines = rights.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut lines) => lines.next(),
        _ => None,
    });
    Ok(lines.next().map(Socket::from))
}

/// Hears when children of this process end. Works in a forked process as well, for its own children.
pub(crate) struct Children(SignalFd);

impl Children {
    fn new() -> io::Result<Self> {
        let signal = SigSet::from(Signal::SIGCHLD);
        signal.thread_block()?;
        Ok(Self(SignalFd::with_flags(&signal, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Waits until a child may have ended, `line` can be read or is closed, or it is `until`; says whether it is `line`.
    pub(crate) fn wait(&self, line: Option<BorrowedFd<'_>>, until: Option<Instant>) -> bool {
        let timeout = until.map_or(PollTimeout::NONE, |until| {
            let rest = until.saturating_duration_since(Instant::now());
            PollTimeout::try_from(rest).unwrap_or(PollTimeout::MAX)
        });
        let all = [Some(self.0.as_fd()), line].into_iter().flatten();
        let mut all: Vec<PollFd> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // One that is interrupted was a short one.
        let _ = poll(&mut all, timeout);
        while matches!(self.0.read_signal(), Ok(Some(_))) {}
        all.get(1).and_then(PollFd::any).unwrap_or(false)
    }
}
