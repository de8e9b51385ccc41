//! What holds of the parsers whatever they are given, for the fuzz targets and the property tests.

use http::header::{CACHE_CONTROL, ETAG, EXPIRES, HeaderMap, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE, VARY};

use crate::control::{Control, items, varies_beyond};
use crate::range::{Wanted, wanted};
use crate::validators::{EntityTag, allows_part, is_unchanged};

/// Gives the parsers these bytes as header lines, in two pieces. Panics if something does not hold that has to.
pub(crate) fn check_headers(data: &[u8]) {
    let (cut, data) = data.split_first().unwrap_or((&0, &[]));
    let (first, second) = data.split_at(usize::from(*cut).min(data.len()));
    let lines: Vec<_> = [first, second].into_iter().filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    for line in &lines {
        items_are_parts(line.as_bytes());
    }
    let of = |name: http::HeaderName| -> HeaderMap {
        lines.iter().map(|line| (name.clone(), line.clone())).fold(HeaderMap::new(), append)
    };
    controls_only_grow_stricter(&of(CACHE_CONTROL), &of(EXPIRES));
    let vary = of(VARY);
    assert!(!vary.contains_key(VARY) || varies_beyond(&vary, &[]) == has_items(&vary));
    for len in [0, 1, 10, u64::from(*cut) * 1000, u64::MAX] {
        parts_are_within(&of(RANGE), len);
    }
    let (mut request, response) = (of(IF_NONE_MATCH), of(ETAG));
    // A tag that is valid is always found by itself.
    let valid = response.get(ETAG).is_some_and(|tag| EntityTag::parse(tag.as_bytes()).is_some());
    assert!(!valid || is_unchanged(&request, &response));
    request.extend(of(IF_RANGE));
    allows_part(&request, &response);
}

fn append(mut headers: HeaderMap, (name, value): (http::HeaderName, HeaderValue)) -> HeaderMap {
    headers.append(name, value);
    headers
}

fn has_items(headers: &HeaderMap) -> bool {
    headers.get_all(VARY).iter().any(|line| items(line.as_bytes()).next().is_some())
}

fn items_are_parts(line: &[u8]) {
    let mut total = 0;
    for item in items(line) {
        assert!(!item.is_empty() && item.trim_ascii() == item);
        assert!(line.as_ptr_range().contains(&item.as_ptr()));
        total += item.len() + 1;
    }
    assert!(total <= line.len() + 1);
}

/// More lines never make a response less personal, or longer-lived.
fn controls_only_grow_stricter(lines: &HeaderMap, expires: &HeaderMap) {
    let whole = Control::read(lines);
    let now = std::time::SystemTime::now();
    for line in lines.get_all(CACHE_CONTROL) {
        let one = Control::read(&append(HeaderMap::new(), (CACHE_CONTROL, line.clone())));
        assert!(whole.no_store >= one.no_store && whole.private >= one.private && whole.no_cache >= one.no_cache);
        assert!(whole.must_revalidate >= one.must_revalidate);
        for (whole, one) in [(whole.max_age, one.max_age), (whole.s_maxage, one.s_maxage)] {
            assert!(one.is_none_or(|one| whole.is_some_and(|whole| whole <= one)));
        }
    }
    let _ = whole.lifetime(expires, now);
}

fn parts_are_within(headers: &HeaderMap, len: u64) {
    if let Wanted::Parts(parts) = wanted(headers, len) {
        assert!(!parts.is_empty());
        assert!(parts.iter().all(|part| part.start < part.end && part.end <= len));
        assert!(
            parts.len() == 1
                || parts.iter().map(|part| u128::from(part.end - part.start)).sum::<u128>() <= u128::from(len)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text that is made of what headers are made of, so that something is found in it.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let pieces = [
            "no-store",
            "private",
            "public",
            "max-age",
            "s-maxage",
            "must-revalidate",
            "=",
            "\"",
            ",",
            " ",
            "\\",
            "W/",
            "*",
            "-",
            "bytes=",
            "0",
            "9",
            "18446744073709551615",
            "99999999999999999999",
            "accept",
            "Sun, 06 Nov 1994 08:49:37 GMT",
        ];
        let piece = prop_oneof![
            4 => proptest::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..4),
        ];
        (any::<u8>(), proptest::collection::vec(piece, 0..24))
            .prop_map(|(cut, pieces)| [vec![cut], pieces.concat()].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_headers_say_it_is_read_safely(data in texts()) {
            check_headers(&data);
        }
    }
}
