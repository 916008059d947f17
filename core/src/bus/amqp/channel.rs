//! Opening channels.

use lapin::{Channel, Connection, ErrorKind};
use tracing::{debug, warn};

/// Opens a channel.
///
/// lapin (4.12.3, `channels_poison`) keeps the error by which a broker closed a channel, and fails with it whatever gets the same
/// number later. Numbers come again after [`lapin::Configuration::channel_max`] channels, 2047 with RabbitMQ: so the next one is
/// tried. Where none is left the connection is closed, for the next one has all of them.
pub(super) async fn open(connection: &Connection) -> lapin::Result<Channel> {
    for _ in 0..connection.configuration().channel_max() {
        match connection.create_channel().await {
            Err(error) if error.is_amqp_soft_error() => debug!("a channel's number is worn out: {error}"),
            answer => return answer,
        }
    }
    warn!("the link to the broker has no channel left: it is made anew");
    connection.close(200, "no channel left".into()).await?;
    Err(ErrorKind::ChannelsLimitReached.into())
}
