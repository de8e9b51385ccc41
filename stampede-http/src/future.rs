//! The future of a response.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use crate::answer;
use crate::body::ResponseBody;
use crate::config::Config;
use crate::status::Why;

pub(crate) type Answered<B, E> = Result<Response<ResponseBody<B>>, E>;

pin_project! {
    /// The future of a response of a [`CacheService`](crate::CacheService).
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives up the caller's place: see [there](crate::CacheService#cancel-safety).
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct ResponseFuture<F, B, E> {
        #[pin]
        kind: Kind<F, B, E>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<F, B, E> {
        /// The service's own; `note`: its response is to say that it went past the cache.
        Pass { #[pin] future: F, note: Option<Arc<Config>> },
        /// One that looks into the store, and may share a run.
        Shared { future: Pin<Box<dyn Future<Output = Answered<B, E>> + Send>> },
    }
}

impl<F, B, E> ResponseFuture<F, B, E> {
    pub(crate) const fn pass(future: F, note: Option<Arc<Config>>) -> Self {
        Self { kind: Kind::Pass { future, note } }
    }

    pub(crate) fn shared(future: impl Future<Output = Answered<B, E>> + Send + 'static) -> Self {
        Self { kind: Kind::Shared { future: Box::pin(future) } }
    }
}

impl<F, B, E> fmt::Debug for ResponseFuture<F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl<F, B, E> Future for ResponseFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Answered<B, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered<B, E>> {
        match self.project().kind.project() {
            KindProjection::Pass { future, note } => {
                let response = ready!(future.poll(cx));
                Poll::Ready(response.map(|response| match note {
                    Some(config) => {
                        let (head, body) = response.into_parts();
                        answer::own(head, body, config, Why::Bypass)
                    }
                    None => response.map(ResponseBody::own),
                }))
            }
            KindProjection::Shared { future } => future.as_mut().poll(cx),
        }
    }
}
