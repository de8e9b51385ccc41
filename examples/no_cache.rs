//! Some answers should not be stored, or not for so long: a run can say so.
//!
//! `cargo run --example no_cache`

use std::error::Error;
use std::time::Duration;

use stampede::{NoCache, Store, coalesce};
use tokio::time::{advance, sleep};

type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Clone, Debug, PartialEq)]
struct Page {
    hits: Vec<u32>,
    complete: bool,
}

/// Asks the shards of a search index. One of them is slow with "everything".
async fn ask_shards(words: &str) -> Page {
    sleep(Duration::from_millis(30)).await;
    let complete = words != "everything";
    let hits = if complete { vec![1, 2] } else { vec![1] };
    Page { hits, complete }
}

/// In a `Result`: whoever waits for this run gets the page, the next caller tries again.
#[coalesce(ttl = "1m")]
async fn search(words: &str) -> Result<Page, BoxError> {
    let page = ask_shards(words).await;
    if !page.complete {
        return NoCache(page).into();
    }
    Ok(page)
}

/// In an `Option`, likewise.
#[coalesce(ttl = "1m")]
async fn first_hit(words: &str) -> Option<u32> {
    let page = ask_shards(words).await;
    let first = page.hits.first().copied()?;
    if !page.complete {
        return NoCache(first).into();
    }
    Some(first)
}

/// In any other type.
#[coalesce(ttl = "1m")]
async fn count_hits(words: &str) -> usize {
    let page = ask_shards(words).await;
    if !page.complete {
        return NoCache(page.hits.len()).into_inner();
    }
    page.hits.len()
}

/// As an error, so that `?` carries it out of a function below. The caller sees `Ok` all the same.
#[coalesce(ttl = "1m")]
async fn search_below(words: &str) -> Result<Page, BoxError> {
    let page = ask_shards(words).await;
    if page.complete { Ok(page) } else { Err(NoCache(page).into()) }
}

/// Or by a word from anywhere below the body.
#[coalesce(ttl = "1m")]
async fn search_deep(words: &str) -> Page {
    async fn ask(words: &str) -> Page {
        let page = ask_shards(words).await;
        if !page.complete {
            stampede::no_cache();
        }
        page
    }
    ask(words).await
}

/// A value that knows its own lifetime. `ttl` is for those that do not say.
#[coalesce(ttl = "1m")]
async fn access_token(client: &str) -> String {
    sleep(Duration::from_millis(30)).await;
    let expires_in = Duration::from_mins(15);
    stampede::store_for(expires_in.saturating_sub(Duration::from_mins(1))); // never hand out one that is about to expire
    format!("token of {client}")
}

fn runs() -> u64 {
    Store::current().stats().runs.total()
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    // What is complete is stored: one run for the two calls of each function.
    for _ in 0..2 {
        assert!(search("rust").await?.complete);
        assert_eq!(first_hit("rust").await, Some(1));
        assert_eq!(count_hits("rust").await, 2);
        assert!(search_below("rust").await?.complete);
        assert!(search_deep("rust").await.complete);
    }
    println!("complete answers: 10 calls, {} runs", runs());
    assert_eq!(runs(), 5);

    // What is not is shared with those who wait, and forgotten: one run for each round.
    for _ in 0..2 {
        let (one, other) = tokio::join!(search("everything"), search("everything"));
        assert!(one? == other? && !search_below("everything").await?.complete);
        assert_eq!(first_hit("everything").await, Some(1));
        assert_eq!(count_hits("everything").await, 1);
        assert!(!search_deep("everything").await.complete);
    }
    println!("incomplete answers: 12 calls, {} runs", runs() - 5);
    assert_eq!(runs(), 15);
    assert_eq!(Store::current().stats().runs.no_cache, 10);

    // 14 minutes, not one.
    access_token("billing").await;
    advance(Duration::from_mins(13)).await;
    access_token("billing").await;
    assert_eq!(runs(), 16);
    advance(Duration::from_mins(2)).await;
    access_token("billing").await;
    assert_eq!(runs(), 17);
    println!("access token: 3 calls in 15 minutes, {} runs", runs() - 15);
    Ok(())
}
