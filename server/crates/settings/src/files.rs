//! Reads files that an operator wrote. Some editors put a byte order mark before UTF-8 text; it is not part of the content.

use std::path::Path;
use std::{fs, io};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text without a leading byte order mark. JSON readers may also ignore one (RFC 8259, section 8.1).
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// The content of a file, without a byte order mark.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    Ok(match bytes.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => rest.to_vec(),
        None => bytes,
    })
}

/// The content of a file as text, which must be UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        for (written, read) in [
            (&b"\xef\xbb\xbfa = 1"[..], "a = 1"),
            (b"a = 1", "a = 1"),
            (b"", ""),
            (b"\xef\xbb\xbf\xef\xbb\xbf", "\u{feff}"),
        ] {
            fs::write(&file, written).unwrap();
            assert_eq!(read_text(&file).unwrap(), read);
        }
        fs::write(&file, b"\xff").unwrap();
        assert_eq!(read_text(&file).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
