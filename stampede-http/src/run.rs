//! A run of the handler, shared by all who wait for its answer: up to the head, and on to the end of the body.
//!
//! The run of the cache ends with the head, or with the body if that is there at once, or nobody is waiting. A body that is
//! still on its way is moved on by a task of its own, and meanwhile what is stored is the response as far as it has come;
//! the task says in the end what has become of it: its freshness begins, or it is forgotten.

use std::any::Any;
use std::error::Error;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response, response};
use http_body::Body;
use stampede_runtime::__hosting::{Fence, Hosted, Options, Tag, fence, put_unless_voided};
use stampede_runtime::{CircuitOpen, Timeout};
use tokio::time::{Instant, timeout_at};

use crate::body::Reader;
use crate::config::{Config, Responses};
use crate::exchange::{Answer, Exchange, RunId, declared, expected};
use crate::extensions::{NoCache, StoreFor, Tags};
use crate::fill::Fill;
use crate::inner::Inner;
use crate::key::{Class, RequestKey};
use crate::stream::{PATIENCE, Stream};
use crate::under_way::Listed;
use crate::verdict::{Terms, Verdict, judge};

/// Why there is no answer to be stored.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The handler answered, with a 5xx or a body that failed: for all who wait.
    Response(Arc<Exchange>),
    /// The same, for the caller whose run it was.
    Exclusive(RunId),
    /// The service failed. The caller whose run it was has the error; others have what it can be copied from.
    Service(RunId, Option<Arc<Mutex<Box<dyn Any + Send>>>>),
    /// The handler took longer than a run may.
    RunLimit,
    /// The call took longer than the layer lets one.
    Timeout,
    CircuitOpen,
    /// The run was lost, and there is no request to start another with.
    Lost,
}

impl From<Timeout> for Failure {
    fn from(_: Timeout) -> Self {
        Self::Timeout
    }
}

impl From<CircuitOpen> for Failure {
    fn from(_: CircuitOpen) -> Self {
        Self::CircuitOpen
    }
}

/// What only the caller gets whose run it was.
pub(crate) enum Mine<B, E> {
    Whole(Response<B>),
    /// The body is shared, and there is a place for it among the readers.
    Head(response::Parts, Option<Reader>),
    Error(E),
}

/// Where a run puts that, if the caller is still there.
pub(crate) struct Slot<B, E>(Mutex<Option<(RunId, Mine<B, E>)>>);

impl<B, E> Slot<B, E> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(None)))
    }

    fn put(this: &Weak<Self>, run: RunId, mine: Mine<B, E>) {
        if let Some(slot) = this.upgrade() {
            *slot.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((run, mine));
        }
    }

    /// What there is of this run.
    pub(crate) fn take(&self, run: RunId) -> Option<Mine<B, E>> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.filter(|(of, _)| *of == run).map(|(_, mine)| mine)
    }
}

/// A run to be.
pub(crate) struct Job<S, B, RB, E> {
    /// Has been polled ready.
    pub(crate) service: S,
    pub(crate) request: Request<B>,
    pub(crate) key: Arc<RequestKey<'static>>,
    pub(crate) config: Arc<Config>,
    pub(crate) slot: Weak<Slot<RB, E>>,
}

impl<S: Inner<B>, B> Job<S, B, S::Body, S::Error> {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.config.run_limit();
        timeout_at(deadline, self.run_until(deadline)).await.unwrap_or(Err(Failure::RunLimit))
    }

    async fn run_until(mut self, deadline: Instant) -> Result<Answer, Failure> {
        let id = RunId::next();
        let hosted = Hosted::enter(&self.config.store());
        let since = fence(self.config.responses(), &*self.key);
        self.config.under_way().forget(&self.key);
        let (service, request) = (&mut self.service, self.request);
        let outcome = service.call(request).await;
        drop(self.service);
        let (config, key, slot) = (self.config, self.key, self.slot);
        let response = match outcome {
            Ok(response) => response,
            Err(error) => {
                let shared = shared_form(&config, &hosted, error, |error| Slot::put(&slot, id, Mine::Error(error)));
                return Err(Failure::Service(id, shared));
            }
        };
        let (mut head, body) = response.into_parts();
        let said = said(&mut head, &hosted);
        let is_head = key.class == Class::Head;
        let len = expected(&head.headers, &body, is_head);
        let terms = match judge(&head, &config, said, len) {
            Verdict::Shared(terms) => terms,
            Verdict::Exclusive { remembered } => {
                let failure = head.status.is_server_error();
                Slot::put(&slot, id, Mine::Whole(Response::from_parts(head, body)));
                if remembered {
                    config.marks().set(&*key, config.personal_for);
                    hosted.forget();
                }
                hosted.no_cache();
                return if failure { Err(Failure::Exclusive(id)) } else { Ok(Answer::Exclusive(id)) };
            }
        };
        let stream = Arc::new(Stream::new(config.max_body));
        if !terms.stored() {
            stream.is_for_readers_only();
        }
        // What a HEAD's head declares is the length of GET's body.
        let known = if is_head { declared(&head.headers) } else { len };
        let exchange = Exchange::new(id, &head, Arc::clone(&stream), known, &config, &key, &terms);
        let exchange = Arc::new(exchange);
        let declared = if is_head { None } else { declared(&head.headers) };
        let mut fill = Fill::new(body, Arc::clone(&stream), declared, Arc::clone(&config));
        // As far as it comes without waiting; and to the end, while nobody waits for it, and others have the old response.
        let ended = poll_fn(|cx| match fill.poll(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if hosted.is_background() && hosted.replaces() && !stream.has_outgrown() => Poll::Pending,
            Poll::Pending => Poll::Ready(false),
        });
        let ended = ended.await;
        let failed = terms.failure || stream.has_failed();
        if ended {
            drop(fill);
            let ttl = granted(&config, &hosted, &head, &stream, &terms, exchange.elapsed());
            Slot::put(&slot, id, Mine::Head(head, Reader::new(&exchange)));
            settle_at_once(&hosted, &exchange, &terms, ttl);
        } else {
            // It goes to the remote tier when it is whole.
            hosted.grow();
            let (head_of_all, born) = (clone_of(&head), Instant::now());
            Slot::put(&slot, id, Mine::Head(head, Reader::new(&exchange)));
            let listed = since.map(|since| Listed::new(&config, &key, &exchange, since));
            Later { config, hosted, key, head: head_of_all, run: id, terms, born, deadline }.begin(fill, listed);
        }
        if failed { Err(Failure::Response(exchange)) } else { Ok(Answer::Shared(exchange)) }
    }
}

