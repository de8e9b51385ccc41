//! The key of a request: what has to be equal for two requests to have one answer. Compared in full.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::ser::{Serialize, SerializeTuple, Serializer};

/// Requests whose answers can stand for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    Get,
    Head,
    Other(Method),
}

impl Class {
    pub(crate) fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            _ => Self::Other(method.clone()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Other(method) => method.as_str(),
        }
    }
}

/// The key of a request, which it borrows from as far as it can.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestKey<'r> {
    pub(crate) class: Class,
    place: Place<'r>,
    /// Each header that the key includes, with all its lines; those that say what the body is among them, if there is one.
    headers: Vec<(HeaderName, Vec<HeaderValue>)>,
    body: Bytes,
    part: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place<'r> {
    Url(Url<'r>),
    /// The application says it in its own words.
    Own(String),
}

/// A request's URL, in whichever of its places the protocol puts the pieces: HTTP/1 says the host in a header, HTTP/2 in the
/// URI, with the scheme.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Url<'r> {
    scheme: Cow<'r, [u8]>,
    host: Cow<'r, [u8]>,
    /// A `Host` that differs from the host of the URI.
    other_host: Cow<'r, [u8]>,
    path: Cow<'r, [u8]>,
}

impl<'r> RequestKey<'r> {
    pub(crate) fn new(class: Class, request: &'r Parts, headers: &[HeaderName], body: Bytes) -> Self {
        let lines = |name: &HeaderName| request.headers.get_all(name).iter().cloned().collect();
        let of_body = if body.is_empty() { &[][..] } else { &[CONTENT_ENCODING, CONTENT_TYPE] };
        let headers = headers.iter().chain(of_body).map(|name| (name.clone(), lines(name))).collect();
        Self { class, place: Place::Url(Url::of(request)), headers, body, part: None }
    }

    /// In the application's words instead of by the URL.
    pub(crate) fn in_own_words(&mut self, words: String) {
        self.place = Place::Own(words);
    }

    pub(crate) fn add_part(&mut self, part: String) {
        self.part = Some(part);
    }

    pub(crate) fn into_owned(self) -> RequestKey<'static> {
        let Self { class, place, headers, body, part } = self;
        let place = match place {
            Place::Url(url) => Place::Url(url.into_owned()),
            Place::Own(words) => Place::Own(words),
        };
        RequestKey { class, place, headers, body, part }
    }

    /// The same for another class of methods.
    pub(crate) fn for_class(&self, class: Class) -> Self {
        Self { class, body: Bytes::new(), ..self.clone() }
    }

    /// The keys of what is read at the URL, by whichever protocol: one may say the scheme, and another not.
    pub(crate) fn of_readers(&self) -> Vec<Self> {
        let mut keys = Vec::new();
        for class in [Class::Get, Class::Head] {
            let key = self.for_class(class);
            for scheme in ["", "http", "https"] {
                let mut other = key.clone();
                if let Place::Url(url) = &mut other.place {
                    url.scheme = scheme.as_bytes().into();
                }
                keys.push(other);
            }
        }
        keys
    }

    /// The usual case, and the most frequent by far.
    fn plain(&self) -> Option<PlainKey<'_>> {
        let Place::Url(url) = &self.place else { return None };
        if !self.headers.is_empty() || !self.body.is_empty() || self.part.is_some() || !url.other_host.is_empty() {
            return None;
        }
        let readers = Readers::of(&self.class, &url.scheme)?;
        Some(PlainKey { readers, host: &url.host, path: &url.path })
    }

    /// About how many bytes it has.
    pub(crate) fn size(&self) -> usize {
        let place = match &self.place {
            Place::Url(url) => url.pieces().iter().map(|piece| piece.len()).sum(),
            Place::Own(words) => words.len(),
        };
        let lines = |(name, lines): &(HeaderName, Vec<HeaderValue>)| {
            name.as_str().len() + lines.iter().map(HeaderValue::len).sum::<usize>()
        };
        let headers: usize = self.headers.iter().map(lines).sum();
        place + headers + self.body.len() + self.part.as_ref().map_or(0, String::len)
    }
}

