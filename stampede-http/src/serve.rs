//! How a request gets its answer: from the store, from a run that it shares, or from a run of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use serde::Serialize;
use stampede_runtime::__hosting::{self, Hosted};
use tokio::time::{Instant, timeout_at};

use crate::answer::{self, Found};
use crate::asks::Asks;
use crate::body::Reader;
use crate::config::Config;
use crate::exchange::{Answer, Exchange, expected};
use crate::future::Answered;
use crate::inner::Inner;
use crate::key::{Class, PlainKey, RequestKey};
use crate::run::{Failure, Job, Mine, Outside, Slot};
use crate::share;
use crate::status::{Did, Why};
use crate::verdict::{Verdict, judge};
use crate::voiding::Voiding;

pin_project! {
    /// A call of the cache, with what it throws, and whether it was answered at once.
    struct Caught<F> {
        #[pin]
        call: F,
        at_once: bool,
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = (Option<F::Output>, bool);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // What the call has is dropped next, whatever state it is in.
        match catch_unwind(AssertUnwindSafe(|| this.call.poll(cx))) {
            Ok(Poll::Pending) => {
                *this.at_once = false;
                Poll::Pending
            }
            Ok(Poll::Ready(output)) => Poll::Ready((Some(output), *this.at_once)),
            Err(_) => Poll::Ready((None, *this.at_once)),
        }
    }
}

/// A request on its way to its answer, with a service that has been polled ready.
pub(crate) struct Caller<S, B> {
    pub(crate) config: Arc<Config>,
    pub(crate) service: S,
    pub(crate) parts: Parts,
    pub(crate) body: B,
    pub(crate) asks: Asks,
}

