//! Where runs take place: in a task of their own, or in their caller's.

use std::pin::Pin;
use std::sync::Arc;

use crate::execution::Execution;
use crate::flight::Flight;
use crate::reply::{Divide, Share, Value};
use crate::run::Run;
use crate::sync::Handle;

/// Where a run takes place.
pub trait Launch<R, V: Value, E, D, H, F>: Copy {
    /// Whether a run can go on without its caller.
    const DETACHED: bool;

    /// Whether runs can be started here.
    ///
    /// # Errors
    ///
    /// What to say if not.
    fn check(self) -> Result<(), &'static str>;

    /// Starts a run, or gives it back to be polled by the caller.
    fn launch(self, run: Execution<R, V, E, D, H, F>) -> Launched<R, V, E, D, H, F>;
}

/// A run to be polled by the caller, if it is one; an error if its runtime takes no more tasks.
pub(crate) type Launched<R, V, E, D, H, F> = Result<Option<Execution<R, V, E, D, H, F>>, Refused>;

/// The runtime is shutting down.
#[derive(Clone, Copy, Debug)]
pub struct Refused;

/// In a task of its own.
#[derive(Clone, Copy, Debug)]
pub struct Detached;

/// In the task of the call that started it.
#[derive(Clone, Copy, Debug)]
pub struct Inline;

impl<R, V, E, D, H, F> Launch<R, V, E, D, H, F> for Detached
where
    R: 'static,
    V: Value,
    E: Send + 'static,
    D: Divide<R, V, E> + 'static,
    H: Share<E> + Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    const DETACHED: bool = true;

    fn check(self) -> Result<(), &'static str> {
        match Handle::try_current() {
            Ok(_) => Ok(()),
            Err(_) => Err("a coalesced function runs its body in a tokio task, and there is no tokio runtime here: \
                           call it from within one, or annotate it with `inline`"),
        }
    }

    fn launch(self, run: Execution<R, V, E, D, H, F>) -> Launched<R, V, E, D, H, F> {
        if let Some((flight, known)) = run.parts() {
            spawn(Box::pin(run), &flight, &known)?;
        }
        Ok(None)
    }
}

/// Spawns a run. As one type of future: what tokio generates for a task, it generates here, once, and not in the crates of
/// the users for each type that a function of theirs returns.
fn spawn(task: Pin<Box<dyn Future<Output = ()> + Send>>, flight: &Flight, run: &Arc<Run>) -> Result<(), Refused> {
    let runtime = Handle::current();
    let task = runtime.spawn(task);
    if task.is_finished() && !run.has_begun() {
        return Err(Refused);
    }
    flight.runs_as(run, task.abort_handle(), &runtime);
    Ok(())
}

impl<R, V, E, D, H, F> Launch<R, V, E, D, H, F> for Inline
where
    V: Value,
    E: Send + 'static,
    D: Divide<R, V, E>,
    H: Share<E>,
    F: Future<Output = R>,
{
    const DETACHED: bool = false;

    fn check(self) -> Result<(), &'static str> {
        Ok(())
    }

    fn launch(self, run: Execution<R, V, E, D, H, F>) -> Launched<R, V, E, D, H, F> {
        Ok(Some(run))
    }
}
