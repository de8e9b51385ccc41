//! Runs that wait for themselves: a clear panic, no deadlock, and no false alarm.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use stampede::{coalesce, fresh, no_stale, uncached};
use tokio::sync::Barrier;
use tokio::time::timeout;

use crate::stores::Store;
use crate::tools::{Origin, pass, secs};

/// Whether the bodies close their circles.
#[derive(Clone)]
struct Closed(Arc<AtomicBool>, Arc<AtomicU32>);

impl Closed {
    fn new(closed: bool) -> Self {
        Self(Arc::new(AtomicBool::new(closed)), Arc::default())
    }

    fn is(&self) -> bool {
        assert!(self.1.fetch_add(1, Ordering::SeqCst) < 1_000, "it goes on without an end");
        self.0.load(Ordering::SeqCst)
    }
}

/// Functions whose bodies, as long as the circle is closed, do this; and otherwise give 1.
macro_rules! circle {
    ($($(#[$inline:ident])? $name:ident($c:ident, $n:ident) => $call:expr;)*) => {$(
        #[coalesce(ttl = "1m", skip($c) $(, $inline)?)]
        async fn $name($c: &Closed, $n: u32) -> u32 {
            if $c.is() { $call } else { 1 }
        }
    )*};
}

circle! {
    direct(c, n) => direct(c, n).await;
    by_fresh(c, n) => fresh(by_fresh(c, n)).await;
    by_no_stale(c, n) => no_stale(by_no_stale(c, n)).await;
    ping(c, n) => pong(c, n).await;
    pong(c, n) => ping(c, n).await;
    ping_fresh(c, n) => fresh(pong_fresh(c, n)).await;
    pong_fresh(c, n) => fresh(ping_fresh(c, n)).await;
    one(c, n) => two(c, n).await;
    two(c, n) => three(c, n).await;
    three(c, n) => one(c, n).await;
    around(c, n) => odd(c, n).await;
    odd(c, n) => around(c, 1 - n % 2).await;
    past(c, n) => uncached(past_too(c, n)).await;
    past_too(c, n) => past(c, n).await;
    in_join(c, n) => {
        let (_, value) = tokio::join!(direct_value(c, n), in_join(c, n));
        value
    };
    direct_value(c, n) => n;
    in_select(c, n) => tokio::select! {
        value = in_select(c, n) => value,
        () = std::future::pending() => 0,
    };
    in_box(c, n) => Box::pin(in_box(c, n)).await;
    after_invalidation(c, n) => {
        after_invalidation_entry(n).invalidate().await;
        after_invalidation(c, n).await
    };
    #[inline] inline_direct(c, n) => back::inline_direct(c, n).await;
    #[inline] inline_ping(c, n) => inline_pong(c, n).await;
    #[inline] inline_pong(c, n) => back::inline_ping(c, n).await;
    #[inline] inline_mixed(c, n) => mixed(c, n).await;
    mixed(c, n) => back::inline_mixed(c, n).await;
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Answer = Boxed<'static, u32>;

/// The inline functions behind a type that is known, without which they could not call themselves.
mod back {
    use super::{Arc, Barrier, Boxed, Closed};

    pub(super) fn inline_direct(c: &Closed, n: u32) -> Boxed<'_, u32> {
        Box::pin(super::inline_direct(c, n))
    }

    pub(super) fn inline_ping(c: &Closed, n: u32) -> Boxed<'_, u32> {
        Box::pin(super::inline_ping(c, n))
    }

    pub(super) fn inline_mixed(c: &Closed, n: u32) -> Boxed<'_, u32> {
        Box::pin(super::inline_mixed(c, n))
    }

    pub(super) fn left_inline(both: Arc<Barrier>) -> Boxed<'static, u32> {
        Box::pin(super::left_inline(both))
    }

    pub(super) fn fib_inline(n: u64) -> Boxed<'static, u64> {
        Box::pin(super::fib_inline(n))
    }

    pub(super) fn refreshed_inline(c: &Closed) -> Boxed<'_, u32> {
        Box::pin(super::refreshed_inline(c))
    }
}