/// The error of a service for more callers than one, if it can have them; the original is for the one whose run it was.
fn shared_form<E: Send + 'static>(
    config: &Config,
    hosted: &Hosted,
    error: E,
    give: impl FnOnce(E),
) -> Option<Arc<Mutex<Box<dyn Any + Send>>>> {
    let shared = crate::share::prepare(config.share_error.as_deref(), error, hosted.waiters() > 1);
    give(shared.0);
    shared.1.map(|copy| Arc::new(Mutex::new(copy)))
}

/// What the handler has said about its response: how long it is to be stored, and the tags that it bears.
pub(crate) fn said(head: &mut response::Parts, hosted: &Hosted) -> Option<Duration> {
    let no_cache = head.extensions.remove::<NoCache>().is_some();
    let store_for = head.extensions.remove::<StoreFor>();
    if let Some(tags) = head.extensions.remove::<Tags>() {
        hosted.bear(tags.texts().iter().map(|tag| Tag::new(tag)).collect());
    }
    if no_cache || hosted.said_no_cache() {
        return Some(Duration::ZERO);
    }
    store_for.map(|StoreFor(ttl)| ttl).or_else(|| hosted.said_ttl())
}

fn clone_of(head: &response::Parts) -> response::Parts {
    let mut copy = Response::new(()).into_parts().0;
    (copy.status, copy.version, copy.headers) = (head.status, head.version, head.headers.clone());
    copy
}

/// The TTL of a response whose body has come to its end, this long after its head. Zero if it is not to be stored after all.
fn granted(
    config: &Config,
    hosted: &Hosted,
    head: &response::Parts,
    stream: &Stream,
    terms: &Terms,
    after: Duration,
) -> Duration {
    let size = stream.whole().map(|whole| whole.len).filter(|_| terms.stored());
    let accepted = size.is_some_and(|size| config.accept_response.as_ref().is_none_or(|accepts| accepts(head, size)));
    if !accepted {
        return Duration::ZERO;
    }
    hosted.capped(terms.ttl.min(terms.lifetime.saturating_sub(after)))
}

/// The body is there: how long the run's value is to be stored.
fn settle_at_once(hosted: &Hosted, exchange: &Exchange, terms: &Terms, ttl: Duration) {
    hosted.limit_windows(terms.stale_while_revalidate, terms.stale_if_error);
    if !ttl.is_zero() {
        exchange.fresh_for(ttl);
    }
    hosted.store_for(ttl);
}

/// A body that is still on its way when its run ends.
struct Later {
    config: Arc<Config>,
    hosted: Hosted,
    key: Arc<RequestKey<'static>>,
    head: response::Parts,
    run: RunId,
    terms: Terms,
    born: Instant,
    deadline: Instant,
}

