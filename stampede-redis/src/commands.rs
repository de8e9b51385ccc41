//! The connection that the commands go by.

use std::sync::Arc;

use redis::{PushInfo, RedisError};
use tokio::sync::{Notify, watch};

use crate::error::Fault;
use crate::link::Role;
use crate::wire::Wire;

/// Where the connection is, while there is one: calls never wait for it.
pub(crate) struct Commands {
    state: watch::Sender<State>,
    doubt: Notify,
}

enum State {
    Connecting,
    Up(Wire),
    Down(Fault),
}

impl Commands {
    pub(crate) fn new() -> Self {
        Self { state: watch::Sender::new(State::Connecting), doubt: Notify::new() }
    }

    /// The connection, or what is in its way.
    pub(crate) fn wire(&self) -> Result<Wire, Fault> {
        match &*self.state.borrow() {
            State::Up(wire) => Ok(wire.clone()),
            State::Connecting => Err(Fault::new("the connection to Redis is being made")),
            State::Down(fault) => Err(fault.clone()),
        }
    }

    /// What came of the first attempt.
    pub(crate) async fn first(&self) -> Result<(), Fault> {
        let mut state = self.state.subscribe();
        // Its sender is `self`.
        _ = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        self.wire().map(drop)
    }

    /// What a failed command means for those to come.
    pub(crate) fn failed(&self, error: RedisError) -> Fault {
        if error.code() == Some("READONLY") {
            // It was the primary once: whoever is now is found by connecting again.
            self.doubt.notify_one();
        }
        error.into()
    }
}

impl Role for Commands {
    type Session = ();

    fn begin(&self) {}

    fn heard(&self, (): &(), _: PushInfo) {}

    async fn up(&self, _: &Arc<()>, mut wire: Wire) -> Result<(), Fault> {
        wire.check_version().await?;
        self.state.send_replace(State::Up(wire));
        Ok(())
    }

    fn down(&self, (): &(), fault: Fault) {
        self.state.send_replace(State::Down(fault));
    }

    async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// A Cluster loses and replaces the connections to its nodes one by one.
    fn is_pinged(&self, wire: &Wire) -> bool {
        !wire.is_cluster()
    }
}
