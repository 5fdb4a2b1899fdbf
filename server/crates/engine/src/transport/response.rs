//! What is kept of a response for the log (D2, D10).
//!
//! Promises that a receiver cannot make us hold, read or store more than the bounds here, however it compresses,
//! drips or goes on forever. What is read is counted as it comes over the wire, and unpacked after: a packed body that
//! never says anything is as bounded as one that says too much. What is no body, such as zeros before
//! a chunk's size, hyper passes over unseen until the deadline. Does not judge the response: its status already has.

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

/// What gzip begins with (RFC 1952).
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
/// How often a body is unpacked: a second time helps where a proxy packs what came packed.
const MOST_LAYERS: usize = 2;

/// How much of the decoded body is kept, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExcerptLimits {
    /// Of a failed attempt's response (D2).
    pub failed: usize,
    /// Of a success's (D10).
    pub success: usize,
}

/// The start of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// `None` if no byte came.
    pub(super) text: Option<String>,
    /// Whether there was, or may have been, more.
    pub(super) truncated: bool,
}

/// The first headers, within the bounds; what is not UTF-8 in them is replaced.
pub(super) fn headers(all: &HeaderMap) -> Vec<(String, String)> {
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
/// Reads up to the larger limit whatever is kept: a body read to its end leaves the connection to the next attempt,
/// one left unread costs it.
pub(super) async fn excerpt(
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
        // What only claims to be packed is kept as it came.
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

/// Reads until more than `most` bytes are there; whether the body ended, and well, before that.
async fn read(mut response: Response<Incoming>, start: &mut Vec<u8>, most: usize) -> bool {
    loop {
        match response.frame().await {
            // What is no data are trailers, which are not kept.
            Some(Ok(frame)) => start.extend_from_slice(frame.data_ref().map_or(&[], AsRef::as_ref)),
            None => return true,
            Some(Err(_)) => return false,
        }
        if start.len() > most {
            return false;
        }
    }
}

/// How often a body was packed with gzip, the only coding that we ask for, as the headers say; at most
/// [`MOST_LAYERS`]. None where any other was used: such a body is kept as it came.
fn gzip_layers(headers: &HeaderMap) -> usize {
    let codings = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    let mut layers = 0;
    for coding in codings {
        // RFC 9110 (8.4.1.3): `x-gzip` is another name of it.
        if !coding.eq_ignore_ascii_case(b"gzip") && !coding.eq_ignore_ascii_case(b"x-gzip") {
            return 0;
        }
        layers += 1;
    }
    layers.min(MOST_LAYERS)
}

/// At most one byte more than `most` of what is packed in `bytes`, as far as it is gzip; whether that is all. What stands
/// behind the last member, if it is none, is not.
fn unpack(bytes: &[u8], most: usize) -> (Vec<u8>, bool) {
    let mut unpacked = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(bytes).take(limit).read_to_end(&mut unpacked);
    let all = read.is_ok() && unpacked.len() <= most;
    (unpacked, all)
}

/// At most `keep` bytes of text, and whether that is less than all. NUL is replaced like anything that is not UTF-8:
/// Postgres stores neither.
fn text(bytes: &[u8], keep: usize) -> (String, bool) {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(keep)]).replace('\0', "\u{FFFD}");
    let cut = bytes.len() > keep || text.len() > keep;
    text.truncate(text.floor_char_boundary(keep));
    (text, cut)
}
