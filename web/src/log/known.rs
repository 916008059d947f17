//! What is known of the logs that were looked at lately. A log is read to its end once, whoever asks for it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use proofhouse_core::{
    layout::Container,
    store::{ByteRange, ObjectInfo},
};
use tokio::sync::{Semaphore, watch};

use super::{
    feed::{Unread, feed},
    index::{Index, Scan, most_scanned},
    part::{Part, Reader, Sought},
    view::LONGEST_READ,
};
use crate::app::App;

/// How many logs are unpacked at once, of the short and of the long ones each: each takes a processor. None of a kind waits for
/// another.
const AT_ONCE: usize = 4;
/// How many are searched at once: that may take [`LONGEST_READ`] with any pattern.
const SEARCHES_AT_ONCE: usize = 4;
/// For its turn a page waits so long.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// Of so many logs it is remembered what was found: less than a mebibyte each.
const KNOWN: usize = 64;
/// A log of this length, packed, in bytes, is read at once; who asks for a longer one waits for [`PATIENCE`] at most.
const SHORT: u64 = 2 << 20;
const PATIENCE: Duration = Duration::from_millis(300);
/// Reading a log to its end takes no longer.
const LONGEST_SCAN: Duration = Duration::from_secs(20);

/// A file, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    container: Container,
    object: String,
    etag: String,
}

type Found = watch::Receiver<Option<Arc<Index>>>;

/// What is known of logs.
pub(crate) struct Logs {
    short: Semaphore,
    long: Semaphore,
    /// Parts of long ones, which are read while others are read to their ends.
    parts: Semaphore,
    searches: Semaphore,
    /// The last one that was asked for is the first.
    known: Mutex<VecDeque<(Key, Found)>>,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            short: Semaphore::new(AT_ONCE),
            long: Semaphore::new(AT_ONCE),
            parts: Semaphore::new(AT_ONCE),
            searches: Semaphore::new(SEARCHES_AT_ONCE),
            known: Mutex::default(),
        }
    }
}

impl Logs {
    /// Where one waits for its turn that reads a log of this length, packed, in bytes.
    const fn places(&self, length: u64) -> &Semaphore {
        if length <= SHORT { &self.short } else { &self.long }
    }

    /// The same of who reads a part.
    const fn places_for_parts(&self, length: u64, is_search: bool) -> &Semaphore {
        match (is_search, length <= SHORT) {
            (true, _) => &self.searches,
            (false, true) => &self.short,
            (false, false) => &self.parts,
        }
    }
}

/// A log in the store.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    key: Key,
    length: u64,
}

impl Stored {
    pub(super) fn new(container: &Container, object: &str, info: ObjectInfo) -> Self {
        let key = Key { container: container.clone(), object: object.to_owned(), etag: info.etag };
        Self { key, length: info.length }
    }

    /// What is known of it. None where that takes longer than people wait: it will be there in a while.
    pub(super) async fn index(&self, app: &App) -> Result<Option<Arc<Index>>, Unread> {
        let mut found = self.found(app);
        let index = async {
            let index = found.wait_for(Option::is_some).await.map_err(|_| Unread::ByAnother)?;
            Ok(index.clone())
        };
        if self.length <= SHORT {
            return index.await;
        }
        tokio::time::timeout(PATIENCE, index).await.unwrap_or(Ok(None))
    }

    fn found(&self, app: &App) -> Found {
        let mut known = app.logs().known.lock().unwrap_or_else(PoisonError::into_inner);
        // What could not be read is read anew.
        known.retain(|(_, found)| found.borrow().is_some() || found.has_changed().is_ok());
        let (key, found) = match known.iter().position(|(key, _)| *key == self.key) {
            Some(at) => known.remove(at).unwrap_or_else(|| self.begin(app)),
            None => self.begin(app),
        };
        known.push_front((key, found.clone()));
        known.truncate(KNOWN);
        found
    }

    fn begin(&self, app: &App) -> (Key, Found) {
        let (tell, found) = watch::channel(None);
        let (app, log) = (app.clone(), self.clone());
        app.clone().tasks().spawn(async move {
            match log.scan(&app).await {
                Ok(index) => drop(tell.send_replace(Some(Arc::new(index)))),
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(error = %error, error.cause = cause, "a log was not read to its end");
                }
            }
        });
        (self.key.clone(), found)
    }

    async fn scan(&self, app: &App) -> Result<Index, Unread> {
        let _place = app.logs().places(self.length).acquire().await;
        let object = app.store().get(&self.key.container, &self.key.object, None).await?;
        let scan = Scan::new(most_scanned(self.length), Instant::now() + LONGEST_SCAN);
        Ok(feed(object.stream, scan).await?.finish())
    }

    /// Reads a part of it, from a line on; what is sought there, all of it or what a search finds, knows until when.
    pub(super) async fn part(
        &self,
        app: &App,
        index: Option<&Index>,
        from: u64,
        is_search: bool,
        sought: impl FnOnce(Instant) -> Sought,
    ) -> Result<Part, Unread> {
        let places = app.logs().places_for_parts(self.length, is_search);
        let _place = tokio::time::timeout(LONGEST_WAIT, places.acquire()).await.map_err(|_| Unread::Busy)?;
        // Others' reading is not counted.
        let sought = sought(Instant::now() + LONGEST_READ);
        let place = index.and_then(|index| index.place_before(from));
        let range = place.map(|place| ByteRange::From(place.packed, None));
        let object = app.store().get(&self.key.container, &self.key.object, range).await?;
        Ok(feed(object.stream, Reader::new(sought, place)).await?.finish())
    }

    /// How much of it is read, in bytes.
    pub(super) fn most(&self) -> u64 {
        most_scanned(self.length)
    }
}