impl<'r> Url<'r> {
    fn of(request: &'r Parts) -> Self {
        let uri = &request.uri;
        let authority = lower(uri.authority().map_or("", |authority| authority.as_str()).as_bytes());
        let line = lower(host_line(&request.headers));
        let (host, other_host) =
            if authority.is_empty() || authority == line { (line, Cow::Borrowed(&b""[..])) } else { (authority, line) };
        let scheme = lower(uri.scheme_str().unwrap_or_default().as_bytes());
        let path = Cow::Borrowed(uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
        Self { scheme, host, other_host, path }
    }

    fn pieces(&self) -> [&[u8]; 4] {
        [&self.scheme, &self.host, &self.other_host, &self.path]
    }

    fn into_owned(self) -> Url<'static> {
        let owned = |piece: Cow<'_, [u8]>| Cow::Owned(piece.into_owned());
        let Self { scheme, host, other_host, path } = self;
        Url { scheme: owned(scheme), host: owned(host), other_host: owned(other_host), path: owned(path) }
    }
}

/// A host in lower case; what may precede it, a user's name and password, as it is.
fn lower(authority: &[u8]) -> Cow<'_, [u8]> {
    let host = authority.iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
    if authority[host..].iter().any(u8::is_ascii_uppercase) {
        let mut lower = authority.to_vec();
        lower[host..].make_ascii_lowercase();
        return lower.into();
    }
    authority.into()
}

/// What all entries of a URL have in common, as text.
pub(crate) fn url(request: &Parts) -> String {
    let url = Url::of(request);
    // None of them can contain a zero.
    [url.host, url.other_host, url.path].map(|piece| String::from_utf8_lossy(&piece).into_owned()).join("\0")
}

/// The host as a request's header says it. Clients send that line first, and to look there takes no search.
fn host_line(headers: &HeaderMap) -> &[u8] {
    let first = headers.iter().next().filter(|(name, _)| **name == HOST).map(|(_, line)| line);
    first.or_else(|| headers.get(HOST)).map_or(&b""[..], HeaderValue::as_bytes)
}

/// Which method reads, by which scheme: a number, and nothing to be compared as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Readers(u8);

impl Readers {
    /// GET, by HTTP/1.
    const USUAL: Self = Self(0);

    fn of(class: &Class, scheme: &[u8]) -> Option<Self> {
        let scheme = match scheme {
            b"" => 0,
            b"http" => 1,
            b"https" => 2,
            _ => return None,
        };
        match class {
            Class::Get => Some(Self(scheme)),
            Class::Head => Some(Self(scheme + 3)),
            Class::Other(_) => None,
        }
    }
}

/// The key of a read, where it is the URL alone and taken as it is: it is the same as the [`RequestKey`], and costs less. With
/// capitals in the host, it is nobody's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlainKey<'r> {
    readers: Readers,
    host: &'r [u8],
    path: &'r [u8],
}

impl<'r> PlainKey<'r> {
    pub(crate) fn of_get(request: &'r Parts) -> Option<Self> {
        let uri = &request.uri;
        let readers = Readers::of(&Class::Get, uri.scheme_str().unwrap_or_default().as_bytes())?;
        let line = host_line(&request.headers);
        let host = match uri.authority() {
            None => line,
            Some(authority) if line.is_empty() || line == authority.as_str().as_bytes() => {
                authority.as_str().as_bytes()
            }
            Some(_) => return None,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes();
        Some(Self { readers, host, path })
    }

    /// Whether it is the request's key for certain.
    pub(crate) fn is_exact(&self) -> bool {
        !self.host.iter().any(u8::is_ascii_uppercase)
    }
}

impl Serialize for PlainKey<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Begins with bytes or with a number, where all other keys begin with text.
        let mut tuple = serializer.serialize_tuple(3)?;
        if self.readers != Readers::USUAL {
            tuple.serialize_element(&self.readers.0)?;
        }
        tuple.serialize_element(&RawBytes(self.host))?;
        tuple.serialize_element(&RawBytes(self.path))?;
        tuple.end()
    }
}

struct RawBytes<'a>(&'a [u8]);

impl Serialize for RawBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for Place<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Url(url) => {
                let mut tuple = serializer.serialize_tuple(4)?;
                for piece in url.pieces() {
                    tuple.serialize_element(&RawBytes(piece))?;
                }
                tuple.end()
            }
            Self::Own(words) => serializer.serialize_str(words),
        }
    }
}

