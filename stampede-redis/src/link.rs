//! Connections that are kept up: made in the background, watched over, and made anew when they are lost.
//!
//! 1. A [`Role`] hears of each connection once that it is up, and once that it is lost, in this order and never of two at once.
//! 2. A connection is lost when Redis closes it, and when it does not answer a ping within [`PATIENCE`]: a wedged server is
//!    found out within two seconds, and so is a network that swallows everything.
//! 3. When a connection is lost, the commands that wait for an answer by it fail, after the role has heard.
//! 4. Attempts follow each other at growing distances up to [`LONGEST_WAIT`], with jitter, for as long as it takes.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use redis::{PushInfo, PushKind, RedisResult};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::backend::Backend;
use crate::error::Fault;
use crate::random;
use crate::wire::Wire;

const PING_EVERY: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_millis(1200);
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What a connection is for.
pub(crate) trait Role: Send + Sync + 'static {
    /// What belongs to one connection.
    type Session: Send + Sync + 'static;

    fn begin(&self) -> Self::Session;

    /// Something that Redis says unasked.
    fn heard(&self, session: &Self::Session, push: PushInfo);

    /// The connection works. An error ends it.
    fn up(&self, session: &Arc<Self::Session>, wire: Wire) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The connection is lost, or could not be made.
    fn down(&self, session: &Self::Session, fault: Fault);

    /// Ready when the connection should be replaced although it works.
    fn doubted(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Whether the connection has to answer, or its own library sees to that.
    fn is_pinged(&self, wire: &Wire) -> bool {
        let _ = wire;
        true
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps a connection up for ever.
pub(crate) async fn keep<R: Role>(role: Arc<R>, backend: Arc<Backend>) {
    let mut wait = FIRST_WAIT;
    loop {
        let session = Arc::new(role.begin());
        let closed = Arc::new(Notify::new());
        let heard = {
            // Weak, as the connection owns this, and what belongs to it may own the connection.
            let (role, session, closed) = (Arc::downgrade(&role), Arc::downgrade(&session), closed.clone());
            move |push: PushInfo| -> RedisResult<()> {
                if push.kind == PushKind::Disconnection {
                    closed.notify_one();
                } else if let (Some(role), Some(session)) = (role.upgrade(), session.upgrade()) {
                    role.heard(&session, push);
                }
                Ok(())
            }
        };
        let since = Instant::now();
        let (up, given_up) = watch::channel(());
        let fault = match open(&*role, &backend, &session, heard, given_up).await {
            Ok(wire) => watch_over(&*role, wire, &closed).await,
            Err(fault) => fault,
        };
        tracing::debug!(fault = fault.message, "the connection to Redis is down");
        role.down(&session, fault);
        drop(up);
        if since.elapsed() > LONGEST_WAIT {
            wait = FIRST_WAIT;
        }
        sleep(jitter(wait)).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn open<R: Role>(
    role: &R,
    backend: &Backend,
    session: &Arc<R::Session>,
    heard: impl Fn(PushInfo) -> RedisResult<()> + Send + Sync + 'static,
    given_up: watch::Receiver<()>,
) -> Result<Wire, Fault> {
    let opening = async {
        let wire = Wire::new(backend.open(heard).await?, given_up);
        role.up(session, wire.clone()).await?;
        Ok(wire)
    };
    timeout(backend.patience(), opening).await.unwrap_or_else(|_| Err(Fault::new("Redis does not answer")))
}

/// Ready when a connection is lost: with the reason.
async fn watch_over<R: Role>(role: &R, mut wire: Wire, closed: &Notify) -> Fault {
    let is_pinged = role.is_pinged(&wire);
    let pings = pin!(async {
        loop {
            sleep(PING_EVERY).await;
            if !is_pinged {
                continue;
            }
            match timeout(PATIENCE, wire.ping()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return Fault::new("Redis does not answer"),
            }
        }
    });
    let ended = pin!(async {
        if is_pinged {
            closed.notified().await;
        } else {
            std::future::pending::<()>().await;
        }
        Fault::new("Redis has closed the connection")
    });
    let doubted = pin!(async {
        sleep(LONGEST_WAIT).await;
        role.doubted().await;
        Fault::new("the server does not take values any more; looking for another")
    });
    match select(pings, select(ended, doubted)).await {
        Either::Left((fault, _)) | Either::Right((Either::Left((fault, _)) | Either::Right((fault, _)), _)) => fault,
    }
}

/// Between half of a time and all of it.
fn jitter(time: Duration) -> Duration {
    let random = random::<1>().map_or(255, |[byte]| byte);
    time / 2 + time / 512 * u32::from(random)
}
