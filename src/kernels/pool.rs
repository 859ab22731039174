//! The threads that share a kernel's work.
//!
//! A pool is for work in many short pieces, one after the other (some hundred products a token): a worker that has done
//! its part looks for more for some microseconds and sleeps then, and pieces are taken one by one, so that a worker which
//! the system has taken the processor from delays no more than the piece it holds.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

/// How often a worker looks for work before it sleeps: some tens of microseconds, longer than the gaps within a token.
const LOOKS: usize = 4000;

type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// Pieces of one call of [`Pool::run`], on the caller's stack.
struct Job {
    /// The lifetime is erased: see [`Pool::run`].
    work: Work<'static>,
    pieces: usize,
    next: AtomicUsize,
    panicked: AtomicBool,
}

impl Job {
    /// Takes pieces until none is left.
    fn help(&self) {
        loop {
            let piece = self.next.fetch_add(1, SeqCst);
            if piece >= self.pieces {
                return;
            }
            (self.work)(piece);
        }
    }
}

#[derive(Default)]
struct Shared {
    /// The job under way; null if there is none.
    job: AtomicPtr<Job>,
    /// Counts jobs, so that a worker knows a new one.
    posted: AtomicUsize,
    /// Workers that may hold a reference to the job.
    visitors: AtomicUsize,
    sleepers: AtomicUsize,
    /// Whether the caller sleeps until there are no visitors.
    awaited: AtomicBool,
    closing: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
    left: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, ()> {
        // Nothing is behind the lock that a panic could leave half done.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn worker(&self) {
        IN_POOL.with(|within| within.replace(true));
        let mut seen = 0;
        loop {
            self.wait(seen);
            if self.closing.load(SeqCst) {
                return;
            }
            seen = self.posted.load(SeqCst);
            self.visitors.fetch_add(1, SeqCst);
            let job = self.job.load(SeqCst);
            if !job.is_null() {
                // SAFETY: the caller takes the job away before it waits for visitors to leave, and all of these are
                // sequentially consistent: as the job was still there after this worker was counted, the caller waits
                // for it, and the job lives until this worker is counted out.
                let job = unsafe { &*job };
                if catch_unwind(AssertUnwindSafe(|| job.help())).is_err() {
                    job.panicked.store(true, SeqCst);
                }
            }
            if self.visitors.fetch_sub(1, SeqCst) == 1 && self.awaited.load(SeqCst) {
                let _guard = self.lock();
                self.left.notify_all();
            }
        }
    }

    /// Returns once there is a job beyond `seen`, or the pool closes.
    fn wait(&self, seen: usize) {
        let news = || self.posted.load(SeqCst) != seen || self.closing.load(SeqCst);
        for _ in 0..LOOKS {
            if news() {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = self.lock();
        self.sleepers.fetch_add(1, SeqCst);
        while !news() {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }

    fn rouse(&self) {
        if self.sleepers.load(SeqCst) > 0 {
            let _guard = self.lock();
            self.wake.notify_all();
        }
    }

    /// Takes the job away and returns once no worker holds it.
    fn retire(&self) {
        self.job.store(ptr::null_mut(), SeqCst);
        for _ in 0..LOOKS {
            if self.visitors.load(SeqCst) == 0 {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = self.lock();
        self.awaited.store(true, SeqCst);
        while self.visitors.load(SeqCst) != 0 {
            guard = self.left.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.awaited.store(false, SeqCst);
    }
}

/// Threads that wait for pieces of work; the one that calls works too.
pub struct Pool {
    shared: Arc<Shared>,
    /// One caller at a time.
    turn: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool of {}", self.threads())
    }
}

thread_local! {
    /// The pool that [`run`] uses on this thread, if not the common one.
    static CURRENT: RefCell<Option<Arc<Pool>>> = const { RefCell::new(None) };
    /// Whether this thread works on a piece now: what it runs itself stays on it.
    static IN_POOL: RefCell<bool> = const { RefCell::new(false) };
}

impl Pool {
    /// A pool of `threads` threads, the caller included; 0 takes the machine's cores. Where the system refuses a thread
    /// there is one less.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let shared = Arc::new(Shared::default());
        let spawn = |index: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("kernels-{index}"))
                .spawn(move || shared.worker())
                .inspect_err(|error| tracing::warn!(%error, "a compute thread less"))
                .ok()
        };
        Self {
            workers: (1..threads).filter_map(spawn).collect(),
            turn: Mutex::default(),
            shared,
        }
    }

    /// How many threads work, the caller included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work` with each number below `pieces`, on all threads, and returns when all is done. Work that is called
    /// from within a piece, or while another thread has the pool, stays on the caller's thread.
    ///
    /// # Panics
    /// If a piece does.
    pub fn run(&self, pieces: usize, work: Work<'_>) {
        let within = IN_POOL.with(|within| *within.borrow());
        let turn = if within || pieces < 2 || self.workers.is_empty() {
            None
        } else {
            match self.turn.try_lock() {
                Ok(turn) => Some(turn),
                // A piece of an earlier call panicked, which is over.
                Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(std::sync::TryLockError::WouldBlock) => None,
            }
        };
        if turn.is_none() {
            (0..pieces).for_each(work);
            return;
        }
        // SAFETY: only the lifetime changes. The job is reachable by workers from here to `retire`, which is called
        // before this function is left in any way, and returns only when no worker holds the job.
        let work = unsafe { std::mem::transmute::<Work<'_>, Work<'static>>(work) };
        let job = Job {
            work,
            pieces,
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        };
        self.shared.job.store(ptr::from_ref(&job).cast_mut(), SeqCst);
        self.shared.posted.fetch_add(1, SeqCst);
        self.shared.rouse();
        IN_POOL.with(|within| within.replace(true));
        let own = catch_unwind(AssertUnwindSafe(|| job.help()));
        IN_POOL.with(|within| within.replace(false));
        if own.is_err() {
            // Nobody needs the rest.
            job.next.store(pieces, SeqCst);
        }
        self.shared.retire();
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!job.panicked.load(SeqCst), "a piece of work panicked on another thread");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, SeqCst);
        {
            let _guard = self.shared.lock();
            self.shared.wake.notify_all();
        }
        for worker in self.workers.drain(..) {
            _ = worker.join();
        }
    }
}

