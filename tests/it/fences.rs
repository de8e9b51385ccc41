//! Invalidations, explicit writes and `fresh` calls win over runs that began before them, at whatever point of the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stampede::{Cache, Entry, coalesce, fresh, no_stale};
use tokio::task::{JoinSet, yield_now};

use crate::stores::Store;
use crate::tools::{Call, Origin, drive, pass, secs, settle};

#[coalesce(ttl = "10s", stale_while_revalidate = "100s", tags = "\"all\"", skip(origin))]
async fn detached(origin: &Origin, key: u32) -> u64 {
    let _ = key;
    origin.read().await
}

#[coalesce(ttl = "10s", stale_while_revalidate = "100s", tags = "\"all\"", skip(origin), inline)]
async fn inline(origin: &Origin, key: u32) -> u64 {
    let _ = key;
    origin.read().await
}

/// What is done to a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Invalidate,
    Put,
    Clear,
    Tag,
    Fresh,
}

/// When it is done.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// The run is there, and its body has not been polled.
    Unpolled,
    /// The body waits for something.
    Mid,
    /// What it waited for is there, and it has not been polled since.
    Ending,
    /// The run is over.
    After,
}

/// What the run is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Run {
    /// Nothing is stored, and a caller waits.
    Absent,
    /// An old value is stored, and a caller waits who does not want it.
    Present,
    /// An old value is stored, and nobody waits: it is refreshed. (An inline refresh has its caller.)
    Background,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    inline: bool,
    run: Run,
    step: Step,
    act: Act,
    /// The run ends before the one that the act brought about.
    old_first: bool,
}

const SEED: u64 = 1000;
const PUT: u64 = 2000;

