//! One server of each kind for all tests of a process. Started when first asked for. A test that stops, kills or fills
//! a server starts its own.

use anyhow::Result;
use tokio::sync::OnceCell;

use crate::{keystone::Cloud, moto::Moto, postgres::Postgres, rabbit::Rabbit, swift::Swift};

static RABBIT: OnceCell<Rabbit> = OnceCell::const_new();
static POSTGRES: OnceCell<Postgres> = OnceCell::const_new();
static CLOUD: OnceCell<Cloud> = OnceCell::const_new();
static SWIFT: OnceCell<Swift> = OnceCell::const_new();
static MOTO: OnceCell<Moto> = OnceCell::const_new();

/// The broker; take a vhost of your own by [`Rabbit::url_for_vhost`].
pub async fn rabbit() -> Result<&'static Rabbit> {
    RABBIT.get_or_try_init(Rabbit::start).await
}

/// The database server; take a database of your own by [`Postgres::database`].
pub async fn postgres() -> Result<&'static Postgres> {
    POSTGRES.get_or_try_init(Postgres::start).await
}

/// The object store; take an account of your own by [`Swift::account`].
pub async fn swift() -> Result<&'static Swift> {
    SWIFT.get_or_try_init(Swift::start).await
}

/// A Swift behind Keystone; take a project of your own by [`Cloud::project`].
pub async fn cloud() -> Result<&'static Cloud> {
    CLOUD.get_or_try_init(Cloud::start).await
}

/// An S3 server with bucket policies; take a bucket of your own.
pub async fn moto() -> Result<&'static Moto> {
    MOTO.get_or_try_init(Moto::start).await
}
