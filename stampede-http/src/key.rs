//! The key of a request: what has to be equal for two requests to have one answer. Compared in full.

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
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

    fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Other(method) => method.as_str(),
        }
    }
}

/// The key of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestKey {
    pub(crate) class: Class,
    place: Place,
    /// Each header that the key includes, with all its lines.
    headers: Vec<(HeaderName, Vec<HeaderValue>)>,
    body: Bytes,
    part: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// Scheme, authority, the `Host` line where it says something else, path and query; between them bytes that none of
    /// them can contain.
    Url(Vec<u8>),
    /// The application says it in its own words.
    Own(String),
}

impl RequestKey {
    pub(crate) fn new(class: Class, request: &Parts, headers: &[HeaderName], body: Bytes) -> Self {
        let place = Place::Url(url(request));
        let lines = |name: &HeaderName| request.headers.get_all(name).iter().cloned().collect();
        let headers = headers.iter().map(|name| (name.clone(), lines(name))).collect();
        Self { class, place, headers, body, part: None }
    }

    /// In the application's words instead of by the URL.
    pub(crate) fn in_own_words(&mut self, words: String) {
        self.place = Place::Own(words);
    }

    pub(crate) fn add_part(&mut self, part: String) {
        self.part = Some(part);
    }

    /// The same for another class of methods.
    pub(crate) fn for_class(&self, class: Class) -> Self {
        Self { class, body: Bytes::new(), ..self.clone() }
    }

    /// About how many bytes it has.
    pub(crate) fn size(&self) -> usize {
        let place = match &self.place {
            Place::Url(url) => url.len(),
            Place::Own(words) => words.len(),
        };
        let lines = |(name, lines): &(HeaderName, Vec<HeaderValue>)| {
            name.as_str().len() + lines.iter().map(HeaderValue::len).sum::<usize>()
        };
        let headers: usize = self.headers.iter().map(lines).sum();
        place + headers + self.body.len() + self.part.as_ref().map_or(0, String::len)
    }

    /// What all entries of the URL have in common, as text.
    pub(crate) fn url(&self) -> String {
        match &self.place {
            Place::Url(url) => String::from_utf8_lossy(url).into_owned(),
            Place::Own(words) => format!("= {words}"),
        }
    }
}

struct RawBytes<'a>(&'a [u8]);

impl Serialize for RawBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Url(url) => serializer.serialize_bytes(url),
            Self::Own(words) => serializer.serialize_str(words),
        }
    }
}

impl Serialize for RequestKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(5)?;
        tuple.serialize_element(self.class.as_str())?;
        tuple.serialize_element(&self.place)?;
        let lines = |lines: &[HeaderValue]| lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
        for (name, values) in &self.headers {
            tuple.serialize_element(name.as_str())?;
            // How many, so that no two lists of lines look alike.
            tuple.serialize_element(&(values.len() as u64))?;
            for line in lines(values) {
                tuple.serialize_element(&RawBytes(&line))?;
            }
        }
        tuple.serialize_element(&RawBytes(&self.body))?;
        tuple.serialize_element(&self.part)?;
        tuple.end()
    }
}

/// See [`Place::Url`].
fn url(request: &Parts) -> Vec<u8> {
    const BETWEEN: u8 = 0;
    let uri = &request.uri;
    let authority = uri.authority().map_or("", |authority| authority.as_str()).as_bytes();
    let host = request.headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
    let host = if host.eq_ignore_ascii_case(authority) { b"" } else { host };
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes();
    let scheme = uri.scheme_str().unwrap_or_default().as_bytes();
    let mut url = Vec::with_capacity(scheme.len() + authority.len() + host.len() + path.len() + 3);
    for part in [scheme, authority, host] {
        url.extend(part.iter().map(u8::to_ascii_lowercase));
        url.push(BETWEEN);
    }
    url.extend_from_slice(path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn key(uri: &str, headers: &[(&str, &str)], vary: &[&'static str]) -> RequestKey {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let vary: Vec<_> = vary.iter().map(|name| HeaderName::from_static(name)).collect();
        RequestKey::new(Class::Get, &request.body(()).expect("a request").into_parts().0, &vary, Bytes::new())
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
            }
        }
    }

    #[test]
    fn what_makes_no_difference_has_the_same() {
        assert_eq!(key("/a", &[("host", "One")], &[]), key("/a", &[("host", "one")], &[]));
        assert_eq!(key("http://One/a", &[("host", "one")], &[]), key("http://one/a", &[("host", "ONE")], &[]));
        assert_eq!(key("/a", &[("accept", "x")], &[]), key("/a", &[("accept", "y")], &[]));
    }
}
