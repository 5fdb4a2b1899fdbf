//! Whether bytes that should be random are clearly not.
//!
//! Refuses what people type in place of a key: placeholders, ascending bytes, a short text repeated. It does not measure
//! randomness: a bad key that looks random is accepted.

/// Whether the bytes are one part repeated at least twice, or each byte differs from the previous one by the same step. Of
/// 32 random bytes one in 2¹²⁸ is.
pub fn is_pattern(bytes: &[u8]) -> bool {
    let length = bytes.len();
    let repeats = (1..=length / 2).any(|part| bytes[part..] == bytes[..length - part]);
    let mut steps = bytes.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    let first = steps.next();
    repeats || steps.all(|step| Some(step) == first)
}

/// The number of different bytes.
pub fn variety(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in bytes {
        seen[usize::from(*byte)] = true;
    }
    seen.iter().filter(|seen| **seen).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_distinguished_from_keys() {
        let counted: Vec<u8> = (250..=255).chain(0..26).collect();
        for pattern in [
            &b""[..],
            b"a",
            b"ab",
            b"aaaaaaaa",
            b"abcabcab",
            b"secret secret ",
            &counted,
            &[9, 6, 3, 0, 253],
        ] {
            assert!(is_pattern(pattern), "{pattern:?}");
        }
        for key in [&b"abd"[..], b"abcabd", b"the quick brown fox", &[0, 1, 2, 4]] {
            assert!(!is_pattern(key), "{key:?}");
        }
    }

    #[test]
    fn variety_counts_each_byte_once() {
        assert_eq!(variety(b""), 0);
        assert_eq!(variety(b"abba\0\xff"), 4);
    }
}
