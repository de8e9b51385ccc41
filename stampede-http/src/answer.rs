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

use crate::body::{Piece, Reader, ResponseBody};
use crate::config::Config;
use crate::exchange::{Exchange, Hit, declared};
use crate::range::{self, Part, Wanted};
use crate::status::Did;
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

/// What a caller gets of a response that is shared. `own`: the head as it came, for the caller whose run it was.
pub(crate) fn shared<B>(
    exchange: &Arc<Exchange>,
    reader: Reader,
    own: Option<response::Parts>,
    request: &RequestParts,
    did: Did,
    config: &Config,
) -> Response<ResponseBody<B>> {
    let is_own = own.is_some();
    let finish = |headers: &mut HeaderMap| {
        if !is_own && (matches!(did, Did::Hit { .. }) || exchange.age() > 0) {
            headers.insert(AGE, exchange.age().into());
        }
        if let Some(etag) = exchange.generated_etag() {
            headers.entry(ETAG).or_insert_with(|| etag.clone());
        }
        mark(headers, config, did);
    };
    let mut head = own.unwrap_or_else(|| {
        let mut head = Response::new(()).into_parts().0;
        (head.status, head.version) = (exchange.status, exchange.version);
        head
    });
    match did {
        // Its body is complete, so its headers are as well.
        Did::Hit { ttl: Some(ttl) } if !is_own => {
            let Config { cache_status, x_cache, .. } = *config;
            head.headers = exchange.headers_of_hit(Hit { age: exchange.age(), ttl, cache_status, x_cache }, finish);
        }
        _ => {
            if !is_own {
                head.headers = exchange.headers.clone();
            }
            finish(&mut head.headers);
        }
    }
    let body = match cut(&mut head, request, exchange.len()) {
        Cut::Whole => ResponseBody::shared(reader),
        Cut::Nothing => ResponseBody::empty(),
        Cut::Part(part) => ResponseBody::shared(reader.only([Piece::Part(part)])),
        Cut::Parts(pieces) => ResponseBody::shared(reader.only(pieces)),
    };
    Response::from_parts(head, body)
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
    // Of several parts, the whole: they would have to be given in the order asked for.
    let len =
        len.filter(|len| !matches!(range::wanted(&request.headers, *len), Wanted::Parts(parts) if parts.len() > 1));
    let body = match cut(&mut head, request, len) {
        Cut::Whole | Cut::Parts(_) => ResponseBody::own(body),
        Cut::Nothing => ResponseBody::empty(),
        Cut::Part(part) => ResponseBody::part(body, part),
    };
    Response::from_parts(head, body)
}

/// What of a body is given.
enum Cut {
    Whole,
    Nothing,
    Part(Part),
    Parts(Vec<Piece>),
}

/// Makes the head say what the request's conditions and ranges come to. The handler was asked without them.
fn cut(head: &mut response::Parts, request: &RequestParts, len: Option<u64>) -> Cut {
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
        return Cut::Nothing;
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
