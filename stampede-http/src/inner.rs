//! What is asked of the service within, in one place.

use std::error::Error;

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

/// An HTTP service whose calls can go on in a task of their own.
pub(crate) trait Inner<B>:
    Service<Request<B>, Response = Response<Self::Body>, Error: Send + 'static, Future: Send + 'static> + Send + 'static
{
    /// The body of its responses.
    type Body: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;
}

impl<S, B, RB> Inner<B> for S
where
    S: Service<Request<B>, Response = Response<RB>, Error: Send + 'static, Future: Send + 'static> + Send + 'static,
    RB: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Body = RB;
}
