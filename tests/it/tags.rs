//! `tags`: all who bear one are voided at once, and what was voided does not come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use stampede::{Cache, coalesce, fresh, no_stale};
use tokio::task::{JoinSet, yield_now};

use crate::harness::Threads;
use crate::stores::Store;
use crate::tools::{Call, Origin, drive, pass, secs, settle};
use crate::ways::{End, Fault, Script, each_way, ways};

ways!(tagged, [ttl = "10s", stale_while_revalidate = "20s", tags = "\"all\""], |builder| {
    builder.ttl(crate::tools::secs(10)).stale_while_revalidate(crate::tools::secs(20)).tags(["all"])
});

#[tokio::test(start_paused = true)]
async fn a_tag_voids_all_that_bear_it_fresh_or_stale() {
    each_way(async |way, store| {
        let script = &Script::open();
        for key in 1..=3 {
            assert_eq!(tagged::call(way, script, key).await, Ok(key.into()));
        }
        tagged::put(way, 4, 400).await;
        store.invalidate_tag("nobody's").await;
        assert_eq!(tagged::get(way, 1).await, Some(1));
        store.invalidate_tag("all").await;
        for key in 1..=4 {
            assert_eq!(tagged::get(way, key).await, None);
        }
        assert_eq!(tagged::call(way, script, 1).await, Ok(4), "runs again");
        assert_eq!(tagged::get(way, 1).await, Some(4), "and is stored again");
        pass(secs(10)).await;
        store.invalidate_tag("all").await;
        assert_eq!(tagged::call(way, script, 1).await, Ok(5), "no stale answer");
        assert_eq!(store.stats().calls.stale, 0);
    })
    .await;
}

#[coalesce(ttl = "10s", key = "id", tags = "tenant, format!(\"id:{id}\")")]
async fn by_argument(tenant: &str, id: u64, origin: &Origin) -> u64 {
    let _ = tenant;
    origin.read().await
}