impl Later {
    /// Has the body moved on by a task of its own. Says how long the response is to be stored meanwhile: until the task
    /// says otherwise.
    fn begin<B>(self, mut fill: Fill<B>, listed: Option<Listed>)
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Terms { failure, stale_while_revalidate, stale_if_error, .. } = self.terms;
        let outgrown = fill.stream().has_outgrown();
        if outgrown {
            self.config.marks().set(&*self.key, self.config.personal_for);
        }
        // Also where nothing is stored in the end: those who come while the body is on its way can follow it, too.
        if failure || outgrown || self.hosted.said_no_cache() {
            self.hosted.no_cache();
        } else {
            self.hosted.limit_windows(stale_while_revalidate, stale_if_error);
            self.hosted.store_for(self.config.run_limit() + Duration::from_secs(1));
        }
        let listed = listed.filter(|_| !self.hosted.said_no_cache());
        tokio::spawn(async move {
            let mut settling = Settling {
                listed,
                options: self.config.options.clone(),
                hosted: self.hosted.clone(),
                run: self.run,
                ttl: Duration::ZERO,
            };
            let stream = Arc::clone(fill.stream());
            let (mut outgrown, mut unread) = (outgrown, None::<Instant>);
            loop {
                let step = poll_fn(|cx| match fill.poll(cx) {
                    Poll::Ready(()) => Poll::Ready(true),
                    Poll::Pending if !outgrown && stream.has_outgrown() => Poll::Ready(false),
                    Poll::Pending if unread.is_none() && stream.is_unread() => Poll::Ready(false),
                    Poll::Pending => Poll::Pending,
                });
                let patience = unread.map_or(self.deadline, |since| self.deadline.min(since + PATIENCE));
                match timeout_at(patience, step).await {
                    Ok(true) => break,
                    Ok(false) => {
                        if stream.has_outgrown() {
                            outgrown = true;
                            self.config.marks().set(&*self.key, self.config.personal_for);
                        }
                        unread = unread.or_else(|| stream.is_unread().then(Instant::now));
                        // Nobody is to begin any more, but for those who waited for the head.
                        settling.wait().await;
                        settling.settle();
                        settling.listed = None;
                    }
                    Err(_) if patience < self.deadline && !stream.is_unread() => unread = None,
                    Err(_) => {
                        fill.give_up("the handler took longer than it may, or nobody reads what it writes");
                        break;
                    }
                }
            }
            drop(fill);
            settling.wait().await;
            let Self { config, head, terms, born, .. } = &self;
            let ttl = || granted(config, &settling.hosted, head, &stream, terms, born.elapsed());
            settling.ttl = catch_unwind(AssertUnwindSafe(ttl)).unwrap_or_default();
            drop(settling);
        });
    }
}

/// Says in the end what has become of a response, also if its task is dropped.
struct Settling {
    /// Dropped after what is stored has been settled.
    listed: Option<Listed>,
    hosted: Hosted,
    options: Options<Answer>,
    run: RunId,
    ttl: Duration,
}

impl Settling {
    /// Until the run of the cache is over, which is a matter of the moment: before that there is nothing to be settled.
    async fn wait(&self) {
        while !self.hosted.is_over() {
            tokio::task::yield_now().await;
        }
    }

    fn settle(&self) {
        let is_it = |answer: &Answer| match answer {
            Answer::Shared(exchange) if exchange.run == self.run => {
                if !self.ttl.is_zero() {
                    exchange.fresh_for(self.ttl);
                }
                true
            }
            _ => false,
        };
        self.hosted.settle(&self.options, is_it, self.ttl);
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Stores the response of a run outside all flights, once it is complete.
pub(crate) struct Outside {
    pub(crate) config: Arc<Config>,
    pub(crate) responses: Responses,
    pub(crate) key: RequestKey<'static>,
    pub(crate) fence: Fence,
    pub(crate) hosted: Hosted,
}

impl Outside {
    /// Splits a response: its head goes on, and its body is shared between the caller and the store.
    pub(crate) fn begin<B>(self, head: &response::Parts, body: B, terms: Terms) -> Arc<Exchange>
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Self { config, responses, key, fence, hosted } = self;
        let stream = Arc::new(Stream::new(config.max_body));
        // The caller's interest keeps it going: what nobody reads is not worth storing here.
        stream.is_for_readers_only();
        let len = expected(&head.headers, &body, false);
        let exchange = Exchange::new(RunId::next(), head, Arc::clone(&stream), len, &config, &key, &terms);
        let exchange = Arc::new(exchange);
        let mut fill = Fill::new(body, stream, declared(&head.headers), Arc::clone(&config));
        let (head, shared) = (clone_of(head), Arc::clone(&exchange));
        let deadline = Instant::now() + config.run_limit();
        tokio::spawn(async move {
            let ended = poll_fn(|cx| match fill.poll(cx) {
                Poll::Pending if !shared.stream.is_unread() => Poll::Pending,
                _ => Poll::Ready(()),
            });
            // Dropped before its end, it fails the stream.
            let _ = timeout_at(deadline, ended).await;
            drop(fill);
            let ttl = granted(&config, &hosted, &head, &shared.stream, &terms, shared.elapsed());
            if !ttl.is_zero() {
                shared.fresh_for(ttl);
                hosted.limit_windows(terms.stale_while_revalidate, terms.stale_if_error);
                put_unless_voided(&responses, &key, &fence, &hosted, Answer::Shared(shared), ttl);
            }
        });
        exchange
    }
}