impl Serialize for RequestKey<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(plain) = self.plain() {
            return plain.serialize(serializer);
        }
        let mut tuple = serializer.serialize_tuple(5)?;
        tuple.serialize_element(self.class.as_str())?;
        tuple.serialize_element(&self.place)?;
        for (name, lines) in &self.headers {
            tuple.serialize_element(name.as_str())?;
            // How many, so that no two lists of lines look alike.
            tuple.serialize_element(&(lines.len() as u64))?;
            for line in lines {
                tuple.serialize_element(&RawBytes(line.as_bytes()))?;
            }
        }
        tuple.serialize_element(&RawBytes(&self.body))?;
        tuple.serialize_element(&self.part)?;
        tuple.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn key(uri: &str, headers: &[(&str, &str)], vary: &[&'static str]) -> RequestKey<'static> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let vary: Vec<_> = vary.iter().map(|name| HeaderName::from_static(name)).collect();
        let request = request.body(()).expect("a request").into_parts().0;
        RequestKey::new(Class::Get, &request, &vary, Bytes::new()).into_owned()
    }

    #[test]
    fn what_differs_has_another_key() {
        let all = [
            key("/a", &[], &[]),
            key("/a?", &[], &[]),
            key("/a?b", &[], &[]),
            key("/a/", &[], &[]),
            key("/A", &[], &[]),
            key("/%61", &[], &[]),
            key("/a", &[("host", "one")], &[]),
            key("/a", &[("host", "two")], &[]),
            key("http://one/a", &[], &[]),
            key("https://one/a", &[], &[]),
            key("http://one/a", &[("host", "two")], &[]),
            key("http://a:B@one/a", &[], &[]),
            key("http://a:b@one/a", &[], &[]),
            key("/a", &[], &["accept"]),
            key("/a", &[("accept", "")], &["accept"]),
            key("/a", &[("accept", "x")], &["accept"]),
            key("/a", &[("accept", "x"), ("accept", "y")], &["accept"]),
            key("/a", &[("accept", "xy")], &["accept"]),
            key("/a", &[("accept", "x")], &["accept", "te"]),
            key("/a", &[], &[]).for_class(Class::Head),
        ];
        for (n, one) in all.iter().enumerate() {
            for other in &all[n + 1..] {
                assert_ne!(one, other);
                assert!(one.plain().is_none() || one.plain() != other.plain(), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn what_makes_no_difference_has_the_same() {
        assert_eq!(key("/a", &[("host", "One")], &[]), key("/a", &[("host", "one")], &[]));
        assert_eq!(key("http://One/a", &[("host", "one")], &[]), key("http://one/a", &[("host", "ONE")], &[]));
        assert_eq!(key("/a", &[("accept", "x")], &[]), key("/a", &[("accept", "y")], &[]));
    }

    #[test]
    fn a_plain_key_is_the_key() {
        let long = format!("/{}", "x".repeat(300));
        for (uri, host, is_plain) in [
            ("/a?b", "one", true),
            ("/a", "", true),
            (&long, "one", true),
            ("http://one/a", "", true),
            ("https://one/a", "one", true),
            ("/a", "One", false),
            ("http://One/a", "", false),
            ("http://one/a", "two", false),
            ("ws://one/a", "one", false),
        ] {
            let request = http::Request::builder().uri(uri).header("host", host).body(()).expect("a request");
            let request = request.into_parts().0;
            let plain = PlainKey::of_get(&request);
            assert_eq!(plain.as_ref().is_some_and(PlainKey::is_exact), is_plain, "{uri} {host}");
            let key = RequestKey::new(Class::Get, &request, &[], Bytes::new());
            assert_eq!(plain.is_some() && plain == key.plain(), is_plain, "{uri} {host}");
        }
    }

    #[test]
    fn readers_of_a_url_have_it_by_one_protocol_or_another() {
        let over_h1 = key("/a", &[("host", "one")], &[]);
        let over_h2 = key("https://one/a", &[], &[]);
        let readers = over_h1.of_readers();
        assert!(readers.contains(&over_h1) && readers.contains(&over_h2.for_class(Class::Head)));
        assert_eq!(readers, over_h2.of_readers());
        assert!(!readers.contains(&key("/a", &[("host", "two")], &[])));
    }
}
