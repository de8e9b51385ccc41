//! What functions return, what they take, and what the attribute's smaller arguments do.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use serde::Serialize;
use stampede::coalesce;

use crate::stores::Store;
use crate::tools::{Origin, assert_at_rest};

type Boxed = Box<dyn Error + Send + Sync>;

#[derive(Clone, Debug, PartialEq)]
struct MyError(u64);

impl fmt::Display for MyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mine: {}", self.0)
    }
}

impl Error for MyError {}

type R<T> = Result<T, MyError>;

fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("copy of {error}"))
}

#[coalesce(ttl = "1m", skip(o))]
async fn plain(o: &Origin) -> u64 {
    o.read().await
}

#[coalesce(ttl = "1m", skip(o))]
async fn option(o: &Origin, some: bool) -> Option<u64> {
    let read = o.read().await;
    some.then_some(read)
}

#[coalesce(ttl = "1m", skip(o))]
async fn result(o: &Origin, fail: bool) -> Result<u64, String> {
    let read = o.read().await;
    if fail { Err(format!("failed {read}")) } else { Ok(read) }
}

#[coalesce(ttl = "1m", skip(o))]
async fn alias(o: &Origin, fail: bool) -> R<u64> {
    let read = o.read().await;
    if fail { Err(MyError(read)) } else { Ok(read) }
}

#[coalesce(ttl = "1m", skip(o))]
async fn by_anyhow(o: &Origin, fail: bool) -> anyhow::Result<u64> {
    use anyhow::Context;
    let read = alias_of(o, fail).await.context("looking it up")?;
    Ok(read)
}

#[coalesce(ttl = "1m", skip(o))]
async fn by_eyre(o: &Origin, fail: bool) -> eyre::Result<u64> {
    use eyre::WrapErr;
    let read = alias_of(o, fail).await.wrap_err("looking it up")?;
    Ok(read)
}

/// Not coalesced: a step of bodies.
async fn alias_of(o: &Origin, fail: bool) -> R<u64> {
    let read = o.read().await;
    if fail { Err(MyError(read)) } else { Ok(read) }
}

#[coalesce(ttl = "1m", skip(o))]
async fn boxed(o: &Origin, fail: bool) -> Result<Arc<u64>, Boxed> {
    Ok(Arc::new(alias_of(o, fail).await?))
}

#[coalesce(ttl = "1m", skip(o), share_error = copy)]
async fn foreign(o: &Origin, fail: bool) -> Result<u64, io::Error> {
    let read = o.read().await;
    if fail { Err(io::Error::new(io::ErrorKind::NotFound, format!("no {read}"))) } else { Ok(read) }
}

#[coalesce(ttl = "1m", skip(o), share_error = copy)]
async fn foreign_alias(o: &Origin) -> io::Result<u64> {
    let read = o.read().await;
    Err(io::Error::other(format!("no {read}")))
}

#[coalesce(ttl = "1m", skip(o))]
async fn unit(o: &Origin) {
    o.read().await;
}

#[coalesce(ttl = "1m", skip(o))]
async fn generic<T: Clone + Serialize + Send + Sync + 'static>(o: &Origin, value: T) -> T {
    o.read().await;
    value
}

/// A `Result` by its looks: the attribute goes by type.
#[derive(Clone, Debug, PartialEq)]
struct ResultLike<T, E>(T, E);

#[coalesce(ttl = "1m", skip(o))]
async fn looks(o: &Origin) -> ResultLike<u64, u64> {
    ResultLike(o.read().await, 0)
}

async fn in_store<F: Future>(future: F) -> F::Output {
    Store::default().scope(future).await
}