/// The pool of threads that call [`run`] without one of their own.
fn common() -> &'static Pool {
    static COMMON: OnceLock<Pool> = OnceLock::new();
    COMMON.get_or_init(|| Pool::new(0))
}

/// Calls `work` on this thread with a pool of its own of `threads` threads, itself included; 0 takes the machine's cores.
pub fn with_threads<T>(threads: usize, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Arc<Pool>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.with(|current| current.replace(self.0.take()));
        }
    }
    let pool = Arc::new(Pool::new(threads));
    let _restore = Restore(CURRENT.with(|current| current.replace(Some(pool))));
    work()
}

/// [`Pool::run`] on this thread's pool, or on one that threads without one have in common.
pub fn run(pieces: usize, work: Work<'_>) {
    if IN_POOL.with(|within| *within.borrow()) {
        // Threads of a pool have none of their own, and need none.
        return (0..pieces).for_each(work);
    }
    match CURRENT.with(|current| current.borrow().clone()) {
        Some(pool) => pool.run(pieces, work),
        None => common().run(pieces, work),
    }
}

/// Calls `work` with each piece of `len` numbers of `data`, the last perhaps shorter, and the piece's number.
///
/// # Panics
/// If `len` is 0, or a piece panics.
pub fn run_chunks<T: Send>(data: &mut [T], len: usize, work: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let whole = data.len();
    let parts = Parts::new(data);
    run(whole.div_ceil(len), &|piece| {
        let start = piece * len;
        // SAFETY: `data` is borrowed until `run` returns, and each piece has a part of its own.
        work(piece, unsafe { parts.part(start, len.min(whole - start)) });
    });
}

/// Threads that [`run`] uses from this thread: one within a piece of work.
#[must_use]
pub fn threads() -> usize {
    if IN_POOL.with(|within| *within.borrow()) {
        return 1;
    }
    match CURRENT.with(|current| current.borrow().clone()) {
        Some(pool) => pool.threads(),
        None => common().threads(),
    }
}

/// A place that several pieces of work write to, each its own part.
#[derive(Debug)]
pub(super) struct Parts<T>(*mut T, usize);

// SAFETY: it is no more than a pointer; each use of it says why what it writes is its own.
unsafe impl<T: Send> Send for Parts<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Parts<T> {}

impl<T> Clone for Parts<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Parts<T> {}

impl<T> Parts<T> {
    pub(super) fn new(whole: &mut [T]) -> Self {
        Self(whole.as_mut_ptr(), whole.len())
    }

    /// The part of `len` from `start`.
    ///
    /// # Safety
    /// The slice that this was made of is still borrowed, and nobody else uses this part of it while the result lives.
    pub(super) unsafe fn part<'a>(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.1 && len <= self.1 - start, "a part beyond the whole");
        // SAFETY: it is within the slice, and the caller answers for the rest.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once() {
        for threads in [1, 2, 3, 7] {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads);
            for pieces in [0, 1, 2, 5, 64, 1000] {
                for _ in 0..50 {
                    let done: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                    pool.run(pieces, &|piece| {
                        done[piece].fetch_add(1, SeqCst);
                    });
                    assert!(done.iter().all(|count| count.load(SeqCst) == 1));
                }
            }
        }
    }

    #[test]
    fn many_callers_and_nested_calls_get_all_their_pieces() {
        let pool = Pool::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let count = AtomicUsize::new(0);
                        pool.run(5, &|_| {
                            pool.run(3, &|_| {
                                count.fetch_add(1, SeqCst);
                            });
                        });
                        assert_eq!(count.load(SeqCst), 15);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_comes_back_and_the_pool_goes_on() {
        let pool = Pool::new(3);
        for bad in 0..16 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(16, &|piece| assert_ne!(piece, bad, "piece {bad}"));
            }));
            assert!(outcome.is_err());
            let count = AtomicUsize::new(0);
            pool.run(16, &|_| _ = count.fetch_add(1, SeqCst));
            assert_eq!(count.load(SeqCst), 16);
        }
    }

    #[test]
    fn chunks_cover_all_and_do_not_overlap() {
        for count in [0, 1, 9, 10, 11, 1003] {
            let mut data = vec![0; count];
            run_chunks(&mut data, 10, &|piece, part| {
                for number in part {
                    *number += piece + 1;
                }
            });
            let expected: Vec<usize> = (0..count).map(|index| index / 10 + 1).collect();
            assert_eq!(data, expected);
        }
    }

    #[test]
    fn a_thread_has_the_pool_it_asked_for() {
        let inner = with_threads(3, || (threads(), with_threads(1, threads), threads()));
        assert_eq!(inner, (3, 1, 3));
        with_threads(3, || run(9, &|_| assert_eq!(threads(), 1)));
    }
}
