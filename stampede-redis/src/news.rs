//! What others have done, and who waits for which key, by a link of its own.
//!
//! 1. What belongs to one link is its [`Board`]: the keys that are watched by it. A link that is lost wakes all who wait, and
//!    its board is not used again, so nobody waits for a message on a link that is no more.
//! 2. A channel's subscription changes only by whoever holds its `turn`, which spans the command and its confirmation: a
//!    subscription and the end of one never overtake each other.
//! 3. `Heard` is locked while a listener is told: each hears of `Linked` and `Unlinked` in their order, and no news of a link
//!    before its `Linked` or after its `Unlinked` counts for more than it says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use redis::{PushInfo, PushKind, Value};
use stampede_runtime::tier::{Listener, News as Item, Signal, Word};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::error::Fault;
use crate::link::Role;
use crate::message::Message;
use crate::wire::Wire;

/// What `release.lua` says to those who watch a key.
const GIVEN_BACK: &[u8] = b"x";

/// The link, and who listens to it.
pub(crate) struct News {
    me: u128,
    channel: String,
    runtime: Handle,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    listeners: Vec<Listener>,
    /// Of the link that is up.
    board: Option<Arc<Board>>,
}

/// What is watched by one link.
#[derive(Default)]
pub(crate) struct Board {
    wire: OnceLock<Wire>,
    channels: Mutex<HashMap<String, Arc<Channel>>>,
}

/// A key that somebody watches, or has just watched.
struct Channel {
    wake: watch::Sender<Word>,
    turn: tokio::sync::Mutex<Subscription>,
}

#[derive(PartialEq)]
enum Subscription {
    No,
    /// Asked for, but not confirmed.
    Perhaps,
    Yes,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl News {
    pub(crate) fn new(me: u128, channel: String, runtime: Handle) -> Self {
        Self { me, channel, runtime, heard: Mutex::default() }
    }

    pub(crate) fn attach(&self, listener: Listener) {
        let mut heard = lock(&self.heard);
        if heard.board.is_some() {
            listener(Item::Linked);
        }
        heard.listeners.push(listener);
    }

    /// See [`Tier::watch`](stampede_runtime::tier::Tier::watch).
    pub(crate) async fn watch(&self, channel: String) -> Result<Signal, Fault> {
        let board =
            lock(&self.heard).board.clone().ok_or_else(|| Fault::new("there is no link for news from Redis"))?;
        let mut wire = board.wire.get().cloned().ok_or_else(|| Fault::new("the link for news is being made"))?;
        let mut place = Place::take(board, channel, self.runtime.clone());
        let entry = place.entry.clone();
        let mut turn = entry.turn.lock().await;
        if *turn != Subscription::Yes {
            *turn = Subscription::Perhaps;
            wire.watch(&place.channel).await?;
            *turn = Subscription::Yes;
        }
        drop(turn);
        Ok(Box::pin(async move {
            let Some(woken) = &mut place.woken else { return Word::Other };
            // The sender is held by `place`.
            _ = woken.changed().await;
            *woken.borrow()
        }))
    }

    fn tell(&self, message: &Message) {
        let heard = lock(&self.heard);
        // What several stores share tells each of what the others did, and so each of what it did itself.
        if message.sender == self.me && heard.listeners.len() < 2 {
            return;
        }
        for listener in &heard.listeners {
            listener(message.item.clone());
        }
    }
}

impl Role for News {
    type Session = Board;

    fn begin(&self) -> Board {
        Board::default()
    }

    fn heard(&self, board: &Board, push: PushInfo) {
        if !matches!(push.kind, PushKind::Message | PushKind::SMessage) {
            return;
        }
        let [Value::BulkString(channel), Value::BulkString(message)] = &push.data[..] else { return };
        if channel == self.channel.as_bytes() {
            if let Some(message) = Message::read(message) {
                self.tell(&message);
            }
        } else if let Ok(channel) = std::str::from_utf8(channel)
            && let Some(channel) = lock(&board.channels).get(channel)
        {
            channel.wake.send_replace(if message == GIVEN_BACK { Word::GivenBack } else { Word::Other });
        }
    }

    async fn up(&self, board: &Arc<Board>, mut wire: Wire) -> Result<(), Fault> {
        wire.subscribe(&self.channel).await?;
        _ = board.wire.set(wire);
        let mut heard = lock(&self.heard);
        heard.board = Some(board.clone());
        for listener in &heard.listeners {
            listener(Item::Linked);
        }
        Ok(())
    }

    fn down(&self, board: &Board, _: Fault) {
        let mut heard = lock(&self.heard);
        if heard.board.take().is_some() {
            for listener in &heard.listeners {
                listener(Item::Unlinked);
            }
        }
        drop(heard);
        for channel in lock(&board.channels).values() {
            channel.wake.send_replace(Word::Other);
        }
    }
}

/// Somebody who watches a key. The last to leave ends the subscription.
struct Place {
    board: Arc<Board>,
    channel: String,
    entry: Arc<Channel>,
    /// `Some` until it is dropped.
    woken: Option<watch::Receiver<Word>>,
    runtime: Handle,
}

impl Place {
    fn take(board: Arc<Board>, channel: String, runtime: Handle) -> Self {
        let mut channels = lock(&board.channels);
        let entry = channels.entry(channel.clone()).or_insert_with(|| {
            Arc::new(Channel { wake: watch::Sender::new(Word::Other), turn: tokio::sync::Mutex::new(Subscription::No) })
        });
        let (entry, woken) = (entry.clone(), Some(entry.wake.subscribe()));
        drop(channels);
        Self { board, channel, entry, woken, runtime }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.woken = None;
        if self.entry.wake.receiver_count() > 0 {
            return;
        }
        let (board, entry, channel) = (self.board.clone(), self.entry.clone(), std::mem::take(&mut self.channel));
        self.runtime.spawn(async move {
            let mut turn = entry.turn.lock().await;
            if entry.wake.receiver_count() > 0 {
                return;
            }
            if *turn != Subscription::No
                && let Some(wire) = board.wire.get()
            {
                // If it fails, so does the link, or Redis tells of a key that nobody asks about.
                _ = wire.clone().unwatch(&channel).await;
                *turn = Subscription::No;
            }
            let mut channels = lock(&board.channels);
            let is_ours = channels.get(&channel).is_some_and(|other| Arc::ptr_eq(other, &entry));
            if is_ours && entry.wake.receiver_count() == 0 && *turn == Subscription::No {
                channels.remove(&channel);
            }
        });
    }
}
