//! What a body says about its own run: `NoCache`, `no_cache`, `store_for`, `is_background`.

use std::error::Error;
use std::time::Duration;

use eyre::WrapErr as _;
use stampede::{NoCache, coalesce, is_background, no_cache, no_stale, store_for};

use crate::stores::Store;
use crate::tools::{Call, Origin, assert_at_rest, drive, ms, pass, secs, settle};

type Boxed = Box<dyn Error + Send + Sync>;

#[coalesce(ttl = "1m", skip(o))]
async fn in_result(o: &Origin) -> Result<u64, String> {
    return NoCache(o.read().await).into();
}

#[coalesce(ttl = "1m", skip(o))]
async fn in_option(o: &Origin) -> Option<u64> {
    return NoCache(o.read().await).into();
}

#[coalesce(ttl = "1m", skip(o))]
async fn in_plain(o: &Origin) -> u64 {
    return NoCache(o.read().await).into_inner();
}

#[coalesce(ttl = "1m", skip(o))]
async fn in_anyhow(o: &Origin) -> anyhow::Result<u64> {
    Err(NoCache(o.read().await).into())
}

#[coalesce(ttl = "1m", skip(o))]
async fn in_eyre(o: &Origin) -> eyre::Result<u64> {
    Err(NoCache(o.read().await).into())
}

#[coalesce(ttl = "1m", skip(o))]
async fn in_box(o: &Origin) -> Result<u64, Boxed> {
    Err(NoCache(o.read().await).into())
}

#[coalesce(ttl = "1m", skip(o))]
async fn by_question_mark(o: &Origin) -> anyhow::Result<u64> {
    let read = o.read().await;
    Err(NoCache(read))?;
    Ok(0)
}

#[coalesce(ttl = "1m", skip(o))]
async fn behind_context(o: &Origin) -> anyhow::Result<u64> {
    let read: Result<u64, NoCache<u64>> = Err(NoCache(o.read().await));
    let read = anyhow::Context::context(read, "outside");
    anyhow::Context::context(read, "further outside")
}

#[coalesce(ttl = "1m", skip(o))]
async fn behind_wrap_err(o: &Origin) -> eyre::Result<u64> {
    let read: Result<u64, NoCache<u64>> = Err(NoCache(o.read().await));
    read.wrap_err("outside")
}

#[coalesce(ttl = "1m", skip(o), share_error = |error| anyhow::anyhow!("{error}"))]
async fn with_a_sharer(o: &Origin) -> anyhow::Result<u64> {
    Err(NoCache(o.read().await).into())
}

#[coalesce(ttl = "1m", skip(o))]
async fn deep_below(o: &Origin) -> u64 {
    async fn deeper() {
        tokio::task::yield_now().await;
        no_cache();
    }
    let (read, ()) = tokio::join!(o.read(), Box::pin(deeper()));
    read
}

#[coalesce(ttl = "1m", skip(o), inline)]
async fn in_inline(o: &Origin) -> Result<u64, String> {
    return NoCache(o.read().await).into();
}

async fn ask(form: usize, o: &Origin) -> Result<u64, String> {
    let text = |error: anyhow::Error| error.to_string();
    match form {
        0 => in_result(o).await,
        1 => in_option(o).await.ok_or_else(String::new),
        2 => Ok(in_plain(o).await),
        3 => in_anyhow(o).await.map_err(text),
        4 => in_eyre(o).await.map_err(|error| error.to_string()),
        5 => in_box(o).await.map_err(|error| error.to_string()),
        6 => by_question_mark(o).await.map_err(text),
        7 => behind_context(o).await.map_err(text),
        8 => behind_wrap_err(o).await.map_err(|error| error.to_string()),
        9 => with_a_sharer(o).await.map_err(text),
        10 => Ok(deep_below(o).await),
        _ => in_inline(o).await,
    }
}

const FORMS: usize = 12;

#[tokio::test]
async fn in_each_form_those_who_wait_get_it_and_nobody_else() {
    for form in 0..FORMS {
        println!("form {form}");
        let store = Store::default();
        let run = async {
            let o = &Origin::gated();
            let mut calls = [Call::start(ask(form, o)).await, Call::start(ask(form, o)).await];
            drive(&mut calls).await;
            o.release(1);
            assert_eq!(drive(&mut calls).await, [Some(Ok(1)), Some(Ok(1))]);
            o.release(2);
            assert_eq!(ask(form, o).await, Ok(2));
        };
        store.scope(run).await;
        let stats = store.stats();
        assert_eq!((stats.runs.no_cache, stats.runs.total(), stats.entries), (2, 2, 0), "{stats:?}");
        assert_eq!((stats.calls.miss, stats.calls.coalesced), (2, 1), "{stats:?}");
        assert_at_rest(&store, 3);
    }
}

#[tokio::test]
async fn uncached_calls_never_see_it_either() {
    let store = Store::default();
    let run = async {
        let o = &Origin::open();
        for form in 0..FORMS {
            assert_eq!(stampede::uncached(ask(form, o)).await, Ok(form as u64 + 1), "form {form}");
        }
    };
    store.scope(run).await;
}

