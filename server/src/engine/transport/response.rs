//! What is kept of a response for the log (D2, D10).
//!
//! Promises that a receiver cannot make us hold, read or store more than the bounds here, however it compresses,
//! drips or goes on forever. Does not judge the response: its status already has.

use hyper::HeaderMap;
use jiff::Timestamp;

use crate::clock::Clock;

/// The most response headers that are kept.
pub const MAX_HEADERS: usize = 64;
/// The most bytes of response headers that are kept, names and values together.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;

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
    response: reqwest::Response,
    keep: usize,
    limits: ExcerptLimits,
    clock: &Clock,
    deadline: Timestamp,
) -> Excerpt {
    let most = limits.failed.max(limits.success);
    let mut start = Vec::new();
    let whole = clock.deadline(deadline, read(response, &mut start, most)).await == Ok(true);
    let (text, cut) = text(&start, keep);
    Excerpt {
        text: (!start.is_empty()).then_some(text),
        truncated: cut || !whole,
    }
}

/// Reads until more than `most` bytes are there; whether the body ended, and well, before that.
async fn read(mut response: reqwest::Response, start: &mut Vec<u8>, most: usize) -> bool {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => start.extend_from_slice(&chunk),
            Ok(None) => return true,
            Err(_) => return false,
        }
        if start.len() > most {
            return false;
        }
    }
}

/// At most `keep` bytes of text, and whether that is less than all. NUL is replaced like anything that is not UTF-8:
/// Postgres stores neither.
fn text(bytes: &[u8], keep: usize) -> (String, bool) {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(keep)]).replace('\0', "\u{FFFD}");
    let cut = bytes.len() > keep || text.len() > keep;
    text.truncate(text.floor_char_boundary(keep));
    (text, cut)
}
