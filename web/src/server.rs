//! The process: listens, serves, and ends in two stages.

use std::net::SocketAddr;

use axum::http::HeaderMap;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{App, Web},
    connections::{self, Bounds},
    follow,
    limits::asking,
    listener::listen,
    routes::router,
};

/// Why the site does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Everyone on the network could ask for tests in nobody's name.
    #[error(
        "the site listens on {0}, which is not a loopback address, and takes requests without a token: choose one"
    )]
    OpenToTheWorld(SocketAddr),
    /// The socket failed.
    #[error("the site's socket failed")]
    Socket(#[source] std::io::Error),
}

/// The two stages of a stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take no new connections, and finish what is open.
    pub drain: CancellationToken,
    /// End now.
    pub hard: CancellationToken,
}

/// Serves the site on `listener` until it is stopped.
pub async fn run(web: Web, listener: TcpListener, stop: Stop) -> Result<(), Error> {
    let address = listener.local_addr().map_err(Error::Socket)?;
    if web.settings.open && !address.ip().is_loopback() {
        return Err(Error::OpenToTheWorld(address));
    }
    let app = App::new(web);
    app.tasks().spawn(listen(app.clone(), stop.drain.clone()));
    app.tasks().spawn(follow::listen(app.clone(), stop.drain.clone()));
    // Where nobody is bound, nobody is.
    let settings = app.settings();
    let bound = |peer| asking(settings, peer, &HeaderMap::new()).filter(|_| settings.address_rate > 0);
    let finish = async {
        connections::serve(listener, router(app.clone()), bound, Bounds::usual(), stop.drain.clone()).await;
        app.tasks().close();
        app.tasks().wait().await;
    };
    stop.hard.run_until_cancelled(finish).await;
    Ok(())
}