impl<S, B> Caller<S, B>
where
    S: Inner<B>,
    B: Send + 'static,
{
    /// In the store.
    pub(crate) fn look_up(&self) -> Option<Found> {
        let Self { config, parts, .. } = self;
        if parts.method == Method::GET
            && config.is_plain()
            && let Some(key) = PlainKey::of_get(parts)
        {
            let found = self.stored(&key, false);
            if found.is_some() || key.is_exact() {
                return found;
            }
        }
        let key = config.key(parts, Class::of(&parts.method), Bytes::new());
        // HEAD by what is stored for GET, first.
        let stored = if key.class == Class::Head { self.stored(&key.for_class(Class::Get), true) } else { None };
        stored.or_else(|| self.stored(&key, false))
    }

    /// What is stored under a key; unless a refresh is due that this request has to see to.
    #[inline]
    fn stored(&self, key: &impl Serialize, of_another: bool) -> Option<Found> {
        let Self { config, parts, asks, .. } = self;
        __hosting::hit(config.responses(), key, |answer, due| match answer {
            Answer::Shared(exchange) if of_another || !due => Found::of(exchange, parts, *asks),
            _ => None,
        })
    }

    /// By a run that it shares with others, or an old response.
    pub(crate) async fn share(self, key: RequestKey<'static>) -> Answered<S::Body, S::Error> {
        let Self { config, service, parts, body, .. } = self;
        let since = Instant::now();
        let tagged;
        let responses = if config.has_variants() {
            tagged = config.responses().tagged([config.url_tag(&parts)]);
            &tagged
        } else {
            config.responses()
        };
        if let Some(exchange) = config.under_way_for(&key)
            && let Some(reader) = Reader::new(&exchange)
        {
            __hosting::count_coalesced(config.responses());
            let did = Did::Collapse { stored: exchange.stored };
            return Ok(answer::shared(&exchange, reader, None, &parts, did, &config));
        }
        // For a run, if there has to be one.
        let mut slot: Option<Arc<Slot<S::Body, S::Error>>> = None;
        let spare = Arc::new(Mutex::new(Some((service, body))));
        let call = responses.try_get_with(&key, || {
            let job = take(&spare).map(|(service, body)| Job {
                service,
                request: Request::from_parts(unconditional(&parts), body),
                key: Arc::new(key.clone()),
                config: Arc::clone(&config),
                slot: Arc::downgrade(slot.insert(Slot::new())),
            });
            let mut unrun = Unrun { job, spare: Arc::clone(&spare) };
            async move {
                match unrun.job.take() {
                    Some(job) => job.run().await,
                    None => Err(Failure::Lost),
                }
            }
        });
        let (outcome, at_once) = Caught { call, at_once: true }.await;
        let mine = |run| slot.as_ref().and_then(|slot| slot.take(run));
        let refused = |status| Ok(answer::refusal(status, &config, Did::Forward { why: Why::Miss, stored: false }));
        let (exchange, failed) = match outcome {
            None => return refused(StatusCode::INTERNAL_SERVER_ERROR),
            Some(Ok(Answer::Shared(exchange))) => (Some(exchange), false),
            Some(Err(Failure::Response(exchange))) => (Some(exchange), true),
            Some(Ok(Answer::Exclusive(run)) | Err(Failure::Exclusive(run))) => {
                if let Some(Mine::Whole(response)) = mine(run) {
                    let did = Did::Forward { why: Why::Miss, stored: false };
                    return Ok(answer::exclusive(response, &parts, did, &config));
                }
                (None, false)
            }
            Some(Err(Failure::Service(run, shared))) => {
                if let Some(Mine::Error(error)) = mine(run) {
                    return Err(error);
                }
                let shared = shared.as_ref().and_then(|shared| {
                    let shared = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    share::copy(config.share_error.as_deref(), &**shared)
                });
                return shared.map_or_else(
                    || {
                        warn_about_error(&config);
                        refused(StatusCode::BAD_GATEWAY)
                    },
                    Err,
                );
            }
            Some(Err(Failure::RunLimit | Failure::Timeout)) => return refused(StatusCode::GATEWAY_TIMEOUT),
            Some(Err(Failure::CircuitOpen | Failure::Lost)) => return refused(StatusCode::SERVICE_UNAVAILABLE),
        };
        if let Some(exchange) = exchange {
            let (own, place) = match mine(exchange.run) {
                Some(Mine::Head(head, place)) => (Some(head), place),
                _ => (None, None),
            };
            // One that has failed meanwhile is about to be forgotten.
            let usable = failed || own.is_some() || !at_once || !exchange.stream.has_failed();
            if usable && let Some(reader) = place.or_else(|| Reader::new(&exchange)) {
                let did = did(&exchange, own.is_some(), at_once);
                return Ok(answer::shared(&exchange, reader, own, &parts, did, &config));
            }
        }
        // Nothing that this request could wait for: a run of its own, beside those of the others.
        let Some((service, body)) = take(&spare) else { return refused(StatusCode::SERVICE_UNAVAILABLE) };
        __hosting::count_own_run(config.responses());
        let own = pass(&config, service, Request::from_parts(parts, body), Why::Bypass);
        if config.timeout.is_zero() {
            return own.await;
        }
        timeout_at(since + config.timeout, own).await.unwrap_or_else(|_| refused(StatusCode::GATEWAY_TIMEOUT))
    }

    /// By a run of its own, for it says who asks; unless what is stored is for everybody.
    pub(crate) async fn with_credentials(self) -> Answered<S::Body, S::Error> {
        let Self { config, mut service, parts, body, asks } = self;
        let responses = config.responses();
        let key = config.key(&parts, Class::of(&parts.method), Bytes::new()).into_owned();
        let stored = __hosting::hit(responses, &key, |answer, _| match answer {
            Answer::Shared(exchange) if exchange.public => Found::of(exchange, &parts, asks),
            _ => None,
        });
        if let Some(found) = stored {
            return Ok(found.respond(&parts, &config));
        }
        __hosting::count_bypass(config.responses());
        let fence = __hosting::fence(responses, &key);
        let hosted = Hosted::enter_own(&config.store());
        let is_plain = parts.method == Method::GET && !asks.conditions;
        let response = service.call(Request::from_parts(parts.clone(), body)).await?;
        let (mut head, body) = response.into_parts();
        let said = crate::run::said(&mut head, &hosted);
        let verdict = judge(&head, &config, said, expected(&head.headers, &body, false));
        let (Verdict::Shared(terms), Some(fence), true) = (verdict, fence, is_plain) else {
            return Ok(answer::own(head, body, &config, Why::Bypass));
        };
        if !terms.public || !terms.stored() {
            return Ok(answer::own(head, body, &config, Why::Bypass));
        }
        let tagged = config.has_variants().then(|| responses.tagged([config.url_tag(&parts)]));
        let responses = tagged.unwrap_or_else(|| responses.clone());
        let outside = Outside { config: Arc::clone(&config), responses, key, fence, hosted };
        let exchange = outside.begin(&head, body, terms);
        let did = Did::Forward { why: Why::Bypass, stored: true };
        match Reader::new(&exchange) {
            Some(reader) => Ok(answer::shared(&exchange, reader, Some(head), &parts, did, &config)),
            None => Ok(answer::refusal(StatusCode::SERVICE_UNAVAILABLE, &config, did)),
        }
    }

    /// By the handler, whose success voids what is stored for the URL.
    pub(crate) async fn void(self) -> Answered<S::Body, S::Error> {
        let Self { config, service, parts, body, .. } = self;
        let mut url = Voiding::new(&config, &parts);
        let response = pass(&config, service, Request::from_parts(parts, body), Why::Method).await?;
        if response.status().is_success() || response.status().is_redirection() {
            url.void().await;
        } else {
            url.leave();
        }
        Ok(response)
    }
}

