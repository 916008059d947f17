//! Reads a log that still grows, for those who look.

use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc::Sender};

use memchr::memchr_iter;
use tokio::sync::oneshot;

use super::{Chunk, Order};

/// The last part of a log that is complete; nothing while it grows.
#[derive(Debug, Clone, Default)]
pub(super) struct Rest(Arc<Mutex<Option<Chunk>>>);

impl Rest {
    pub(super) fn leave(&self, chunk: Chunk) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(chunk);
    }

    /// It from an offset on, if that lies in it; else all of it.
    fn from(&self, from: u64) -> Option<Chunk> {
        let rest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Chunk { offset, lines, bytes, total } = rest.as_ref()?;
        let begin = from.clamp(*offset, *total);
        let (before, bytes) = bytes.split_at(usize::try_from(begin - offset).unwrap_or(0));
        let lines = lines + memchr_iter(b'\n', before).count() as u64;
        Some(Chunk { offset: begin, lines, bytes: bytes.to_vec(), total: *total })
    }
}

/// A log that grows. It keeps nobody from ending it.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    orders: Weak<Sender<Order>>,
    rest: Rest,
}

impl Reader {
    pub(super) fn new(orders: &Arc<Sender<Order>>, rest: Rest) -> Self {
        Self { orders: Arc::downgrade(orders), rest }
    }

    /// What there is from an offset on, or a part of it; and whether the log is complete.
    pub(crate) async fn read(&self, from: u64) -> (Chunk, bool) {
        let (answer, answered) = oneshot::channel();
        let is_asked = self.orders.upgrade().is_some_and(|to| to.send(Order::Read(from, answer)).is_ok());
        if is_asked && let Ok(chunk) = answered.await {
            return (chunk, false);
        }
        let rest = self.rest.from(from);
        let is_over = rest.is_some() || self.orders.upgrade().is_none();
        // Where nothing could be read, there is nothing new.
        (rest.unwrap_or(Chunk { offset: from, total: from, ..Chunk::default() }), is_over)
    }
}
