//! What costs more the more waits: read once for all pages while it is fresh.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

/// For so long an answer serves all who ask.
const FRESH: Duration = Duration::from_secs(1);
/// What takes long does so for so many times as long as it took,
const TIMES: u32 = 10;
/// but no longer than this.
const OLDEST: Duration = Duration::from_secs(60);
/// What takes less is asked for anew: then pages show what is there. Tests look right behind what they change, on machines that
/// are busy.
const CHEAP: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 5 });

/// An answer that is kept for as long as it is fresh. Whoever asks meanwhile waits for it and takes the same; and however many
/// wait for what is asked for anew, it is read once for all of them.
#[derive(Debug)]
pub(crate) struct Costly<T>(Mutex<Option<Kept<T>>>);

#[derive(Debug)]
struct Kept<T> {
    value: Arc<T>,
    /// When its reading began, and when it was done.
    began: Instant,
    done: Instant,
}

impl<T> Kept<T> {
    /// Nothing that was there when somebody asked is missing in it; or it is fresh.
    fn serves(&self, asked: Instant) -> bool {
        let took = self.done - self.began;
        let fresh = (took * TIMES).clamp(FRESH, OLDEST);
        self.began >= asked || (took >= CHEAP && self.done.elapsed() < fresh)
    }
}

impl<T> Default for Costly<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Costly<T> {
    pub(crate) async fn get<E>(&self, read: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let asked = Instant::now();
        let mut kept = self.0.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.serves(asked)) {
            return Ok(kept.value.clone());
        }
        let began = Instant::now();
        let value = Arc::new(read.await?);
        *kept = Some(Kept { value: value.clone(), began, done: Instant::now() });
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn only_what_is_costly_is_kept() {
        let costly = Costly::default();
        let cheap = async |n: i32| Ok::<_, ()>(n);
        let slow = async |n: i32| {
            std::thread::sleep(CHEAP);
            Ok::<_, ()>(n)
        };
        assert_eq!([*costly.get(cheap(1)).await.unwrap(), *costly.get(cheap(2)).await.unwrap()], [1, 2]);
        assert_eq!([*costly.get(slow(3)).await.unwrap(), *costly.get(cheap(4)).await.unwrap()], [3, 3]);
    }

    #[tokio::test]
    async fn what_many_wait_for_is_read_once() {
        let (costly, reads) = (Costly::default(), AtomicUsize::new(0));
        let read = || async {
            tokio::task::yield_now().await;
            Ok::<_, ()>(reads.fetch_add(1, Ordering::Relaxed))
        };
        futures::future::join_all((0..100).map(|_| costly.get(read()))).await;
        // Those that asked while the first was read take the second.
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }
}
