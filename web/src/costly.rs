//! What costs more the more waits: read once for all pages while it is fresh.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::failure::Failure;

/// For so long an answer serves all who ask.
const FRESH: Duration = Duration::from_secs(1);
/// What takes long does so for so many times as long as it took,
const TIMES: u32 = 10;
/// but no longer than this. Nor is it read for longer behind those who ask: they would all wait for it then.
const OLDEST: Duration = Duration::from_secs(60);
/// What takes less is asked for anew: then pages show what is there. Tests look right behind what they change, on machines that
/// are busy.
const CHEAP: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 5 });

/// An answer that is kept for as long as it is fresh, and for as long again while it is read anew: of what is asked for all the
/// time nobody waits. Whoever asks for what is older waits for it and takes the same; and however many wait, it is read once
/// for all of them.
#[derive(Debug)]
pub(crate) struct Costly<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    kept: Mutex<Option<Kept<T>>>,
    /// When the last reading that failed began, and why it did.
    failed: Mutex<Option<(Instant, Failure)>>,
    /// Who reads it holds this.
    reading: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Kept<T> {
    value: Arc<T>,
    /// When its reading began, and when it was done.
    began: Instant,
    done: Instant,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), began: self.began, done: self.done }
    }
}

impl<T> Kept<T> {
    /// For how long it serves; none where it is cheap.
    fn lasts(&self) -> Option<Duration> {
        let took = self.done - self.began;
        (took >= CHEAP).then(|| (took * TIMES).clamp(FRESH, OLDEST))
    }

    /// Nothing that was there when somebody asked is missing in it; or it is fresh.
    fn serves(&self, asked: Instant) -> bool {
        self.began >= asked || self.lasts().is_some_and(|lasts| self.done.elapsed() < lasts)
    }

    /// It is no longer fresh, and good enough while it is read anew.
    fn bridges(&self, oldest: Option<Duration>) -> bool {
        let good = |lasts: Duration| oldest.unwrap_or((lasts * 2).min(OLDEST));
        self.lasts().is_some_and(|lasts| self.done.elapsed() < good(lasts))
    }
}

impl<T> Default for Costly<T> {
    fn default() -> Self {
        Self(Arc::new(Inner { kept: Mutex::default(), failed: Mutex::default(), reading: Arc::default() }))
    }
}

impl<T> Inner<T> {
    fn kept(&self) -> Option<Kept<T>> {
        // Changes are whole even where a panic cut one short.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why a reading failed that began after somebody asked: to try again for each who waits would take as long each time.
    fn failed_since(&self, asked: Instant) -> Option<Failure> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.as_ref().filter(|(began, _)| *began >= asked).map(|(_, failure)| failure.clone())
    }

    async fn read<E: Into<Failure>>(
        &self,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, Failure> {
        let began = Instant::now();
        let value = read.await.map(Arc::new).map_err(|error| {
            let failure = error.into();
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some((began, failure.clone()));
            failure
        })?;
        let kept = Kept { value: value.clone(), began, done: Instant::now() };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(value)
    }
}

impl<T: Send + Sync + 'static> Costly<T> {
    pub(crate) async fn get<E: Into<Failure>>(
        &self,
        read: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Arc<T>, Failure> {
        self.get_within(None, read).await
    }

    /// The same: until what is costly is so old, nobody waits for it.
    pub(crate) async fn get_within<E: Into<Failure>>(
        &self,
        oldest: Option<Duration>,
        read: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Arc<T>, Failure> {
        let asked = Instant::now();
        if let Some(kept) = self.0.kept() {
            if kept.serves(asked) {
                return Ok(kept.value);
            }
            if kept.bridges(oldest) {
                if let Ok(reading) = self.0.reading.clone().try_lock_owned() {
                    let inner = self.0.clone();
                    tokio::spawn(async move {
                        // Whoever asks once it is too old is told what is wrong.
                        let _ = tokio::time::timeout(OLDEST, inner.read(read)).await;
                        drop(reading);
                    });
                }
                return Ok(kept.value);
            }
        }
        let _reading = self.0.reading.lock().await;
        match (self.0.kept().filter(|kept| kept.serves(asked)), self.0.failed_since(asked)) {
            (Some(kept), _) => Ok(kept.value),
            (None, Some(failure)) => Err(failure),
            (None, None) => self.0.read(read).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn cheap(n: i32) -> impl Future<Output = Result<i32, Failure>> {
        std::future::ready(Ok(n))
    }

    fn slow(n: i32) -> impl Future<Output = Result<i32, Failure>> {
        std::future::poll_fn(move |_| {
            std::thread::sleep(CHEAP);
            std::task::Poll::Ready(Ok(n))
        })
    }

    #[tokio::test]
    async fn only_what_is_costly_is_kept() {
        let costly = Costly::default();
        assert_eq!([*costly.get(cheap(1)).await.unwrap(), *costly.get(cheap(2)).await.unwrap()], [1, 2]);
        assert_eq!([*costly.get(slow(3)).await.unwrap(), *costly.get(cheap(4)).await.unwrap()], [3, 3]);
    }

    /// As if it had been read before, so many times as long as it lasts.
    fn age<T>(costly: &Costly<T>, times: u32) {
        let mut kept = costly.0.kept.lock().unwrap();
        let kept = kept.as_mut().unwrap();
        let by = kept.lasts().unwrap() * times;
        for time in [&mut kept.began, &mut kept.done] {
            *time = time.checked_sub(by).unwrap();
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_what_is_read_anew_until_it_is_too_old() {
        let costly = Costly::default();
        assert_eq!(*costly.get(slow(1)).await.unwrap(), 1);
        age(&costly, 1);
        assert_eq!(*costly.get(slow(2)).await.unwrap(), 1, "as it was");
        drop(costly.0.reading.lock().await);
        assert_eq!(*costly.get(cheap(3)).await.unwrap(), 2, "read behind who asked first");
        age(&costly, 2);
        assert_eq!(*costly.get_within(Some(2 * OLDEST), slow(4)).await.unwrap(), 2, "as old as it may be");
        drop(costly.0.reading.lock().await);
        age(&costly, 2);
        assert_eq!(*costly.get(cheap(5)).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn what_many_wait_for_is_read_once() {
        let (costly, reads) = (Costly::default(), Arc::new(AtomicUsize::new(0)));
        let read = || {
            let reads = reads.clone();
            async move {
                tokio::task::yield_now().await;
                Ok::<_, Failure>(reads.fetch_add(1, Ordering::Relaxed))
            }
        };
        futures::future::join_all((0..100).map(|_| costly.get(read()))).await;
        // Those that asked while the first was read take the second.
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        let fail = || {
            let reads = reads.clone();
            async move {
                tokio::task::yield_now().await;
                reads.fetch_add(1, Ordering::Relaxed);
                Err::<usize, _>(Failure::busy())
            }
        };
        let all = futures::future::join_all((0..100).map(|_| costly.get(fail()))).await;
        assert!(all.iter().all(|one| one.as_ref().is_err_and(|failure| failure.status == 503)));
        assert_eq!(reads.load(Ordering::Relaxed), 4, "they share the failure, too");
        assert!(costly.get(std::future::ready(Ok::<_, Failure>(1))).await.is_ok());
    }
}
