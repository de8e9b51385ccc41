//! `refresh_ahead`, `xfetch` and `jitter`: values that are replaced before they expire, and not all at once.

use stampede::{Cache, Store, fresh, no_stale};
use tokio::time::{advance, sleep};

use crate::tools::{Call, drive, ms, pass, secs, settle};
use crate::ways::{End, Script, each_way, ways};

ways!(
    ahead,
    [ttl = "10s", refresh_ahead = 0.8, retry_after = "500ms", cache_if = |value| *value != crate::ways::REFUSED],
    |builder| builder
        .ttl(crate::tools::secs(10))
        .refresh_ahead(0.8)
        .retry_after(crate::tools::ms(500))
        .cache_if(|value| *value != crate::ways::REFUSED)
);

#[tokio::test(start_paused = true)]
async fn the_first_hit_after_the_share_of_the_ttl_starts_one_run() {
    each_way(async |way, store| {
        let script = &Script::gated();
        ahead::put(way, 1, 100).await;
        pass(ms(7_999)).await;
        assert_eq!((ahead::call(way, script, 1).await, script.runs()), (Ok(100), 0));
        pass(ms(1)).await;
        let mut calls = [
            Call::start(ahead::call(way, script, 1)).await,
            Call::start(no_stale(ahead::call(way, script, 1))).await,
            Call::start(ahead::call(way, script, 1)).await,
        ];
        let first = if way.is_inline() { None } else { Some(Ok(100)) };
        assert_eq!(drive(&mut calls).await, [first, Some(Ok(100)), Some(Ok(100))]);
        assert_eq!((script.runs(), ahead::get(way, 1).await), (1, Some(100)));
        script.release(1);
        let first = Some(Ok(if way.is_inline() { 1 } else { 100 }));
        assert_eq!(drive(&mut calls).await[0], first);
        settle().await;
        assert_eq!((ahead::call(way, script, 1).await, script.runs()), (Ok(1), 1));
        let stats = store.stats();
        assert_eq!((stats.calls.fresh, stats.calls.miss), if way.is_inline() { (4, 1) } else { (5, 0) }, "{stats:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_early_run_that_stores_nothing_takes_nothing_away_and_is_put_off() {
    for end in [End::Error, End::Panic, End::NoCache, End::Refused, End::StoredForNothing] {
        each_way(async |way, store| {
            println!("{end:?}");
            let script = &Script::open();
            ahead::put(way, 1, 100).await;
            pass(secs(8)).await;
            script.ends(end);
            // An inline run that gives a value gives it to its own caller.
            let by_value = way.is_inline() && !matches!(end, End::Error | End::Panic);
            for round in 1..=3 {
                let first = ahead::call(way, script, 1).await;
                assert_eq!(first == Ok(100), !by_value, "{first:?}");
                settle().await;
                pass(ms(499)).await;
                assert_eq!((ahead::call(way, script, 1).await, script.runs()), (Ok(100), round));
                settle().await;
                assert_eq!(script.runs(), round, "put off");
                pass(ms(1)).await;
            }
            assert_eq!((store.stats().calls.error, store.stats().in_flight), (0, 0));
            // The value lives as long as it was to.
            pass(ms(499)).await;
            assert_eq!(ahead::get(way, 1).await, Some(100));
            pass(ms(1)).await;
            assert_eq!(ahead::get(way, 1).await, None);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_wins_over_an_early_run() {
    each_way(async |way, _| {
        let script = &Script::gated();
        ahead::put(way, 1, 100).await;
        pass(secs(8)).await;
        let mut first = [Call::start(ahead::call(way, script, 1)).await];
        drive(&mut first).await;
        ahead::invalidate(way, 1).await;
        script.release(1);
        drive(&mut first).await;
        assert_eq!(ahead::get(way, 1).await, None, "it began before");
        script.release(2);
        assert_eq!(ahead::call(way, script, 1).await, Ok(2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_value_is_no_early_refresh() {
    each_way(async |way, store| {
        let script = &Script::open();
        ahead::put(way, 1, 100).await;
        pass(secs(10)).await;
        assert_eq!(ahead::call(way, script, 1).await, Ok(1));
        assert_eq!(store.stats().calls.miss, 1);
        assert_eq!(fresh(ahead::call(way, script, 1)).await, Ok(2));
    })
    .await;
}

/// A value whose run took δ, at some distance from its end: whether a call refreshes it.
async fn refreshes_at(cache: &Cache<u64>, key: u64, left: std::time::Duration) -> bool {
    let runs = || Store::current().stats().runs.ok;
    cache
        .get_with(&key, || async {
            sleep(secs(1)).await;
            1
        })
        .await;
    advance(secs(100).saturating_sub(left)).await;
    let before = runs();
    cache.get_with(&key, || async { 2 }).await;
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    runs() > before
}

#[tokio::test(start_paused = true)]
async fn early_refreshes_come_at_random_the_likelier_the_later() {
    const DRAWS: u32 = 2_000;
    stampede::__private::seed(7);
    let run = async {
        let cache: Cache<u64> = Cache::builder("xfetch").ttl(secs(100)).xfetch(2.0).build();
        let mut key = 0;
        for left in [ms(100), secs(1), secs(2), secs(4), secs(10)] {
            let mut fired = 0;
            for _ in 0..DRAWS {
                key += 1;
                fired += u32::from(refreshes_at(&cache, key, left).await);
            }
            let (rate, expected) = (f64::from(fired) / f64::from(DRAWS), (-left.as_secs_f64() / 2.0).exp());
            println!("{left:?}: {rate}, expected {expected}");
            assert!((rate - expected).abs() < 0.03, "{left:?}: {rate}, expected {expected}");
        }
        // A value that was put has no run time to go by.
        cache.entry(&0_u64).put(1).await;
        advance(ms(99_999)).await;
        let before = Store::current().stats().runs.ok;
        cache.get_with(&0_u64, || async { 2 }).await;
        settle().await;
        assert_eq!(Store::current().stats().runs.ok, before);
    };
    Store::builder().max_entries(100_000).build().scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn in_one_process_an_early_refresh_is_one_run() {
    stampede::__private::seed(7);
    let store = Store::default();
    let run = async {
        let cache: Cache<u64> = Cache::builder("xfetch once").ttl(secs(100)).xfetch(1_000.0).build();
        let script = Script::gated();
        let init = || {
            let script = script.clone();
            async move {
                sleep(secs(1)).await;
                script.run().await.expect("a value")
            }
        };
        script.release(1);
        cache.get_with(&1, init).await;
        pass(secs(99)).await;
        for _ in 0..50 {
            assert_eq!(cache.get_with(&1, init).await, 1);
        }
        settle().await;
        pass(secs(1)).await;
        assert_eq!(script.runs(), 2);
    };
    store.scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn jitter_cuts_each_ttl_once_and_never_adds() {
    stampede::__private::seed(7);
    let run = async {
        let cache: Cache<u64> = Cache::builder("jitter").ttl(secs(100)).jitter(0.2).build();
        for key in 0_u64..500 {
            if key % 2 == 0 {
                cache.entry(&key).put(key).await;
            } else {
                cache.get_with(&key, || async move { key }).await;
            }
        }
        let alive = async || {
            let mut alive = 0_i32;
            for key in 0_u64..500 {
                alive += i32::from(cache.entry(&key).get().await.is_some());
            }
            alive
        };
        advance(ms(79_999)).await;
        assert_eq!(alive().await, 500);
        advance(secs(10)).await;
        let half = alive().await;
        assert!((half - 250).abs() < 40, "{half}");
        assert_eq!(alive().await, half, "decided once");
        advance(ms(10_001)).await;
        assert_eq!(alive().await, 0);
    };
    Store::default().scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn an_early_refresh_goes_by_the_cut_ttl() {
    stampede::__private::seed(7);
    let run = async {
        let cache: Cache<u64> = Cache::builder("jitter ahead")
            .ttl(secs(100))
            .jitter(0.5)
            .refresh_ahead(0.5)
            .stale_while_revalidate(secs(100))
            .build();
        let mut early = 0;
        for key in 0_u64..200 {
            cache.entry(&key).put(1).await;
        }
        // Half of the full TTL: past half of each TTL that was cut, and past none that is over.
        advance(ms(49_999)).await;
        for key in 0_u64..200 {
            assert_eq!(cache.get_with(&key, || async { 2 }).await, 1);
            settle().await;
            early += cache.entry(&key).get().await.expect("fresh") - 1;
        }
        assert!(early >= 195, "{early}");
        assert_eq!(Store::current().stats().calls.stale, 0, "no TTL was cut by more than half");
    };
    Store::default().scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn xfetch_goes_by_the_cut_ttl() {
    stampede::__private::seed(7);
    let run = async {
        let cache: Cache<u64> = Cache::builder("jitter xfetch").ttl(secs(100)).jitter(0.5).xfetch(1.0).build();
        let mut early = 0;
        for key in 0_u64..300 {
            // δ is a second: forty seconds before the end of a TTL that was not cut, nothing is due.
            early += u32::from(refreshes_at(&cache, key, secs(40)).await);
        }
        assert!(early > 0, "some were cut to about this");
    };
    Store::default().scope(run).await;
}
