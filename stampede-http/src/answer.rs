//! From what is shared or stored to the response that a request gets: the whole, a part, or that nothing has changed.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::request::Parts as RequestParts;
use http::{Method, Response, StatusCode, response};
use http_body::Body;
use tokio::time::Instant;

use crate::asks::Asks;
use crate::body::{Piece, Reader, ResponseBody};
use crate::config::Config;
use crate::exchange::{Exchange, declared};
use crate::range::{self, Part, Wanted};
use crate::status::{Did, Why};
use crate::stream::Whole;
use crate::validators::{allows_part, is_unchanged};

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
static X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// Says what the cache did.
pub(crate) fn mark(headers: &mut HeaderMap, config: &Config, did: Did) {
    if config.cache_status
        && let Some(value) = did.to_header(config.public_name())
    {
        headers.append(&CACHE_STATUS, value);
    }
    if config.x_cache {
        headers.insert(&X_CACHE, did.word());
    }
}

/// What is stored, as a caller has found it: it can be given from now on, whatever becomes of it meanwhile.
pub(crate) enum Found {
    /// The usual case: all of it, to one who asks for nothing else.
    Whole { exchange: Arc<Exchange>, bytes: Bytes },
    /// For one who asks for something else, or of a body that may still be on its way.
    Read(Box<Reader>),
}

impl Found {
    /// `None` if the response is good for nothing.
    #[inline]
    pub(crate) fn of(exchange: &Arc<Exchange>, request: &RequestParts, asks: Asks) -> Option<Self> {
        if !asks.conditions
            && request.method == Method::GET
            && exchange.is_settled()
            && let Some(bytes) = exchange.stream.whole().and_then(Whole::alone)
        {
            return Some(Self::Whole { exchange: Arc::clone(exchange), bytes });
        }
        if exchange.stream.has_failed() {
            return None;
        }
        Reader::new(exchange).map(|reader| Self::Read(Box::new(reader)))
    }

    /// What the caller gets.
    #[expect(clippy::inline_always, reason = "it is large, and moved each time that it is returned")]
    #[inline(always)]
    pub(crate) fn respond<B>(self, request: &RequestParts, config: &Config) -> Response<ResponseBody<B>> {
        match self {
            Self::Whole { exchange, bytes } => {
                Response::from_parts(head_of_hit(&exchange, config), ResponseBody::known(bytes))
            }
            Self::Read(reader) => {
                let exchange = Arc::clone(reader.exchange());
                let did = Did::Hit { ttl: exchange.ttl(Instant::now()) };
                shared(&exchange, *reader, None, request, did, config)
            }
        }
    }
}

/// The head of a complete response from the store.
fn head_of_hit(exchange: &Exchange, config: &Config) -> response::Parts {
    exchange.head_of_hit([config.cache_status, config.x_cache], |headers, age, ttl| {
        // Who serves it would have to say it each time.
        if let Some(len) = exchange.stream.whole().and_then(Whole::len_alone).filter(|_| exchange.has_body()) {
            headers.entry(CONTENT_LENGTH).or_insert(len.into());
        }
        finish(headers, exchange, age, Did::Hit { ttl }, config);
    })
}

/// What a response says that is shared, besides what it said itself.
fn finish(headers: &mut HeaderMap, exchange: &Exchange, age: u64, did: Did, config: &Config) {
    if matches!(did, Did::Hit { .. }) || matches!(did, Did::Collapse { .. }) && age > 0 {
        headers.insert(AGE, age.into());
    }
    if let Some(etag) = exchange.generated_etag() {
        headers.entry(ETAG).or_insert_with(|| etag.clone());
    }
    mark(headers, config, did);
}

/// What a caller gets of a response that is shared. `own`: the head as it came, for the caller whose run it was.
pub(crate) fn shared<B>(
    exchange: &Arc<Exchange>,
    reader: Reader,
    own: Option<response::Parts>,
    request: &RequestParts,
    did: Did,
    config: &Config,
) -> Response<ResponseBody<B>> {
    let mut head = if let Some(mut head) = own {
        finish(&mut head.headers, exchange, 0, did, config);
        head
    } else if let Did::Hit { ttl: Some(_) } = did {
        // It says how long it is fresh, so its body is complete, and its headers are as well.
        head_of_hit(exchange, config)
    } else {
        let mut headers = exchange.headers.clone();
        finish(&mut headers, exchange, exchange.age(Instant::now()), did, config);
        exchange.head(headers)
    };
    let body = match cut(&mut head, request, exchange.len(), exchange.stream.whole().is_some()) {
        Cut::Whole => ResponseBody::shared(reader),
        Cut::Nothing => ResponseBody::empty(),
        Cut::Head => ResponseBody::of_head(),
        Cut::Part(part) => ResponseBody::shared(reader.only([Piece::Part(part)])),
        Cut::Parts(pieces) => ResponseBody::shared(reader.only(pieces)),
    };
    Response::from_parts(head, body)
}

