//! Who waits is woken, and who is attached hears what others void.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

use super::{Claim, Fleet, Lease, News, PATIENCE, Record, Signal, Tier, TierKey, Word, key, record, tags};

/// What is done to a key while others watch it.
#[derive(Clone, Copy, Debug)]
enum Event {
    Fill,
    RefusedFill,
    Release,
    Throttle,
    Invalidate,
    Expire,
    Put,
    Force,
}

impl Event {
    /// `lease` is one of no tags, so that a void tag alone does nothing to it.
    async fn happen<T: Tier>(self, fleet: &Fleet<T>, key: &TierKey, lease: &Lease) {
        match self {
            Self::Fill => {
                fleet.one.fill(key, lease, record("value")).await;
            }
            Self::RefusedFill => {
                fleet.one.invalidate_tag("t").await;
                fleet.one.fill(key, lease, Record { tags: tags(&["t"]), ..record("value") }).await;
            }
            Self::Release => fleet.one.release(key, lease, Duration::ZERO).await,
            Self::Throttle => fleet.one.release(key, lease, fleet.lease).await,
            Self::Invalidate => fleet.one.invalidate(key).await,
            Self::Expire => fleet.one.expire(key).await,
            Self::Put => {
                fleet.one.put(key, record("value")).await;
            }
            Self::Force => {
                fleet.one.lease(key, Claim { force: true, ..Claim::default() }).await;
            }
        }
    }
}

async fn rings(signal: Signal, event: Event) {
    let Ok(word) = timeout(PATIENCE, signal).await else { panic!("{event:?} does not wake those who watch") };
    let expected = match event {
        Event::Release | Event::Throttle => Word::GivenBack,
        // A lease that ends so has been given back, in a way.
        Event::RefusedFill => word,
        _ => Word::Other,
    };
    assert_eq!(word, expected, "{event:?}");
}

async fn poll_once<F: Future + Unpin>(future: &mut F) {
    poll_fn(|cx| {
        let _ = Pin::new(&mut *future).poll(cx);
        Poll::Ready(())
    })
    .await;
}

pub(super) async fn whatever_happens_to_a_key_wakes_those_who_watch_it<T: Tier>(fleet: Fleet<T>) {
    use Event::{Expire, Fill, Force, Invalidate, Put, RefusedFill, Release, Throttle};
    for (i, event) in [Fill, RefusedFill, Release, Throttle, Invalidate, Expire, Put, Force].into_iter().enumerate() {
        let key = key(&i.to_string());
        let lease = fleet.one.lease(&key, Claim::default()).await;
        drop(fleet.two.watch(&key).await);
        // Nobody has looked at these before it happens. They know of it all the same.
        let unpolled = [fleet.two.watch(&key).await, fleet.one.watch(&key).await];
        let mut polled = fleet.two.watch(&key).await;
        poll_once(&mut polled).await;
        event.happen(&fleet, &key, &lease).await;
        for signal in unpolled {
            rings(signal, event).await;
        }
        rings(polled, event).await;
        // It happens again, and is heard again.
        let signal = fleet.two.watch(&key).await;
        fleet.one.put(&key, record("value")).await;
        rings(signal, Put).await;
    }
}

pub(super) async fn a_dropped_trip_does_no_harm<T: Tier>(fleet: Fleet<T>) {
    for i in 0..20 {
        let key = key(&i.to_string());
        poll_once(&mut fleet.one.tier.acquire(&key, Claim::default())).await;
        poll_once(&mut fleet.one.tier.read(&key)).await;
        poll_once(&mut fleet.one.tier.watch(&key)).await;
        poll_once(&mut fleet.one.tier.put(&key, record("dropped"))).await;
        poll_once(&mut fleet.one.tier.invalidate(&key)).await;
        poll_once(&mut fleet.one.tier.ping()).await;
        // A later trip of the same process is answered, and with what belongs to it.
        let lease = fleet.one.lease(&key, Claim { force: true, ..Claim::default() }).await;
        if fleet.one.fill(&key, &lease, record(&i.to_string())).await.is_some() {
            // What was dropped may still be on its way; it is the only one that may be.
            let there = fleet.one.payload(&key).await;
            assert!(
                there.as_ref().is_none_or(|payload| *payload == i.to_string().into_bytes() || payload == b"dropped"),
                "the answer to another question"
            );
        }
    }
}

pub(super) async fn others_hear_of_what_was_voided<T: Tier>(fleet: Fleet<T>) {
    let long = vec![b'x'; 70_000];
    let names: [&[u8]; 4] = [b"a", b"", b"\0\xff{}:\r\n", &long];
    for parts in names {
        let key = TierKey { cache: "a cache: {of} ours".into(), parts: parts.into() };
        fleet.one.invalidate(&key).await;
        fleet.two.hears(&News::Voided(key.clone())).await;
        fleet.two.expire(&key).await;
        fleet.one.hears(&News::Expired(key)).await;
    }
    let key = key("put");
    fleet.one.put(&key, record("value")).await;
    fleet.two.hears(&News::Voided(key)).await;
    for tag in ["t", "", "a:{b}\r\n\0"] {
        fleet.one.invalidate_tag(tag).await;
        fleet.two.hears(&News::Tag(tag.into())).await;
    }
    fleet.one.clear().await;
    fleet.two.hears(&News::Cleared).await;
}
