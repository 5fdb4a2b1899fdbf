//! The part of a response that the log keeps (D2, D10).
//!
//! A receiver cannot make the server hold, read or store more than the bounds here, even if it compresses, sends slowly
//! or never ends. Bytes are counted as received and decompressed later. So a compressed body that expands to nothing is
//! as bounded as one that expands to too much. Hyper skips bytes that are not part of a body, such as zeros before a
//! chunk's size, and this module does not see them; the deadline ends that. The response is not judged here: its status
//! already decided the result.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::CONTENT_ENCODING;
use hyper::{HeaderMap, Response};
use jiff::Timestamp;

use tenterhook_clock::Clock;

/// The most response headers that are kept.
pub const MAX_HEADERS: usize = 64;
/// The most bytes of response headers that are kept, names and values together.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;

/// The first bytes of gzip data (RFC 1952).
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
/// How many times a body is decompressed. Twice, because a proxy may compress a body that is already compressed.
const MOST_LAYERS: usize = 2;

/// How much of the decoded body is kept, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExcerptLimits {
    /// For the response of a failed request (D2).
    pub failed: usize,
    /// For the response of a successful request (D10).
    pub success: usize,
}

/// The start of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// `None` if no byte was received.
    pub(crate) text: Option<String>,
    /// Whether there was, or may have been, more.
    pub(crate) truncated: bool,
}

/// The first headers, within the bounds. Invalid UTF-8 is replaced.
pub(crate) fn headers(all: &HeaderMap) -> Vec<(String, String)> {
    let mut room = MAX_HEADER_BYTES;
    all.iter()
        .take(MAX_HEADERS)
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .take_while(|(name, value)| {
            let fits = name.len() + value.len() <= room;
            room = room.saturating_sub(name.len() + value.len());
            fits
        })
        .collect()
}

/// Reads the body until `deadline` at the latest and keeps `keep` bytes of it.
///
/// It always reads up to the larger limit: after a body is read to its end, the next request can use the connection.
/// Otherwise the connection is lost.
pub(crate) async fn excerpt(
    response: Response<Incoming>,
    keep: usize,
    limits: ExcerptLimits,
    clock: &Clock,
    deadline: Timestamp,
) -> Excerpt {
    let most = limits.failed.max(limits.success);
    let layers = gzip_layers(response.headers());
    let mut start = Vec::new();
    let mut whole = clock.deadline(deadline, read(response, &mut start, most)).await == Ok(true);
    for _ in 0..layers {
        // A body that is only declared as compressed is kept as received.
        if !start.starts_with(GZIP_MAGIC) {
            break;
        }
        let (unpacked, all) = unpack(&start, most);
        whole &= all;
        start = unpacked;
    }
    let (text, cut) = text(&start, keep);
    Excerpt {
        text: (!start.is_empty()).then_some(text),
        truncated: cut || !whole,
    }
}

/// Reads until there are more than `most` bytes. Returns whether the body ended before that, without an error.
async fn read(mut response: Response<Incoming>, start: &mut Vec<u8>, most: usize) -> bool {
    loop {
        match response.frame().await {
            // Frames without data are trailers, which are not kept.
            Some(Ok(frame)) => start.extend_from_slice(frame.data_ref().map_or(&[], AsRef::as_ref)),
            None => return true,
            Some(Err(_)) => return false,
        }
        if start.len() > most {
            return false;
        }
    }
}

/// How many times the body was compressed with gzip, the only coding that requests ask for, by its headers; at most
/// [`MOST_LAYERS`]. Zero if any other coding was used: such a body is kept as received.
fn gzip_layers(headers: &HeaderMap) -> usize {
    let codings = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    let mut layers = 0;
    for coding in codings {
        // RFC 9110 (8.4.1.3): `x-gzip` is another name for gzip.
        if !coding.eq_ignore_ascii_case(b"gzip") && !coding.eq_ignore_ascii_case(b"x-gzip") {
            return 0;
        }
        layers += 1;
    }
    layers.min(MOST_LAYERS)
}

/// Decompresses `bytes` as far as they are gzip, to at most one byte more than `most`. Returns whether that is all. Data
/// after the last gzip member means that it is not.
fn unpack(bytes: &[u8], most: usize) -> (Vec<u8>, bool) {
    let mut unpacked = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(bytes).take(limit).read_to_end(&mut unpacked);
    let all = read.is_ok() && unpacked.len() <= most;
    (unpacked, all)
}

/// At most `keep` bytes of text, and whether something was cut. NUL is replaced like invalid UTF-8, because a
/// database such as Postgres stores neither.
fn text(bytes: &[u8], keep: usize) -> (String, bool) {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(keep)]).replace('\0', "\u{FFFD}");
    let cut = bytes.len() > keep || text.len() > keep;
    text.truncate(text.floor_char_boundary(keep));
    (text, cut)
}
