//! Some editors put a byte order mark before UTF-8 text; it is not part of the content.

/// The text without a leading byte order mark. JSON readers may ignore one (RFC 8259, section 8.1).
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}