/// What a caller gets of a run that nobody else has a part in.
pub(crate) fn own<B>(mut head: response::Parts, body: B, config: &Config, why: Why) -> Response<ResponseBody<B>> {
    mark(&mut head.headers, config, Did::Forward { why, stored: false });
    Response::from_parts(head, ResponseBody::own(body))
}

/// What the caller gets whose run has made a response for nobody else.
pub(crate) fn exclusive<B>(
    response: Response<B>,
    request: &RequestParts,
    did: Did,
    config: &Config,
) -> Response<ResponseBody<B>>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (mut head, body) = response.into_parts();
    mark(&mut head.headers, config, did);
    let len = declared(&head.headers);
    let body = match cut(&mut head, request, len, false) {
        Cut::Whole | Cut::Parts(_) => ResponseBody::own(body),
        Cut::Nothing => ResponseBody::empty(),
        Cut::Head => ResponseBody::of_head(),
        Cut::Part(part) => ResponseBody::part(body, part),
    };
    Response::from_parts(head, body)
}

/// What of a body is given.
enum Cut {
    Whole,
    Nothing,
    /// Nothing, where there would be something for a GET.
    Head,
    Part(Part),
    Parts(Vec<Piece>),
}

/// Makes the head say what the request's conditions and ranges come to. The handler was asked without them. `is_there`: the
/// body is, and can be read in any order.
fn cut(head: &mut response::Parts, request: &RequestParts, len: Option<u64>, is_there: bool) -> Cut {
    let is_head = request.method == Method::HEAD;
    if head.status == StatusCode::OK && (is_head || request.method == Method::GET) {
        if is_unchanged(&request.headers, &head.headers) {
            head.status = StatusCode::NOT_MODIFIED;
            for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, TRANSFER_ENCODING] {
                head.headers.remove(name);
            }
            return Cut::Nothing;
        }
        let takes_ranges = head.headers.get(ACCEPT_RANGES).is_none_or(|ranges| ranges != "none");
        if let Some(len) = len
            && !is_head
            && takes_ranges
            && allows_part(&request.headers, &head.headers)
        {
            match range::wanted(&request.headers, len) {
                Wanted::Whole => {}
                // They would have to be given in the order asked for, and the first may be gone when its turn comes.
                Wanted::Parts(parts) if parts.len() > 1 && !is_there => {}
                Wanted::Nothing => {
                    head.status = StatusCode::RANGE_NOT_SATISFIABLE;
                    for name in [CONTENT_TYPE, CONTENT_ENCODING, TRANSFER_ENCODING] {
                        head.headers.remove(name);
                    }
                    set(&mut head.headers, CONTENT_RANGE, &format!("bytes */{len}"));
                    head.headers.insert(CONTENT_LENGTH, 0.into());
                    return Cut::Nothing;
                }
                Wanted::Parts(parts) => return partial(head, &parts, len),
            }
        }
    }
    if is_head {
        if let Some(len) = len {
            head.headers.entry(CONTENT_LENGTH).or_insert(len.into());
        }
        return Cut::Head;
    }
    Cut::Whole
}

fn partial(head: &mut response::Parts, parts: &[Part], len: u64) -> Cut {
    head.status = StatusCode::PARTIAL_CONTENT;
    head.headers.remove(TRANSFER_ENCODING);
    let range = |part: &Part| format!("bytes {}-{}/{len}", part.start, part.end - 1);
    if let [part] = parts {
        set(&mut head.headers, CONTENT_RANGE, &range(part));
        head.headers.insert(CONTENT_LENGTH, (part.end - part.start).into());
        return Cut::Part(*part);
    }
    // Nobody knows what the body contains, but nobody can put this there on purpose either.
    let boundary = format!("{:032x}", std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), len));
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| format!("Content-Type: {kind}\r\n")).unwrap_or_default();
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    let mut total = 0;
    for part in parts {
        let start = if pieces.is_empty() { "" } else { "\r\n" };
        let text = format!("{start}--{boundary}\r\n{kind}Content-Range: {}\r\n\r\n", range(part));
        total += text.len() as u64 + part.end - part.start;
        pieces.push(Piece::Text(Bytes::from(text)));
        pieces.push(Piece::Part(*part));
    }
    let end = format!("\r\n--{boundary}--\r\n");
    total += end.len() as u64;
    pieces.push(Piece::Text(Bytes::from(end)));
    set(&mut head.headers, CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}"));
    head.headers.insert(CONTENT_LENGTH, total.into());
    Cut::Parts(pieces)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A response of the layer's own: there is none of the handler's.
pub(crate) fn refusal<B>(status: StatusCode, config: &Config, did: Did) -> Response<ResponseBody<B>> {
    let reason = status.canonical_reason().unwrap_or("error").to_ascii_lowercase();
    let mut response = Response::new(ResponseBody::known(reason));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let after = config.breaker.map_or(1, |(_, reset_after)| reset_after.as_secs().max(1));
        headers.insert(RETRY_AFTER, after.into());
    }
    mark(headers, config, did);
    response
}
