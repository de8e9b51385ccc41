//! Where runs take place: in a task of their own, or in their caller's.

use crate::boxed::Boxed;
use crate::execution::Execution;
use crate::output::Output;
use crate::sync::Handle;

/// Where runs take place whose body is an `F`.
pub trait Launch<F>: Copy {
    /// Whether a run can go on without its caller.
    const DETACHED: bool;

    /// Whether runs can be started here.
    ///
    /// # Errors
    ///
    /// What to say if not.
    fn check(self) -> Result<(), &'static str>;

    /// Starts a run, or gives it back to be polled by the caller.
    ///
    /// # Errors
    ///
    /// The runtime takes no more tasks.
    fn launch(self, run: Execution<F>) -> Result<Option<Execution<F>>, Refused>;
}

/// A body in a task of its own: one type for all, so that what comes of it is compiled once.
pub type Detach = Boxed<Output>;

/// The runtime is shutting down.
#[derive(Clone, Copy, Debug)]
pub struct Refused;

/// In a task of its own.
#[derive(Clone, Copy, Debug)]
pub struct Detached;

/// In the task of the call that started it.
#[derive(Clone, Copy, Debug)]
pub struct Inline;

impl Launch<Detach> for Detached {
    const DETACHED: bool = true;

    fn check(self) -> Result<(), &'static str> {
        match Handle::try_current() {
            Ok(_) => Ok(()),
            Err(_) => Err("a coalesced function runs its body in a tokio task, and there is no tokio runtime here: \
                           call it from within one, or annotate it with `inline`"),
        }
    }

    fn launch(self, run: Execution<Detach>) -> Result<Option<Execution<Detach>>, Refused> {
        if let Some((flight, known)) = run.parts() {
            let runtime = Handle::current();
            let task = runtime.spawn(run);
            if task.is_finished() && !known.has_begun() {
                return Err(Refused);
            }
            flight.runs_as(&known, task.abort_handle(), &runtime);
        }
        Ok(None)
    }
}

impl<F: Future<Output = Output>> Launch<F> for Inline {
    const DETACHED: bool = false;

    fn check(self) -> Result<(), &'static str> {
        Ok(())
    }

    fn launch(self, run: Execution<F>) -> Result<Option<Execution<F>>, Refused> {
        Ok(Some(run))
    }
}