/// What a run needs, while there is none that has it.
type Spare<S, B> = Arc<Mutex<Option<(S, B)>>>;

fn take<S, B>(spare: &Spare<S, B>) -> Option<(S, B)> {
    spare.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A run that has not begun. If it is dropped like this, for the remote tier has a response, another may take its place.
struct Unrun<S: Inner<B>, B> {
    job: Option<Job<S, B, S::Body, S::Error>>,
    spare: Spare<S, B>,
}

impl<S: Inner<B>, B> Drop for Unrun<S, B> {
    fn drop(&mut self) {
        if let Some(Job { service, request, .. }) = self.job.take() {
            *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some((service, request.into_body()));
        }
    }
}

/// By the service, for this request alone.
pub(crate) async fn pass<S, B>(
    config: &Config,
    mut service: S,
    request: Request<B>,
    why: Why,
) -> Answered<S::Body, S::Error>
where
    S: Inner<B>,
{
    let (head, body) = service.call(request).await?.into_parts();
    Ok(answer::own(head, body, config, why))
}

/// Once: those who wait for a run get less than it has to say.
fn warn_about_error(config: &Config) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            cache = config.public_name(),
            "an error of the service cannot be copied for those who waited, who get a 502: say `share_error`"
        );
    });
}

fn did(exchange: &Exchange, own: bool, at_once: bool) -> Did {
    let ttl = exchange.ttl(Instant::now());
    if own {
        Did::Forward { why: Why::Miss, stored: exchange.stored }
    } else if at_once || exchange.has_arrived() || ttl.is_some_and(i64::is_negative) {
        Did::Hit { ttl }
    } else {
        Did::Collapse { stored: exchange.stored }
    }
}

/// A copy of a request's head for a run: what is asked of the answer by conditions and ranges is seen to here.
fn unconditional(parts: &Parts) -> Parts {
    let mut copy = parts.clone();
    if matches!(copy.method, Method::GET | Method::HEAD) {
        for name in [RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
            copy.headers.remove(name);
        }
    }
    copy
}

/// All of a request's body, which says that it is not too long.
pub(crate) async fn collect<B>(body: B, limit: u64) -> Option<Bytes>
where
    B: Body,
{
    let mut body = pin!(body);
    let mut all = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(mut data) = frame.ok()?.into_data() else { continue };
        let bytes = data.copy_to_bytes(data.remaining());
        if (all.len() + bytes.len()) as u64 > limit {
            return None;
        }
        all.extend_from_slice(&bytes);
    }
    Some(all.freeze())
}
