//! Another server: a store of its own on the same tier, with a runtime of its own that can be made to stand still, as a
//! process is when it is stopped.

use std::sync::{Arc, mpsc};
use std::thread;

use stampede::Store;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::BoxError;
use crate::tier::{Tier, Who};

pub(crate) struct Other {
    pub(crate) store: Store,
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

/// As long as it is there, the other server does nothing at all: it neither runs on nor renews what it holds.
pub(crate) struct Stopped(Option<mpsc::Sender<()>>);

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.0.take()); // which wakes it
    }
}

impl Other {
    pub(crate) async fn start(tier: &Arc<Tier>) -> Result<Self, BoxError> {
        let (is_up, up) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let tier = Arc::clone(tier);
        thread::Builder::new().name("other server".to_owned()).spawn(move || {
            let started = Builder::new_current_thread().enable_all().build();
            let runtime = match started {
                Ok(runtime) => runtime,
                Err(error) => return drop(is_up.send(Err(BoxError::from(error)))),
            };
            runtime.block_on(async {
                let store = tier.behind(Store::builder(), Who::Others).await;
                drop(is_up.send(store.map(|store| (store.build(), Handle::current()))));
                let _ = ended.await; // in either case it is over
            });
            runtime.shutdown_background();
        })?;
        let (store, runtime) = up.await??;
        Ok(Self { store, runtime, _end: end })
    }

    /// A call over there.
    pub(crate) fn call<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        let store = self.store.clone();
        self.runtime.spawn(async move { store.scope(call).await })
    }

    /// Stops it, in the middle of whatever it does.
    pub(crate) async fn stop(&self) -> Result<Stopped, BoxError> {
        let (go_on, wait) = mpsc::channel();
        let (is_still, still) = oneshot::channel();
        self.runtime.spawn(async move {
            let _ = is_still.send(());
            let _ = wait.recv(); // blocks its only thread, until the other end is dropped
        });
        still.await?;
        Ok(Stopped(Some(go_on)))
    }
}