#[tokio::test]
async fn values_are_stored_and_errors_are_not() {
    let run = async {
        let o = &Origin::open();
        for _ in 0..2 {
            assert_eq!(plain(o).await, 1);
            assert_eq!(option(o, true).await, Some(2));
            assert_eq!(option(o, false).await, None, "`None` is a value");
            assert_eq!(result(o, false).await, Ok(4));
            assert_eq!(alias(o, false).await, Ok(5));
            assert_eq!(by_anyhow(o, false).await.expect("a value"), 6);
            assert_eq!(by_eyre(o, false).await.expect("a value"), 7);
            assert_eq!(*boxed(o, false).await.expect("a value"), 8);
            assert_eq!(foreign(o, false).await.expect("a value"), 9);
            unit(o).await;
            assert_eq!(looks(o).await, ResultLike(11, 0));
        }
        assert_eq!(o.begun(), 11);
        assert_eq!(result(o, true).await, Err("failed 12".to_owned()));
        assert_eq!(result(o, true).await, Err("failed 13".to_owned()));
        assert_eq!(alias(o, true).await, Err(MyError(14)));
        assert_eq!(alias(o, true).await, Err(MyError(15)));
        assert_eq!(result_entry(true).get().await, None);
        assert_eq!(result_entry(false).get().await, Some(4), "the entry speaks the value in the `Ok`");
        assert_eq!(option_entry(false).get().await, Some(None));
        assert_eq!(boxed_entry(false).get().await.as_deref(), Some(&8));
    };
    in_store(run).await;
}

#[tokio::test]
async fn a_generic_reply_is_a_plain_value_whatever_it_is() {
    let run = async {
        let o = &Origin::open();
        for _ in 0..2 {
            assert_eq!(generic(o, 5_u8).await, 5);
            assert_eq!(generic(o, Err::<u8, u8>(5)).await, Err(5));
            assert_eq!(generic(o, None::<u8>).await, None);
        }
        assert_eq!(o.begun(), 3);
    };
    in_store(run).await;
}

/// How an error looks: its chain of messages, and whether it is the very one that the body made.
fn looks_of(error: &(dyn Error + 'static)) -> (Vec<String>, bool) {
    let chain: Vec<_> = std::iter::successors(Some(error), |&error| error.source()).collect();
    (chain.iter().map(ToString::to_string).collect(), error.is::<MyError>())
}

#[tokio::test]
async fn errors_that_hold_any_error_reach_everybody() {
    let run = async {
        let o = &Origin::open();
        let mine = |n| format!("mine: {n}");

        let alone = by_anyhow(o, true).await.expect_err("it fails");
        assert_eq!(looks_of(&*alone).0, ["looking it up".to_owned(), mine(1)]);
        assert_eq!(alone.downcast_ref::<MyError>(), Some(&MyError(1)), "the original");
        let (a, b) = tokio::join!(by_anyhow(o, true), by_anyhow(o, true));
        for error in [a, b] {
            let error = error.expect_err("it fails");
            assert_eq!(looks_of(&*error).0, ["looking it up".to_owned(), mine(2)]);
            let root = error.root_cause().downcast_ref::<MyError>();
            assert_eq!(root, Some(&MyError(2)), "the sources are the originals");
        }

        let alone = by_eyre(o, true).await.expect_err("it fails");
        assert_eq!(alone.downcast_ref::<MyError>(), Some(&MyError(3)), "the original");
        let (a, b) = tokio::join!(by_eyre(o, true), by_eyre(o, true));
        for error in [a, b] {
            let error = error.expect_err("it fails");
            assert_eq!(looks_of(&*error).0, ["looking it up".to_owned(), mine(4)]);
        }

        let alone = boxed(o, true).await.expect_err("it fails");
        assert_eq!(looks_of(&*alone), (vec![mine(5)], true), "the original");
        let (a, b) = tokio::join!(boxed(o, true), boxed(o, true));
        for error in [a, b] {
            assert_eq!(looks_of(&*error.expect_err("it fails")).0, [mine(6)]);
        }
    };
    in_store(run).await;
}

#[tokio::test]
async fn errors_that_are_not_clone_are_shared_by_a_function() {
    let store = Store::default();
    let run = async {
        let o = &Origin::open();
        let alone = foreign(o, true).await.expect_err("it fails");
        assert_eq!((alone.kind(), alone.to_string()), (io::ErrorKind::NotFound, "no 1".into()), "the original");
        let (a, b) = tokio::join!(foreign(o, true), foreign(o, true));
        for error in [a, b] {
            let error = error.expect_err("it fails");
            assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::NotFound, "copy of no 2".into()));
        }
        assert_eq!(foreign_alias(o).await.expect_err("it fails").to_string(), "no 3");
    };
    store.scope(run).await;
    let stats = store.stats();
    assert_eq!((stats.calls.error, stats.runs.error), (4, 3), "{stats:?}");
    assert_at_rest(&store, 4);
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Filter {
    word: String,
}

