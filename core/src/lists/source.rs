//! Where lists come from: a folder, or a git repository that is cloned and pulled.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    str::FromStr,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::process::Command;

/// A git that does not answer is given up after this.
const GIT_TIMEOUT: Duration = Duration::from_secs(120);

/// A folder or a git URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder, read as it is.
    Folder(PathBuf),
    /// A repository: https, http, ssh, git, file, or `user@host:path`.
    Git(String),
}

/// Why the lists could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// git cannot be run, or a folder cannot be made.
    #[error("git cannot be run")]
    Run(#[source] std::io::Error),
    /// git says no.
    #[error("git {what} failed: {text}")]
    Git {
        /// `clone` or `pull`.
        what: &'static str,
        /// The last line of what it said.
        text: String,
    },
    /// git did not come to an end.
    #[error("git did not answer within {} seconds", GIT_TIMEOUT.as_secs())]
    Slow,
}

impl FromStr for Source {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            let remote =
                text.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
            return match text {
                "" => Err("a folder or a git URL is allowed".to_owned()),
                _ if text.starts_with('-') => Err("neither a folder nor a git URL begins with -".to_owned()),
                _ if remote => Ok(Self::Git(text.to_owned())),
                _ => Ok(Self::Folder(text.into())),
            };
        };
        if !["https", "http", "ssh", "git", "file"].contains(&scheme) {
            return Err("a git URL begins with https://, http://, ssh://, git:// or file://".to_owned());
        }
        let user = rest.split('/').next().and_then(|host| host.rsplit_once('@')).map(|(user, _)| user);
        if user.is_some_and(|user| user.contains(':') || scheme.starts_with("http")) {
            return Err("a git URL with a password would show in the list of processes; \
                 let git find it (a credential helper, or an ssh key)"
                .to_owned());
        }
        Ok(Self::Git(text.to_owned()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Git(url) => f.write_str(url),
        }
    }
}

impl Source {
    /// Brings a repository up to date, cloning it into `data/lists` at first; returns the folder to read.
    ///
    /// # Errors
    /// git fails: what was there before is as it was.
    pub async fn update(&self, data: &Path) -> Result<PathBuf, SourceError> {
        match self {
            Self::Folder(path) => Ok(path.clone()),
            Self::Git(url) => {
                let clone = self.folder(data);
                if clone.join(".git").is_dir() {
                    git("pull", &clone, &["pull", "--quiet", "--ff-only"]).await?;
                } else {
                    clone_new(url, data, &clone).await?;
                }
                Ok(clone)
            }
        }
    }

    /// The folder that the lists lie in. A repository's is named after its URL: another URL is another clone.
    pub fn folder(&self, data: &Path) -> PathBuf {
        match self {
            Self::Folder(path) => path.clone(),
            Self::Git(url) => {
                let name = hex::encode(Sha256::digest(url));
                data.join("lists").join(&name[..16])
            }
        }
    }
}

/// A clone that is cut off leaves a folder with another name, which the next try removes.
async fn clone_new(url: &str, data: &Path, clone: &Path) -> Result<(), SourceError> {
    let part = clone.with_extension("part");
    tokio::fs::create_dir_all(data.join("lists")).await.map_err(SourceError::Run)?;
    match tokio::fs::remove_dir_all(&part).await {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(SourceError::Run(e)),
        _ => {}
    }
    let target = part.to_string_lossy();
    git("clone", &data.join("lists"), &["clone", "--quiet", "--depth=1", "--", url, &target]).await?;
    tokio::fs::rename(&part, clone).await.map_err(SourceError::Run)
}

async fn git(what: &'static str, folder: &Path, arguments: &[&str]) -> Result<(), SourceError> {
    let folder = std::path::absolute(folder).map_err(SourceError::Run)?;
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(GIT_TIMEOUT, command.output()).await.map_err(|_| SourceError::Slow)?;
    let output = output.map_err(SourceError::Run)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    Err(SourceError::Git { what, text: last.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_repositories() {
        for git in ["https://h/a.git", "git://h/a", "ssh://git@h/a", "git@h:a/b.git", "file:///srv/a.git"] {
            assert_eq!(git.parse(), Ok(Source::Git(git.to_owned())));
        }
        for folder in ["/etc/lists", "lists", "./a@b:c"] {
            assert_eq!(folder.parse(), Ok(Source::Folder(folder.into())));
        }
        for bad in ["", "-x", "ext::sh://x", "ftp://h/a", "https://u:s3cret@h/a", "https://s3cret@h/a"] {
            let error = bad.parse::<Source>().unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
