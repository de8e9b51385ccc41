//! Errors and panics: everybody who waited gets them, whole.

use std::error::Error;
use std::fmt;
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use stampede::coalesce;

use crate::harness::*;

#[coalesce(ttl = TTL, skip(body))]
async fn throws(body: &Body, how: u8) -> u64 {
    let number = body.run().await.unwrap();
    match how {
        0 => panic!("plain"),
        1 => panic!("number {number}"),
        2 => panic_any(String::from("owned")),
        3 => panic_any(42u8),
        _ => number,
    }
}

/// Every waiter panics with the message of the run, the process lives, and the key is free.
#[test]
fn panics_are_shared() {
    let other = "a coalesced function panicked with a payload that is not text";
    for threads in Threads::ALL {
        for (how, message) in [(0, "plain"), (1, "number 1"), (2, "owned"), (3, other)] {
            threads.run(async {
                let rig = Rig::default();
                let call = |how| rig.call_with(|body| async move { throws(&body, how).await });
                let leader = tokio::spawn(call(how));
                rig.started(1).await;
                let others: Vec<_> = (0..20).map(|_| tokio::spawn(call(how))).collect();
                rig.waiting(21).await;
                rig.body.pass();
                assert!(panics(others).await.iter().all(|panic| panic == message));
                let thrown = leader.await.unwrap_err().into_panic();
                if how == 3 {
                    assert_eq!(thrown.downcast_ref(), Some(&42u8), "the leader gets the original");
                } else {
                    assert_eq!(said(&*thrown), message);
                }
                let stats = rig.rest(21, 1).await;
                assert_eq!((stats.calls.error, stats.runs.panic), (21, 1));
                // Free again, and no worse for it.
                let again = tokio::spawn(call(how));
                rig.started(2).await;
                rig.body.open();
                assert!(again.await.unwrap_err().is_panic());
                assert_eq!(call(4).await, 3);
                rig.rest(23, 3).await;
            });
        }
    }
}

/// An error that knows how often it was copied.
#[derive(Debug)]
struct Counted(Arc<AtomicU64>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, SeqCst);
        Self(Arc::clone(&self.0))
    }
}

#[coalesce(skip(body, copies))]
async fn counted(body: &Body, copies: &Arc<AtomicU64>) -> Result<u64, Counted> {
    body.run().await.map_err(|_| Counted(Arc::clone(copies)))
}

#[derive(Debug, PartialEq)]
struct NotClone(&'static str);

#[coalesce(skip(body), share_error = |error| NotClone(if error.0 == "original" { "copy" } else { "?" }))]
async fn not_clone(body: &Body) -> Result<u64, NotClone> {
    body.run().await.map_err(|_| NotClone("original"))
}

#[derive(Debug)]
struct Inner;

#[derive(Debug)]
struct Outer(Inner);

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("inner")
    }
}

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outer")
    }
}

impl Error for Inner {}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

#[coalesce(skip(body))]
async fn boxed(body: &Body) -> Result<u64, BoxError> {
    body.run().await.map_err(|_| Outer(Inner).into())
}

#[coalesce(skip(body))]
async fn anyhow(body: &Body) -> anyhow::Result<u64> {
    body.run().await.map_err(|_| anyhow::Error::new(Outer(Inner)).context("asked"))
}

#[coalesce(skip(body))]
async fn eyre(body: &Body) -> eyre::Result<u64> {
    body.run().await.map_err(|_| eyre::Report::new(Outer(Inner)).wrap_err("asked"))
}

fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        chain.push(error.to_string());
        next = error.source();
    }
    chain
}

/// Has a failing function called by so many, of whom some leave, and gives the errors of those who stay.
async fn errors<E: Send + 'static>(callers: u64, leave: u64, call: impl Fn(&Rig) -> Call<Result<u64, E>>) -> Vec<E> {
    let rig = Rig::new(Script { end: End::Error, ..Script::default() });
    let mut tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(call(&rig))).collect();
    rig.waiting(callers).await;
    for task in tasks.drain(..usize::try_from(leave).unwrap()) {
        task.abort();
        let _ = task.await;
    }
    rig.body.open();
    let errors = answers(tasks).await.into_iter().filter_map(Result::err).collect();
    let stats = rig.rest(callers, 1).await;
    assert_eq!((stats.calls.error, stats.runs.error), (callers - leave, 1));
    errors
}

/// Who was alone in the end gets the error itself; several get a share each.
#[test]
fn errors_are_shared() {
    for (callers, leave) in [(1, 0), (2, 0), (5, 0), (5, 3), (5, 4)] {
        let alone = callers - leave == 1;
        let (staying, message) = (usize::try_from(callers - leave).unwrap(), ["asked", "outer", "inner"]);
        Threads::Two.run(async {
            let copies = Arc::new(AtomicU64::new(0));
            let counted = errors(callers, leave, |rig| {
                let copies = Arc::clone(&copies);
                rig.call_with(|body| async move { counted(&body, &copies).await })
            });
            assert_eq!(counted.await.len(), staying);
            assert_eq!(copies.load(SeqCst) == 0, alone, "{callers} callers, {leave} leave");

            let call = |rig: &Rig| rig.call_with(|body| async move { not_clone(&body).await });
            let expected = NotClone(if alone { "original" } else { "copy" });
            let errors_of = errors(callers, leave, call).await;
            assert!(errors_of.len() == staying && errors_of.iter().all(|error| *error == expected));

            let call = |rig: &Rig| rig.call_with(|body| async move { boxed(&body).await });
            for error in errors(callers, leave, call).await {
                assert_eq!(chain(&*error), message[1..]);
                assert_eq!(error.downcast_ref::<Outer>().is_some(), alone);
                assert!(error.source().unwrap().is::<Inner>());
            }
            let call = |rig: &Rig| rig.call_with(|body| async move { anyhow(&body).await });
            for error in errors(callers, leave, call).await {
                assert_eq!(chain(error.as_ref()), message);
                assert_eq!(error.downcast_ref::<Outer>().is_some(), alone);
                assert!(error.root_cause().is::<Inner>());
            }
            let call = |rig: &Rig| rig.call_with(|body| async move { eyre(&body).await });
            for error in errors(callers, leave, call).await {
                assert_eq!(chain(error.as_ref()), message);
                assert_eq!(error.downcast_ref::<Outer>().is_some(), alone);
                assert!(error.root_cause().is::<Inner>());
            }
        });
    }
}
