//! A small archive with Sources indexes, served as archives are: with `Last-Modified`, and 304 where nothing changed.

use std::{fs, io::Write, time::Duration};

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};
use proofhouse_tests::{
    keeper::{Keeper, Process},
    ports::free_port,
    wait::wait_for,
};

/// Pocket, component, and the sources there.
const INDEXES: [(&str, &str, &str); 4] = [
    ("noble", "main", "green/1 blue/1:2.0-1ubuntu1~24.04"),
    ("noble-updates", "main", "green/2"),
    ("noble", "universe", "red/7+dfsg-1"),
    ("noble-updates", "universe", ""),
];

pub(crate) struct Archive {
    pub(crate) url: String,
    _server: Process,
    _keeper: Keeper,
}

impl Archive {
    pub(crate) async fn start() -> Result<Self> {
        let keeper = Keeper::new("archive")?;
        for (pocket, component, sources) in INDEXES {
            let folder = keeper.dir().join(format!("dists/{pocket}/{component}/source"));
            fs::create_dir_all(&folder)?;
            let mut index = GzEncoder::new(fs::File::create(folder.join("Sources.gz"))?, Compression::fast());
            for (name, version) in sources.split(' ').filter_map(|source| source.split_once('/')) {
                writeln!(
                    index,
                    "Package: {name}\nBinary: {name}\nVersion: {version}\nPackage-List:\n {name} deb\n"
                )?;
            }
            index.finish()?;
        }
        let port = free_port()?;
        let mut server = keeper.command("/usr/bin/python3");
        server.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(keeper.dir());
        let server = keeper.spawn("archive", server.arg(port.to_string()))?;
        let url = format!("http://127.0.0.1:{port}");
        wait_for("the archive", Duration::from_secs(20), async || reqwest::get(&url).await.ok().map(drop))
            .await?;
        Ok(Self { url, _server: server, _keeper: keeper })
    }
}