#[coalesce(ttl = "1m", skip(o))]
async fn of_the_wrong_type(o: &Origin) -> anyhow::Result<u64> {
    o.read().await;
    Err(NoCache(5_i32).into())
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_that_says_so() {
    let run = async {
        let error = of_the_wrong_type(&Origin::open()).await.expect_err("not a `u64`");
        let message = error.to_string();
        assert!(message.contains("`i32`") && message.contains("name the type"), "{message}");
    };
    Store::default().scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn outside_a_run_nothing_happens() {
    no_cache();
    store_for(secs(1));
    assert!(!is_background());
    assert_eq!(NoCache(5).into_inner(), 5);
    assert_eq!(Option::from(NoCache(5)), Some(5));
    assert_eq!(Result::<_, ()>::from(NoCache(5)), Ok(5));
}

#[coalesce(ttl = "1m", skip(o))]
async fn spawns(o: &Origin) -> u64 {
    let spawned = async {
        no_cache();
        store_for(Duration::ZERO);
        is_background()
    };
    assert!(!tokio::spawn(spawned).await.expect("no panic"));
    o.read().await
}

#[coalesce(ttl = "1m", skip(o))]
async fn calls_one_that_is_not_stored(o: &Origin) -> u64 {
    in_plain(o).await
}

#[tokio::test]
async fn it_concerns_the_run_whose_body_says_it_and_no_other() {
    let run = async {
        let o = &Origin::open();
        assert_eq!((spawns(o).await, spawns(o).await), (1, 1));
        assert_eq!(calls_one_that_is_not_stored(o).await, 2);
        assert_eq!(calls_one_that_is_not_stored(o).await, 2);
        assert_eq!(in_plain(o).await, 3);
    };
    Store::default().scope(run).await;
}

#[coalesce(ttl = "10s", key = "times")]
async fn for_so_long(o: &Origin, times: &[u64]) -> u64 {
    for time in times {
        store_for(secs(*time));
    }
    o.read().await
}

#[coalesce(key = "time")]
async fn without_ttl(o: &Origin, time: u64) -> u64 {
    let read = o.read().await;
    store_for(secs(time));
    read
}

#[coalesce(key = "time", inline)]
async fn without_ttl_inline(o: &Origin, time: u64) -> u64 {
    let read = o.read().await;
    store_for(secs(time));
    read
}

#[coalesce(ttl = "10s", skip(o))]
async fn both(o: &Origin) -> u64 {
    store_for(secs(5));
    NoCache(o.read().await).into_inner()
}

/// Which function, and what it says.
#[derive(Clone, Copy, Debug)]
enum Says {
    Times(&'static [u64]),
    NoTtl(u64),
    NoTtlInline(u64),
    Both,
}

impl Says {
    async fn call(self, o: &Origin) -> u64 {
        match self {
            Self::Times(times) => for_so_long(o, times).await,
            Self::NoTtl(time) => without_ttl(o, time).await,
            Self::NoTtlInline(time) => without_ttl_inline(o, time).await,
            Self::Both => both(o).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn store_for_says_for_how_long() {
    use Says::{Both, NoTtl, NoTtlInline, Times};
    // What is said, the store's bound, and for how many seconds the value is there.
    let cases = [
        (Times(&[]), 3600, 10),
        (Times(&[20]), 3600, 20),
        (Times(&[3]), 3600, 3),
        (Times(&[0]), 3600, 0),
        (Times(&[20, 3]), 3600, 3),
        (Times(&[0, 4]), 3600, 4),
        (Times(&[]), 7, 7),
        (Times(&[20]), 7, 7),
        (Times(&[20]), 0, 0),
        (Times(&[u64::MAX]), 9, 9),
        (NoTtl(20), 3600, 20),
        (NoTtl(0), 3600, 0),
        (NoTtl(20), 7, 7),
        (NoTtlInline(20), 3600, 20),
        (Both, 3600, 0),
    ];
    for (says, max_ttl, lasts) in cases {
        println!("{says:?}, at most {max_ttl} s");
        let store = Store::builder().max_ttl(secs(max_ttl)).build();
        let run = async {
            let o = &Origin::open();
            assert_eq!(says.call(o).await, 1);
            if lasts > 0 {
                pass(ms(lasts * 1_000 - 1)).await;
                assert_eq!(says.call(o).await, 1, "still there");
                pass(ms(1)).await;
            }
            assert_eq!(says.call(o).await, 2, "gone");
        };
        store.scope(run).await;
    }
}

#[coalesce(ttl = "10s", stale_while_revalidate = "60s", retry_after = "4s", skip(o))]
async fn refreshed(o: &Origin) -> Result<u64, String> {
    let read = o.read().await;
    if read > 1 && is_background() {
        return NoCache(read).into();
    }
    Ok(read)
}

#[tokio::test(start_paused = true)]
async fn an_unstored_refresh_keeps_the_old_value_and_is_put_off() {
    let store = Store::default();
    let run = async {
        let o = &Origin::open();
        assert_eq!(refreshed(o).await, Ok(1));
        pass(secs(10)).await;
        // Seconds since the value went stale, and how many runs there have been.
        for (at, runs) in [(0, 2), (1, 2), (3, 2), (4, 3), (5, 3), (7, 3), (8, 4)] {
            assert_eq!(refreshed(o).await, Ok(1), "the old value at {at} s");
            settle().await;
            assert_eq!(o.begun(), runs, "runs at {at} s");
            pass(if [1, 5].contains(&at) { secs(2) } else { secs(1) }).await;
        }
        // A run that somebody waits for is stored, and the old value has had its time.
        assert_eq!(no_stale(refreshed(o)).await, Ok(5));
        assert_eq!(refreshed(o).await, Ok(5));
    };
    store.scope(run).await;
    assert_eq!(store.stats().runs.no_cache, 3);
}
