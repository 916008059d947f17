//! An LXD of one's own, as a daemon and as an HTTPS remote, with an image for autopkgtest. It needs root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    keeper::{Keeper, run},
    ports::free_port,
};

/// The name under which clients know the daemon over HTTPS.
pub const REMOTE: &str = "lab";

/// What systemd's container needs to be a testbed that autopkgtest can reboot and reach.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,libnss-systemd,iproute2,ifupdown,isc-dhcp-client,apt-utils,\
                        dpkg-dev,sudo,ca-certificates,openssh-server,passwd";

/// A running LXD.
#[derive(Debug)]
pub struct Lxd {
    port: u16,
    keeper: Keeper,
}

impl Lxd {
    /// Starts it and imports the image of Debian 12, which is built once and kept in the user's cache
    /// (half a minute, then 15 s).
    pub async fn start() -> Result<Self> {
        Self::start_on("driver: dir").await
    }

    /// The same with storage that knows quotas: 8 GiB of btrfs in a file.
    pub async fn with_quotas() -> Result<Self> {
        Self::start_on("driver: btrfs, config: {size: 8GiB}").await
    }

    async fn start_on(storage: &str) -> Result<Self> {
        let image = cached_image().await?;
        let keeper = Keeper::with_hook("lxd", &std::env::temp_dir(), include_str!("lxd_cleanup.sh"))?;
        let lxd = Self { port: free_port()?, keeper };
        lxd.start_lxcfs()?;
        lxd.start_daemon().await?;
        lxd.set_up(storage).await?;
        lxd.import(&image).await?;
        Ok(lxd)
    }

    /// The image's alias, the same at the daemon and at the remote.
    pub fn image(&self) -> String {
        format!("autopkgtest/debian/bookworm/{}", debian_arch())
    }

    /// What `lxc` and autopkgtest need in their environment to find this LXD and [`REMOTE`].
    pub fn env(&self) -> Vec<(String, String)> {
        ["LXD_DIR", "LXD_CONF"]
            .into_iter()
            .zip(["lxd", "conf"])
            .map(|(key, dir)| (key.to_owned(), self.path(dir).display().to_string()))
            .collect()
    }

    /// Runs `lxc` and returns what it prints.
    pub async fn lxc(&self, args: &[&str]) -> Result<String> {
        let mut command = self.command("lxc");
        command.args(args);
        run(command).await
    }

    /// The bridge of its containers.
    pub fn bridge(&self) -> String {
        format!("ph{}", self.port)
    }

    /// Without it a container sees the host's uptime and processors, and autopkgtest's reboot tests time out.
    fn start_lxcfs(&self) -> Result<()> {
        let target = "/var/lib/lxcfs";
        if Command::new("mountpoint").args(["-q", target]).status()?.success() {
            return Ok(());
        }
        fs::create_dir_all(target)?;
        let mut lxcfs = self.keeper.command("lxcfs");
        lxcfs.arg("-f").arg("-p").arg(self.path("lxcfs.pid")).arg(target);
        self.keeper.spawn("lxcfs", &mut lxcfs).map(drop)
    }

    async fn start_daemon(&self) -> Result<()> {
        fs::create_dir(self.path("lxd"))?;
        fs::create_dir(self.path("conf"))?;
        let mut daemon = self.command("lxd");
        daemon.args(["--group", "root"]);
        let daemon = self.keeper.spawn("lxd-daemon", &mut daemon)?;
        let mut ready = self.command("lxd");
        ready.args(["waitready", "--timeout", "60"]);
        run(ready).await.with_context(|| daemon.tail(40)).map(drop)
    }

    /// Storage, a bridge with a network of its own, and the remote.
    async fn set_up(&self, storage: &str) -> Result<()> {
        let (port, bridge) = (self.port, self.bridge());
        let password = uuid::Uuid::new_v4();
        // Its own /24 in 10.64.0.0/10, as its own port.
        let subnet = format!("10.{}.{}.1/24", 64 + port / 256 % 64, port % 256);
        let preseed = format!(
            "config:\n  core.https_address: 127.0.0.1:{port}\n  core.trust_password: {password}\n  \
               images.auto_update_interval: \"0\"\n\
             storage_pools:\n- {{name: default, {storage}}}\n\
             networks:\n- {{name: {bridge}, type: bridge, config: \
               {{ipv4.address: {subnet}, ipv4.nat: \"true\", ipv6.address: none}}}}\n\
             profiles:\n- name: default\n  devices:\n    root: {{path: /, pool: default, type: disk}}\n    \
               eth0: {{name: eth0, network: {bridge}, type: nic}}\n"
        );
        let file = self.path("preseed.yaml");
        fs::write(&file, preseed)?;
        let mut init = self.command("lxd");
        init.args(["init", "--preseed"]).stdin(fs::File::open(&file)?);
        run(init).await?;
        let (url, password) = (format!("https://127.0.0.1:{port}"), password.to_string());
        self.lxc(&["remote", "add", REMOTE, &url, "--accept-certificate", "--password", &password])
            .await
            .map(drop)
    }

    async fn import(&self, rootfs: &Path) -> Result<()> {
        let metadata = format!(
            "architecture: {}\ncreation_date: 1\nproperties: {{os: Debian, release: bookworm}}\n",
            std::env::consts::ARCH
        );
        fs::write(self.path("metadata.yaml"), metadata)?;
        let archive = self.path("metadata.tar.gz");
        let mut tar = self.command("tar");
        tar.arg("-C").arg(self.keeper.dir()).arg("-czf").arg(&archive).arg("metadata.yaml");
        run(tar).await?;
        let mut import = self.command("lxc");
        import.args(["image", "import"]).arg(archive).arg(rootfs).args(["--alias", &self.image()]);
        run(import).await.map(drop)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.keeper.dir().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.keeper.command(program);
        command.envs(self.env());
        command
    }
}

fn debian_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The root file system, built by the first that needs it.
async fn cached_image() -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    }
    .join("proofhouse");
    let image = cache.join(format!("lxd-bookworm-{}.tar", debian_arch()));
    if !image.exists() {
        fs::create_dir_all(&cache)?;
        let unfinished = tempfile::Builder::new().suffix(".tar").tempfile_in(&cache)?;
        build_image(unfinished.path()).await?;
        unfinished.persist(&image)?;
    }
    Ok(image)
}

async fn build_image(target: &Path) -> Result<()> {
    let mut build = Command::new("mmdebstrap");
    build.args(["--variant=minbase", &format!("--include={PACKAGES}")]);
    build.arg(r#"--customize-hook=printf "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n" > "$1/etc/network/interfaces""#);
    build.arg(r#"--customize-hook=useradd -R "$1" -m -s /bin/bash user"#);
    build.arg("bookworm").arg(target).args(mirror().await);
    run(build).await.map(drop)
}

/// The archive that this machine uses, which may be nearer than the default one.
async fn mirror() -> Option<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"]);
    let targets = run(targets).await.ok()?;
    let debian = targets.lines().find_map(|line| line.strip_prefix("Debian "));
    debian.filter(|uri| !uri.contains("security")).map(str::to_owned)
}
