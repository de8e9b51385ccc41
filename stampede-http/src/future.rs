//! The future of a response.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::answer;
use crate::body::ResponseBody;
use crate::config::Config;
use crate::key::Class;
use crate::serve::Caller;
use crate::status::Why;

pub(crate) type Answered<B, E> = Result<Response<ResponseBody<B>>, E>;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pin_project! {
    /// The future of a response of a [`CacheService`](crate::CacheService) over `S`: to a request with a body `B`, with a
    /// body made from an `RB`.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives up the caller's place: see [there](crate::CacheService#cancel-safety).
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct ResponseFuture<S, B, RB>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        kind: Kind<S, B, RB>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<S, B, RB>
    where
        S: Service<Request<B>>,
    {
        /// The service's own; `note`: its response is to say that it went past the cache.
        Pass { #[pin] future: S::Future, note: Option<Arc<Config>> },
        /// A read that is yet to look into the store. Hits do without the room that the rest takes.
        Read { caller: Option<Caller<S, B>> },
        /// One that may share a run.
        Shared { future: Boxed<Answered<RB, S::Error>> },
    }
}

impl<S, B, RB> ResponseFuture<S, B, RB>
where
    S: Service<Request<B>>,
{
    pub(crate) const fn pass(future: S::Future, note: Option<Arc<Config>>) -> Self {
        Self { kind: Kind::Pass { future, note } }
    }

    pub(crate) const fn read(caller: Caller<S, B>) -> Self {
        Self { kind: Kind::Read { caller: Some(caller) } }
    }

    pub(crate) fn shared(future: impl Future<Output = Answered<RB, S::Error>> + Send + 'static) -> Self {
        Self { kind: Kind::Shared { future: Box::pin(future) } }
    }
}

impl<S, B, RB> fmt::Debug for ResponseFuture<S, B, RB>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl<S, B, RB> Future for ResponseFuture<S, B, RB>
where
    S: Service<Request<B>, Response = Response<RB>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Send + 'static,
    RB: Body + Send + 'static,
    RB::Data: Send,
    RB::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Answered<RB, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut kind = self.project().kind;
        if let KindProjection::Read { caller } = kind.as_mut().project() {
            let Some(asks) = caller else { unreachable!("a future that is over is not polled again") };
            if let Some(found) = asks.look_up() {
                let response = found.respond(&asks.parts, &asks.config);
                // What the service has reserved for this call is free again.
                *caller = None;
                return Poll::Ready(Ok(response));
            }
            let Some(caller) = caller.take() else { unreachable!("it has just been there") };
            let key = caller.config.key(&caller.parts, Class::of(&caller.parts.method), Bytes::new()).into_owned();
            kind.set(Kind::Shared { future: Box::pin(caller.share(key)) });
        }
        match kind.project() {
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
            KindProjection::Read { .. } => unreachable!("it has been looked for"),
        }
    }
}
