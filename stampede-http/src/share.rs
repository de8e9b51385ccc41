//! How a service's error reaches several callers, while its type stays what it is.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

type Boxed = Box<dyn Error + Send + Sync>;
/// What an error is copied by.
pub(crate) type CopyError<E> = fn(&E) -> E;

/// One caller's view of an error that is shared: the same message and the same source chain.
struct View(Arc<dyn Error + Send + Sync>);

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for View {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// An error, and what copies of it for others can be made of: by `copy`, which is a [`CopyError<E>`], or as views if it is a
/// boxed error. `several`: there is somebody else.
pub(crate) fn prepare<E: Send + 'static>(
    copy: Option<&(dyn Any + Send + Sync)>,
    error: E,
    several: bool,
) -> (E, Option<Box<dyn Any + Send>>) {
    if !several {
        return (error, None);
    }
    if let Some(copy) = copy.and_then(|copy| copy.downcast_ref::<CopyError<E>>()) {
        let shared = copy(&error);
        return (error, Some(Box::new(shared)));
    }
    let mut error = Some(error);
    if let Some(boxed) = (&mut error as &mut dyn Any).downcast_mut::<Option<Boxed>>()
        && let Some(original) = boxed.take()
    {
        let shared: Arc<dyn Error + Send + Sync> = original.into();
        *boxed = Some(Box::new(View(Arc::clone(&shared))));
        let error = error.unwrap_or_else(|| unreachable!("it has just been put there"));
        return (error, Some(Box::new(shared)));
    }
    let error = error.unwrap_or_else(|| unreachable!("nothing has been taken"));
    (error, None)
}

/// One more copy.
pub(crate) fn copy<E: 'static>(copy: Option<&(dyn Any + Send + Sync)>, shared: &(dyn Any + Send)) -> Option<E> {
    if let Some(copy) = copy.and_then(|copy| copy.downcast_ref::<CopyError<E>>()) {
        return shared.downcast_ref::<E>().map(copy);
    }
    let shared = shared.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    let view: Boxed = Box::new(View(Arc::clone(shared)));
    let mut view = Some(view);
    let view = (&mut view as &mut dyn Any).downcast_mut::<Option<E>>()?;
    view.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxed_errors_become_views() {
        let (own, shared) = prepare::<Boxed>(None, "no way".into(), true);
        let other: Boxed = copy(None, &*shared.expect("a shared form")).expect("a copy");
        assert_eq!((own.to_string(), other.to_string()), ("no way".into(), "no way".into()));
    }

    #[test]
    fn others_are_copied_as_the_application_says() {
        #[derive(Debug, PartialEq)]
        struct Odd(u8);
        assert!(prepare(None, Odd(1), true).1.is_none());
        let by: CopyError<Odd> = |odd| Odd(odd.0);
        let (own, shared) = prepare(Some(&by), Odd(1), true);
        assert_eq!((own, copy(Some(&by), &*shared.expect("a shared form"))), (Odd(1), Some(Odd(1))));
    }
}
