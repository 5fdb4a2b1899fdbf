//! The parts of a batch that is divided because the database refuses it.
//!
//! Promises that the parts come in the batch's order and together are the whole batch, each item once. A refused part is
//! halved: with one bad item among `n` that is about `2 log n` transactions instead of `n`, and fewer than `2 n` if all are
//! bad.

use std::ops::Range;

/// The parts that are still to be tried, as ranges of the batch's indexes.
#[derive(Debug)]
pub(super) struct Parts(Vec<Range<usize>>);

impl Parts {
    /// First the whole of a batch of `len` items; nothing of an empty one.
    pub fn of(len: usize) -> Self {
        let whole = std::iter::once(0..len).filter(|whole| !whole.is_empty());
        Self(whole.collect())
    }

    /// Replaces a part by its halves. Returns `false`, and leaves nothing to try again, if it is a single item.
    pub fn take_apart(&mut self, part: &Range<usize>) -> bool {
        if part.len() < 2 {
            return false;
        }
        let middle = part.start + part.len() / 2;
        self.0.push(middle..part.end);
        self.0.push(part.start..middle);
        true
    }
}

impl Iterator for Parts {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        self.0.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which items are done, in order, which stand alone, and how many parts were tried.
    fn tried(len: usize, is_bad: impl Fn(usize) -> bool) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut done, mut alone, mut tries) = (Vec::new(), Vec::new(), 0);
        let mut parts = Parts::of(len);
        while let Some(part) = parts.next() {
            tries += 1;
            if !part.clone().any(&is_bad) {
                done.extend(part);
            } else if !parts.take_apart(&part) {
                alone.extend(part);
            }
        }
        (done, alone, tries)
    }

    #[test]
    fn a_bad_item_stands_alone_and_the_others_are_done_in_order() {
        for len in 0..70 {
            let (done, alone, tries) = tried(len, |item| item % 10 == 3);
            assert_eq!(done, (0..len).filter(|item| item % 10 != 3).collect::<Vec<_>>());
            assert_eq!(alone, (0..len).filter(|item| item % 10 == 3).collect::<Vec<_>>());
            assert!(tries <= 2 * len, "{tries} tries of {len}");
        }
    }

    #[test]
    fn one_among_sixty_four_takes_thirteen_tries_and_all_bad_fewer_than_twice_as_many_as_there_are() {
        assert_eq!(tried(64, |item| item == 17).2, 13);
        assert_eq!(tried(64, |_| true).2, 127);
        assert_eq!(tried(64, |_| false).2, 1);
        assert_eq!(tried(0, |_| true).2, 0);
    }
}