#[tokio::test(start_paused = true)]
async fn tags_come_from_the_arguments_and_the_companion_takes_them() {
    let store = Store::default();
    let run = async {
        let origin = &Origin::open();
        by_argument("a", 1, origin).await;
        by_argument("b", 2, origin).await;
        by_argument_entry("c", 3).put(300).await;
        for (tag, left) in [("a", [false, true, true]), ("id:3", [false, true, false]), ("b", [false, false, false])] {
            store.invalidate_tag(tag).await;
            for (id, left) in (1..=3).zip(left) {
                assert_eq!(by_argument_entry("any", id).get().await.is_some(), left, "{id} after {tag}");
            }
        }
    };
    store.scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_under_way_is_delivered_and_neither_stored_nor_joined() {
    for old_first in [false, true] {
        each_way(async |way, store| {
            let script = &Script::gated();
            let mut calls =
                vec![Call::start(tagged::call(way, script, 1)).await, Call::start(tagged::call(way, script, 1)).await];
            assert_eq!(drive(&mut calls).await, [None, None]);
            store.invalidate_tag("all").await;
            calls.push(Call::start(tagged::call(way, script, 1)).await);
            drive(&mut calls).await;
            assert_eq!(script.runs(), 2, "the later caller starts another");
            let (first, second) = if old_first { (1, 2) } else { (2, 1) };
            script.release(first);
            drive(&mut calls).await;
            assert_eq!(tagged::get(way, 1).await, if old_first { None } else { Some(2) });
            script.release(second);
            assert_eq!(drive(&mut calls).await, [Some(Ok(1)), Some(Ok(1)), Some(Ok(2))]);
            assert_eq!(tagged::get(way, 1).await, Some(2));
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn alone_it_is_delivered_and_not_stored() {
    each_way(async |way, store| {
        let script = &Script::gated();
        let mut calls = [Call::start(tagged::call(way, script, 1)).await];
        drive(&mut calls).await;
        store.invalidate_tag("all").await;
        script.release(1);
        assert_eq!(drive(&mut calls).await, [Some(Ok(1))]);
        assert_eq!((tagged::get(way, 1).await, store.stats().entries), (None, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_under_way_is_not_stored_either() {
    each_way(async |way, store| {
        let script = &Script::gated();
        tagged::put(way, 1, 100).await;
        pass(secs(10)).await;
        let mut calls = vec![Call::start(tagged::call(way, script, 1)).await];
        drive(&mut calls).await;
        store.invalidate_tag("all").await;
        script.release(1);
        drive(&mut calls).await;
        assert_eq!(tagged::get(way, 1).await, None);
        // A value put after that is not hurt by what began before, and stale it is refreshed by a run of its own.
        let mut void = [Call::start(fresh(tagged::call(way, script, 1))).await];
        drive(&mut void).await;
        store.invalidate_tag("all").await;
        tagged::put(way, 1, 200).await;
        script.release(2);
        drive(&mut void).await;
        assert_eq!(tagged::get(way, 1).await, Some(200));
        pass(secs(10)).await;
        let mut refresh = [Call::start(tagged::call(way, script, 1)).await];
        drive(&mut refresh).await;
        assert_eq!(script.runs(), 3);
        script.release(3);
        drive(&mut refresh).await;
        settle().await;
        assert_eq!(tagged::get(way, 1).await, Some(3));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_void_run_is_no_refresh_under_way() {
    // One key whose tags differ between calls: the run is void, and the entry is not.
    let store = Store::default();
    let run = async {
        let cache: Cache<u64> = Cache::builder("differs").ttl(secs(10)).stale_while_revalidate(secs(20)).build();
        let origin = Origin::gated();
        let init = || {
            let origin = origin.clone();
            async move { origin.read().await }
        };
        cache.tagged(["entry"]).entry(&1).put(100).await;
        pass(secs(10)).await;
        let by_run = cache.tagged(["run"]);
        assert_eq!(by_run.get_with(&1, init).await, 100);
        settle().await;
        store.invalidate_tag("run").await;
        assert_eq!(by_run.get_with(&1, init).await, 100);
        settle().await;
        assert_eq!(origin.begun(), 2, "the run under way is void");
        origin.release(1);
        settle().await;
        assert_eq!(cache.entry(&1).get().await, None);
        origin.release(2);
        settle().await;
        assert_eq!(cache.entry(&1).get().await, Some(2));
    };
    store.scope(run).await;
    assert_eq!((store.stats().in_flight, store.stats().runs.total()), (0, 2));
}

ways!(kept, [ttl = "10s", stale_if_error = "20s", error_ttl = "5s", tags = "\"all\""], |builder| builder
    .ttl(crate::tools::secs(10))
    .stale_if_error(crate::tools::secs(20))
    .error_ttl(crate::tools::secs(5))
    .tags(["all"]));

#[tokio::test(start_paused = true)]
async fn errors_bear_tags_and_void_values_stand_in_nobodys_way() {
    each_way(async |way, store| {
        let script = &Script::open();
        script.ends(End::Error);
        assert_eq!(kept::call(way, script, 1).await, Err(Fault::Run(1)));
        assert_eq!(kept::call(way, script, 1).await, Err(Fault::Run(1)));
        store.invalidate_tag("all").await;
        assert_eq!(kept::call(way, script, 1).await, Err(Fault::Run(2)));
        // A void value is none that could still be served: the error is stored.
        kept::put(way, 1, 100).await;
        store.invalidate_tag("all").await;
        assert_eq!(kept::call(way, script, 1).await, Err(Fault::Run(3)));
        assert_eq!(kept::call(way, script, 1).await, Err(Fault::Run(3)));
        // An error of a run that began before is delivered, not stored.
        let script = &Script::gated();
        script.ends(End::Error);
        let mut calls = [Call::start(kept::call(way, script, 2)).await];
        drive(&mut calls).await;
        store.invalidate_tag("all").await;
        let before = store.stats().entries;
        script.release(1);
        assert_eq!(drive(&mut calls).await, [Some(Err(Fault::Run(1)))]);
        assert_eq!(store.stats().entries, before);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_table_forgets_stays_void() {
    let store = Store::default();
    let run = async {
        let cache: Cache<u64> = Cache::builder("forgotten").ttl(secs(1_000)).build();
        cache.tagged(["voided"]).entry(&1).put(1).await;
        cache.tagged(["never"]).entry(&2).put(2).await;
        cache.entry(&3).put(3).await;
        store.invalidate_tag("voided").await;
        for n in 0..40_000 {
            store.invalidate_tag(format!("tag {n}")).await;
        }
        assert_eq!(cache.entry(&1).get().await, None);
        assert_eq!(cache.entry(&2).get().await, None, "nobody can tell any more");
        assert_eq!(cache.entry(&3).get().await, Some(3), "bears none");
        cache.tagged(["never"]).entry(&2).put(4).await;
        assert_eq!(cache.entry(&2).get().await, Some(4));
        assert_eq!(no_stale(cache.get_with(&2, || async { 5 })).await, 4);
    };
    store.scope(run).await;
}

/// The moment at which the body began.
#[coalesce(ttl = "1h", tags = "\"storm\"", key = "key")]
async fn moment(clock: Arc<AtomicU64>, key: u64) -> u64 {
    let began = clock.fetch_add(1, SeqCst);
    yield_now().await;
    began
}

#[test]
fn under_a_storm_no_answer_predates_an_invalidation() {
    const ROUNDS: u64 = 2_000;
    for threads in [Threads::Two, Threads::Eight] {
        let store = Store::default();
        let rush = async {
            let clock = Arc::new(AtomicU64::new(1));
            let floor = Arc::new(AtomicU64::new(0));
            let mut tasks = JoinSet::new();
            for task in 0..8 {
                let (clock, floor, store) = (Arc::clone(&clock), Arc::clone(&floor), store.clone());
                let calls = async move {
                    for round in 0..ROUNDS {
                        if round % 16 == task {
                            let begun = clock.load(SeqCst) - 1;
                            Store::current().invalidate_tag("storm").await;
                            floor.fetch_max(begun, SeqCst);
                            continue;
                        }
                        // What had begun by then had been voided before this call is made.
                        let voided = floor.load(SeqCst);
                        let began = moment(Arc::clone(&clock), round % 3).await;
                        assert!(began > voided, "began at {began}, voided up to {voided}");
                    }
                };
                tasks.spawn(async move { store.scope(calls).await });
            }
            tasks.join_all().await;
        };
        threads.run(rush);
        let stats = store.stats();
        let calls = 8 * (ROUNDS - ROUNDS / 16);
        assert_eq!((stats.calls.total(), stats.in_flight, stats.waiting), (calls, 0, 0), "{stats:?}");
        assert!(stats.runs.ok > ROUNDS / 16, "each task's next call is told apart by its own invalidation: {stats:?}");
    }
}
