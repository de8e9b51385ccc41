//! The error of a body, and how a service's error reaches several callers.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why the body of a response was cut off.
///
/// Whoever serves the body has to end the connection or stream with an error, as hyper does, so that no client takes it for
/// a complete one. [`source`](Error::source) is the error of the handler's own body, where there is one.
#[derive(Clone, Debug)]
pub struct BodyError {
    what: &'static str,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl BodyError {
    pub(crate) fn of_handler(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what: "the body of the response failed", source: Some(source.into().into()) }
    }

    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }

    pub(crate) fn left_behind() -> Self {
        Self::new("the reader held up the others of a response that is too large to be kept")
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
