//! What costs more the more waits: read once for all pages while it is fresh.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

/// For so long an answer serves all who ask.
const FRESH: Duration = Duration::from_secs(5);
/// What takes long does so for so many times as long as it took,
const TIMES: u32 = 10;
/// but no longer than this.
const OLDEST: Duration = Duration::from_secs(60);
/// What takes less is asked for anew: then pages show what is there.
const CHEAP: Duration = Duration::from_millis(50);

/// An answer that is kept for as long as it is fresh. Whoever asks meanwhile waits for it and takes the same.
#[derive(Debug)]
pub(crate) struct Costly<T>(Mutex<Option<(Instant, Duration, Arc<T>)>>);

impl<T> Default for Costly<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Costly<T> {
    pub(crate) async fn get<E>(&self, read: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let mut kept = self.0.lock().await;
        if let Some((at, fresh, value)) = &*kept
            && at.elapsed() < *fresh
        {
            return Ok(value.clone());
        }
        let began = Instant::now();
        let value = Arc::new(read.await?);
        let took = began.elapsed();
        let fresh = (took * TIMES).clamp(FRESH, OLDEST);
        *kept = (took >= CHEAP).then(|| (Instant::now(), fresh, value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
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
}