impl Case {
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        let bools = [false, true];
        for inline in bools {
            for run in [Run::Absent, Run::Present, Run::Background] {
                for step in [Step::Unpolled, Step::Mid, Step::Ending, Step::After] {
                    for act in [Act::Invalidate, Act::Put, Act::Clear, Act::Tag, Act::Fresh] {
                        // The first poll of an inline call is that of its body.
                        if !(inline && step == Step::Unpolled) {
                            cases.extend(bools.map(|old_first| Self { inline, run, step, act, old_first }));
                        }
                    }
                }
            }
        }
        cases
    }

    async fn call(self, origin: Origin) -> u64 {
        if self.inline { inline(&origin, 1).await } else { detached(&origin, 1).await }
    }

    fn entry(self) -> Entry<u64> {
        if self.inline { Entry::clone(&inline_entry(1)) } else { Entry::clone(&detached_entry(1)) }
    }

    async fn check(self, store: &Store) {
        let origin = Origin::gated();
        let entry = self.entry();
        if self.run != Run::Absent {
            entry.put(SEED).await;
            pass(secs(10)).await;
        }

        // The run, up to the step.
        let call = self.call(origin.clone());
        let mut first =
            if self.run == Run::Background { Call::start(call).await } else { Call::start(no_stale(call)).await };
        if self.step != Step::Unpolled {
            drive(std::slice::from_mut(&mut first)).await;
            assert_eq!(origin.begun(), 1);
        }
        match self.step {
            Step::Ending => origin.release(1),
            Step::After => {
                origin.release(1);
                drive(std::slice::from_mut(&mut first)).await;
            }
            Step::Unpolled | Step::Mid => {}
        }
        let waits = self.inline || self.run != Run::Background;
        let before = origin.begun();

        // The act, and a later caller.
        let mut calls = vec![first];
        match self.act {
            Act::Invalidate => assert!(entry.invalidate().await),
            Act::Put => entry.put(PUT).await,
            Act::Clear => assert!(store.clear().await),
            Act::Tag => assert!(store.invalidate_tag("all").await),
            Act::Fresh => {
                calls.push(Call::start(fresh(self.call(origin.clone()))).await);
                calls.push(Call::start(self.call(origin.clone())).await);
            }
        }
        let now = match (self.act, self.step) {
            (Act::Put, _) => Some(PUT),
            (Act::Fresh, Step::After) => Some(1),
            _ => None,
        };
        assert_eq!(entry.get().await, now, "at once");
        if matches!(self.act, Act::Invalidate | Act::Clear | Act::Tag) {
            calls.push(Call::start(self.call(origin.clone())).await);
        }
        if self.act == Act::Put {
            assert_eq!(Call::start(self.call(origin.clone())).await.poll().await, Some(PUT), "the value put is there");
        }

        // Both runs come to their ends, in either order.
        let runs_anew = self.act != Act::Put;
        drive(&mut calls).await;
        let second = origin.begun();
        if runs_anew {
            // A run that nobody waits for any more may have been dropped before its body began.
            assert!(second > before, "a later caller starts a run of its own");
        }
        for number in if self.old_first { [1, second] } else { [second, 1] } {
            origin.release(number);
            drive(&mut calls).await;
            let stored = entry.get().await;
            if runs_anew && number != second && self.step != Step::After {
                assert!(stored.is_none() || stored == Some(second), "the run {number} stored {stored:?}");
            }
        }
        let answers = drive(&mut calls).await;
        let last = if runs_anew { second } else { PUT };
        let own = if waits { Some(1) } else { Some(SEED) };
        assert_eq!(answers[0], own, "those who waited get what they waited for");
        if runs_anew {
            assert_eq!(answers[1], Some(second), "the later caller");
        }
        if self.act == Act::Fresh {
            // Until that run ends, what is stored may be served; what the older run gave was never stored.
            let meanwhile = if self.step == Step::After {
                1
            } else if self.run != Run::Absent {
                SEED
            } else {
                second
            };
            assert_eq!(answers[2], Some(meanwhile), "a caller meanwhile");
        }
        assert_eq!(entry.get().await, Some(last), "in the end");
        assert_eq!(self.call(origin.clone()).await, last, "for later callers");
        settle().await;
        assert_eq!(origin.begun(), second, "and nothing runs again");
        let stats = store.stats();
        assert_eq!((stats.in_flight, stats.waiting), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_done_to_a_run_holds_from_then_on() {
    let cases = Case::all();
    assert_eq!(cases.len(), 2 * 3 * 5 * (4 + 3));
    for case in cases {
        // Seen when it fails.
        println!("{case:?}");
        let store = Store::default();
        store.scope(case.check(&store)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fence_of_one_key_is_none_of_another() {
    let store = Store::default();
    let run = async {
        let origin = Origin::gated();
        let mut call = Call::start(detached(&origin, 1)).await;
        detached_entry(2).invalidate().await;
        detached_entry(2).put(5).await;
        drive(std::slice::from_mut(&mut call)).await;
        origin.release(1);
        drive(std::slice::from_mut(&mut call)).await;
        assert_eq!(call.poll().await, Some(1));
        assert_eq!(detached_entry(1).get().await, Some(1));
    };
    store.scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_right_after_a_clear_stays() {
    let store = Store::default();
    let run = async {
        for round in 0..2_000 {
            store.clear().await;
            assert_eq!(detached_entry(1).get().await, None, "round {round}");
            detached_entry(1).put(round).await;
            assert_eq!(detached_entry(1).get().await, Some(round), "round {round}");
        }
    };
    store.scope(run).await;
}

/// A database of a single row: its version.
#[derive(Clone, Default)]
struct Db(Arc<AtomicU64>);

impl Db {
    async fn read(&self) -> u64 {
        let version = self.0.load(Ordering::SeqCst);
        for _ in 0..version % 4 {
            yield_now().await;
        }
        version
    }
}

/// Fresh for so short that most answers are stale ones, and refreshes are always under way.
#[coalesce(ttl = "20us", stale_while_revalidate = "1h", key = "row")]
async fn row_detached(db: &Db, row: usize) -> u64 {
    let _ = row;
    db.read().await
}

#[coalesce(ttl = "1h", key = "row")]
async fn row_kept(db: &Db, row: usize) -> u64 {
    let _ = row;
    db.read().await
}

#[coalesce(ttl = "20us", stale_while_revalidate = "1h", key = "row", inline)]
async fn row_inline(db: &Db, row: usize) -> u64 {
    let _ = row;
    db.read().await
}

async fn read_row(function: usize, db: &Db) -> u64 {
    match function {
        0 => row_detached(db, 0).await,
        1 => row_kept(db, 0).await,
        _ => row_inline(db, 0).await,
    }
}

fn row_entry(function: usize) -> Entry<u64> {
    match function {
        0 => Entry::clone(&row_detached_entry(0)),
        1 => Entry::clone(&row_kept_entry(0)),
        _ => Entry::clone(&row_inline_entry(0)),
    }
}

/// Three functions, each with one writer (of its own row in the database) and three readers, on several threads.
#[test]
fn no_reader_sees_what_was_there_before_an_act_was_done() {
    const WRITES: u64 = 10_000;
    const DONE: u64 = u64::MAX / 2;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
    let store = Store::default();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for function in 0..3 {
            let db = Db::default();
            // The version that every answer from now on must have reached, and whether the writer is done.
            let (floor, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            for _ in 0..3 {
                let (db, floor, done) = (db.clone(), Arc::clone(&floor), Arc::clone(&done));
                let reader = async move {
                    while done.load(Ordering::SeqCst) != DONE {
                        let at_least = floor.load(Ordering::SeqCst);
                        let got = read_row(function, &db).await;
                        assert!(got >= at_least, "function {function}: {got} after {at_least}");
                        if let Some(got) = row_entry(function).get().await {
                            assert!(got >= at_least, "function {function}: {got} stored after {at_least}");
                        }
                        yield_now().await;
                    }
                };
                let store = store.clone();
                tasks.spawn(async move { store.scope(reader).await });
            }
            let writer = async move {
                for write in 0..WRITES {
                    let version = db.0.fetch_add(1, Ordering::SeqCst) + 1;
                    match write % 8 {
                        0 => row_entry(function).put(version).await,
                        1 => drop(fresh(read_row(function, &db)).await),
                        2 if write % 64 == 2 => assert!(Store::current().clear().await),
                        _ => drop(row_entry(function).invalidate().await),
                    }
                    floor.store(version, Ordering::SeqCst);
                    yield_now().await;
                }
                done.store(DONE, Ordering::SeqCst);
            };
            let store = store.clone();
            tasks.spawn(async move { store.scope(writer).await });
        }
        while let Some(task) = tasks.join_next().await {
            task.expect("no reader is disappointed");
        }
    });
    let stats = store.stats();
    println!("{stats:?}");
    assert!(stats.calls.coalesced > 0 && stats.runs.ok > 0, "{stats:?}");
    assert_eq!(stats.waiting, 0);
}

/// A run ends between a caller's look into the store and its look for a run: it finds the value all the same.
#[test]
fn a_caller_who_comes_as_a_run_ends_starts_no_other() {
    const KEYS: u64 = 20_000;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
    let store = Store::builder().max_entries(10 * KEYS).build();
    let cache: Cache<u64> = Cache::builder("once").ttl(secs(3_600)).store(&store).build();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let cache = cache.clone();
            tasks.spawn(async move {
                for key in 0..KEYS {
                    assert_eq!(cache.get_with(&key, || std::future::ready(key)).await, key);
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.expect("no panic");
        }
    });
    let stats = store.stats();
    assert_eq!((stats.runs.ok, stats.calls.total()), (KEYS, 4 * KEYS), "{stats:?}");
}