/// The functions, and how many runs their circles have, the first of them named again at the end.
fn circles(c: &Closed) -> Vec<(&'static str, usize, Answer)> {
    macro_rules! circles {
        ($($name:ident $runs:literal)*) => {
            vec![$((stringify!($name), $runs, {
                let c = c.clone();
                Box::pin(async move { $name(&c, 1).await }) as Answer
            })),*]
        };
    }
    circles! {
        direct 1 by_fresh 1 by_no_stale 1 ping 2 ping_fresh 2 one 3 around 4 past 2
        in_join 1 in_select 1 in_box 1 after_invalidation 1
        inline_direct 1 inline_ping 2 inline_mixed 2
    }
}

/// What a panic of this future says; it does not hang.
async fn panic_of<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Option<String> {
    let store = Store::current();
    let task = tokio::spawn(async move { timeout(secs(60), store.scope(future)).await });
    match task.await {
        Ok(Ok(_)) => None,
        Ok(Err(_)) => Some("it hangs".into()),
        Err(error) => Some(text(&*error.into_panic())),
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).expect("text")
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_runs_is_a_panic_that_shows_it() {
    let closed = Closed::new(true);
    for (name, runs, circle) in circles(&closed) {
        let store = Store::default();
        let run = async {
            let message = panic_of(circle).await.expect("a panic");
            println!("{message}");
            assert!(message.contains("a run waits for itself"), "{name}: {message}");
            let chain: Vec<_> = message.split_once("never end: ").expect("a chain").1.split(" -> ").collect();
            assert_eq!(chain.len(), runs + 1, "{name}: {message}");
            assert_eq!(chain.first(), chain.last(), "{name}: {message}");
            assert!(chain.iter().any(|link| link.contains(&format!("::{name}`"))), "{name}: {message}");
            let stats = store.stats();
            assert_eq!((stats.in_flight, stats.waiting), (0, 0), "{name}: {stats:?}");
        };
        store.scope(run).await;
    }
}

#[tokio::test(start_paused = true)]
async fn afterwards_the_keys_are_free() {
    let closed = Closed::new(true);
    let store = Store::default();
    let run = async {
        for (name, _, circle) in circles(&closed) {
            assert!(panic_of(circle).await.is_some(), "{name}");
        }
        closed.0.store(false, Ordering::SeqCst);
        for (name, _, circle) in circles(&closed) {
            assert_eq!(timeout(secs(60), circle).await, Ok(1), "{name}");
        }
        closed.0.store(true, Ordering::SeqCst);
        for (name, _, circle) in circles(&closed) {
            assert_eq!(timeout(secs(60), circle).await, Ok(1), "{name}: what is stored closes no circle");
        }
    };
    store.scope(run).await;
}

#[coalesce(skip(both))]
async fn left(both: Arc<Barrier>) -> u32 {
    both.wait().await;
    right(both).await
}

#[coalesce(skip(both))]
async fn right(both: Arc<Barrier>) -> u32 {
    both.wait().await;
    left(both).await
}

#[coalesce(skip(both), inline)]
async fn left_inline(both: Arc<Barrier>) -> u32 {
    both.wait().await;
    right_inline(both).await
}

#[coalesce(skip(both), inline)]
async fn right_inline(both: Arc<Barrier>) -> u32 {
    both.wait().await;
    back::left_inline(both).await
}

async fn from_both_sides(rounds: usize) {
    for round in 0..rounds {
        let store = Store::default();
        let run = async {
            let both = &Arc::new(Barrier::new(2));
            let (l, r) = (Arc::clone(both), Arc::clone(both));
            let messages = if round % 2 == 0 {
                tokio::join!(panic_of(left(l)), panic_of(right(r)))
            } else {
                tokio::join!(panic_of(left_inline(l)), panic_of(right_inline(r)))
            };
            // Whichever closes the circle; the other waits for it, and gets the same.
            for message in [messages.0, messages.1] {
                let message = message.expect("a panic");
                assert!(message.contains("::left") && message.contains("::right"), "{message}");
            }
        };
        store.scope(run).await;
        let stats = store.stats();
        assert_eq!((stats.in_flight, stats.waiting), (0, 0), "{stats:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_circle_that_is_closed_from_both_sides_hangs_nobody() {
    from_both_sides(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_circle_that_is_closed_from_both_sides_at_once_hangs_nobody() {
    from_both_sides(200).await;
}

#[coalesce(ttl = "1m")]
async fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = tokio::join!(fib(n - 1), fib(n - 2));
    a + b
}

#[coalesce(ttl = "1m", inline)]
async fn fib_inline(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = tokio::join!(back::fib_inline(n - 1), back::fib_inline(n - 2));
    a + b
}

#[coalesce]
async fn down(n: u64) -> u64 {
    if n == 0 { 0 } else { 1 + down(n - 1).await }
}

#[tokio::test(start_paused = true)]
async fn recursion_over_different_keys_is_fine() {
    let store = Store::default();
    let run = async {
        assert_eq!(timeout(secs(60), fib(60)).await, Ok(1_548_008_755_920));
        assert_eq!(timeout(secs(60), fib_inline(40)).await, Ok(102_334_155));
        assert_eq!(timeout(secs(60), down(300)).await, Ok(300));
    };
    store.scope(run).await;
    assert_eq!(store.stats().runs.ok, 61 + 41 + 301);
}

#[coalesce(skip(o))]
async fn diamond(o: &Origin, n: u32) -> u64 {
    match n {
        0 => o.read().await,
        1 | 2 => diamond(o, 0).await,
        _ => {
            let (a, b) = tokio::join!(diamond(o, 1), diamond(o, 2));
            a + b
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_ways_to_one_run_are_no_circle() {
    Store::default()
        .scope(async {
            let o = Origin::open();
            assert_eq!(timeout(secs(60), diamond(&o, 3)).await, Ok(2));
            assert_eq!(o.begun(), 1);
        })
        .await;
}

/// The refresh of a stale value asks for that value: it is there.
#[coalesce(ttl = "10s", stale_while_revalidate = "1m", skip(c))]
async fn asks_for_itself(c: &Closed) -> u32 {
    if c.is() { asks_for_itself(c).await + 1 } else { 1 }
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_closes_no_circle() {
    let closed = Closed::new(false);
    let run = async {
        assert_eq!(asks_for_itself(&closed).await, 1);
        pass(secs(10)).await;
        closed.0.store(true, Ordering::SeqCst);
        assert_eq!(asks_for_itself(&closed).await, 1);
        pass(secs(0)).await;
        assert_eq!(asks_for_itself(&closed).await, 2);
    };
    Store::default().scope(run).await;
}

/// An inline refresh runs in the call that brings it about, which therefore waits for it.
#[coalesce(ttl = "10s", stale_while_revalidate = "1m", skip(c), inline)]
async fn refreshed_inline(c: &Closed) -> u32 {
    if c.is() { needs_refreshed(c).await } else { 1 }
}

#[coalesce(skip(c))]
async fn needs_refreshed(c: &Closed) -> u32 {
    back::refreshed_inline(c).await
}

#[tokio::test(start_paused = true)]
async fn a_circle_through_an_inline_refresh_hangs_nobody() {
    let closed = Closed::new(false);
    let store = Store::default();
    let run = async {
        assert_eq!(refreshed_inline(&closed).await, 1);
        pass(secs(10)).await;
        closed.0.store(true, Ordering::SeqCst);
        // The refresh fails, so the old value is the answer.
        assert_eq!(timeout(secs(60), needs_refreshed(&closed)).await, Ok(1));
    };
    store.scope(run).await;
    assert_eq!(store.stats().runs.panic, 1, "{:?}", store.stats());
}