#[coalesce(ttl = "1m", skip(o))]
#[allow(clippy::too_many_arguments, reason = "the more the better")]
async fn arguments(
    o: &Origin,
    owned: String,
    filter: &Filter,
    text: &str,
    list: &[u8],
    words: &[String],
    limit: Option<&str>,
    (x, y): (u8, u8),
    mut count: u64,
) -> String {
    count += o.read().await;
    format!("{owned} {} {text} {list:?} {} {limit:?} {x} {y} {count}", filter.word, words.len())
}

#[tokio::test]
async fn arguments_are_what_the_signature_says() {
    let run = async {
        let o = &Origin::open();
        let filter = Filter { word: "w".into() };
        let call =
            |text: &'static str, limit| arguments(o, "own".into(), &filter, text, &[1, 2], &[], limit, (3, 4), 5);
        // What is borrowed may be gone as soon as the call has been.
        for _ in 0..2 {
            assert_eq!(call("t", Some("l")).await, "own w t [1, 2] 0 Some(\"l\") 3 4 6");
            assert_eq!(call("t", None).await, "own w t [1, 2] 0 None 3 4 7");
            assert_eq!(call("u", None).await, "own w u [1, 2] 0 None 3 4 8");
        }
        let entry = arguments_entry("own".into(), &filter, "t", &[1, 2], &[], None, (3, 4), 5);
        assert_eq!(entry.get().await.as_deref(), Some("own w t [1, 2] 0 None 3 4 7"));
    };
    in_store(run).await;
}

#[coalesce(ttl = "1m", skip(o), entry = the_entry, name = "the name", version = 2, crate = ::stampede)]
async fn renamed(o: &Origin, id: u8) -> u64 {
    let _ = id;
    o.read().await
}

#[coalesce(ttl = "1m", skip(o), entry = false)]
async fn without_entry(o: &Origin, id: u8) -> u64 {
    let _ = id;
    o.read().await
}

/// Takes the name that the companion would have had.
fn without_entry_entry() -> &'static str {
    "free"
}

#[coalesce(ttl = "1m", skip(o), crate = stampede, cache_if = IsEven::is_ok_and_even, weight = |_| 7)]
async fn particular(o: &Origin) -> R<u64> {
    Ok(o.read().await)
}

trait IsEven {
    fn is_ok_and_even(&self) -> bool;
}

/// `cache_if` and `weight` see the value, not the `Result`.
impl IsEven for u64 {
    fn is_ok_and_even(&self) -> bool {
        self.is_multiple_of(2)
    }
}

#[coalesce(ttl = "1m", skip(o), name = "the panicking one")]
async fn waits_for_itself(o: &Origin) -> u64 {
    waits_for_itself(o).await
}

#[tokio::test]
async fn companions_bear_the_names_that_they_are_given() {
    let store = Store::default();
    let run = async {
        let o = &Origin::open();
        assert_eq!((renamed(o, 1).await, the_entry(1).get().await), (1, Some(1)));
        the_entry(1).invalidate().await;
        assert_eq!(renamed(o, 1).await, 2);
        assert_eq!((without_entry(o, 1).await, without_entry(o, 1).await, without_entry_entry()), (3, 3, "free"));
    };
    store.scope(run).await;
    assert_eq!(store.stats().entries, 2);
}

#[tokio::test]
async fn cache_if_and_weight_see_the_value() {
    let store = Store::builder().max_weight(10).build();
    let run = async {
        let o = &Origin::open();
        assert_eq!(particular(o).await, Ok(1));
        assert_eq!(particular_entry().get().await, None);
        assert_eq!(particular(o).await, Ok(2));
        assert_eq!(particular(o).await, Ok(2));
    };
    store.scope(run).await;
    let stats = store.stats();
    assert_eq!((stats.runs.no_cache, stats.runs.ok, stats.entries), (1, 1, 1), "{stats:?}");
}

#[tokio::test]
#[should_panic(expected = "`the panicking one`")]
async fn the_name_is_what_people_read() {
    in_store(waits_for_itself(&Origin::open())).await;
}
