//! Packed bytes as they come from the store, given to what unpacks them.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use proofhouse_core::store::StoreError;

use crate::failure::Failure;

/// What unpacks.
pub(super) trait Unpack: Send + 'static {
    /// Takes what came; false where it wants no more.
    fn take(&mut self, packed: &[u8]) -> bool;
}

/// Why a log was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("a log could not be read from the store")]
    Store(#[from] StoreError),
    #[error("what unpacked a log died")]
    Died,
    #[error("whoever read a log first could not")]
    ByAnother,
    #[error("too many logs are read just now")]
    Busy,
}

impl From<Unread> for Failure {
    fn from(error: Unread) -> Self {
        match error {
            Unread::Store(error) => error.into(),
            Unread::Died => Self::internal(),
            // It is in the log, said by that one.
            Unread::ByAnother => Self::away("store"),
            Unread::Busy => Self::busy(),
        }
    }
}

/// Gives a stream to what unpacks it, until it ends or no more is wanted.
pub(super) async fn feed<S, U>(mut stream: S, mut unpack: U) -> Result<U, Unread>
where
    S: Stream<Item = Result<Bytes, StoreError>> + Unpin,
    U: Unpack,
{
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        // Beside the threads that serve: a chunk can unpack to a thousand times its size.
        let taken = tokio::task::spawn_blocking(move || {
            let more = unpack.take(&chunk);
            (unpack, more)
        });
        let (back, more) = taken.await.map_err(|_| Unread::Died)?;
        unpack = back;
        if !more {
            break;
        }
    }
    Ok(unpack)
}
