//! Keyset pages: the next rows of an ordered list, from either end, between two keys.
//!
//! Guarantees: a page never repeats or skips a row because another row was inserted. Not guaranteed: that all pages of a
//! list show the same moment.

/// The requested part of an ordered list. Keys are exclusive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Window<K> {
    /// The maximum number of rows.
    pub size: u16,
    /// Whether to count from the list's end.
    pub from_end: bool,
    /// Only rows after this key.
    pub after: Option<K>,
    /// Only rows before this key.
    pub before: Option<K>,
}

/// The rows of a window, in the list's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<T> {
    /// At most as many rows as the window asked for.
    pub rows: Vec<T>,
    /// Whether there are rows before them.
    pub has_previous: bool,
    /// Whether there are rows after them.
    pub has_next: bool,
}

/// The direction of a list, or of a query over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

impl Direction {
    /// The direction to query in, so that a window counted from the end is also the first rows.
    pub fn queried<K>(self, window: &Window<K>) -> Self {
        match (self, window.from_end) {
            (Self::Ascending, false) | (Self::Descending, true) => Self::Ascending,
            (Self::Descending, false) | (Self::Ascending, true) => Self::Descending,
        }
    }

    /// The comparison of a row's key with a key that is before it in the list.
    pub fn beyond(self) -> &'static str {
        match self {
            Self::Ascending => ">",
            Self::Descending => "<",
        }
    }

    /// The comparison of a row's key with a key that is after it in the list.
    pub(crate) fn short_of(self) -> &'static str {
        match self {
            Self::Ascending => "<",
            Self::Descending => ">",
        }
    }

    /// The SQL keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }
}

impl<K> Window<K> {
    /// The number of rows to query: one more than requested shows whether there are more.
    pub fn limit(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// Makes a slice of rows that were queried with [`Direction::queried`] and [`Window::limit`].
    ///
    /// On the side where a key bounds the window there is at least one more row, that of the key.
    pub fn cut<T>(&self, mut rows: Vec<T>) -> Slice<T> {
        let more = rows.len() > usize::from(self.size);
        rows.truncate(usize::from(self.size));
        if self.from_end {
            rows.reverse();
            Slice {
                rows,
                has_previous: more,
                has_next: self.before.is_some(),
            }
        } else {
            Slice {
                rows,
                has_previous: self.after.is_some(),
                has_next: more,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from_end: bool) -> Window<i32> {
        Window {
            size: 2,
            from_end,
            after: None,
            before: None,
        }
    }

    #[test]
    fn one_row_more_than_wanted_means_that_more_follow() {
        let slice = window(false).cut(vec![1, 2, 3]);
        assert_eq!(
            slice,
            Slice {
                rows: vec![1, 2],
                has_previous: false,
                has_next: true
            }
        );
    }

    #[test]
    fn a_page_from_the_end_keeps_the_order_of_the_list() {
        let slice = window(true).cut(vec![9, 8, 7]);
        assert_eq!(
            slice,
            Slice {
                rows: vec![8, 9],
                has_previous: true,
                has_next: false
            }
        );
        assert_eq!(Direction::Descending.queried(&window(true)), Direction::Ascending);
    }

    #[test]
    fn a_page_after_a_key_has_a_previous_one() {
        let slice = Window {
            after: Some(7),
            ..window(false)
        }
        .cut(vec![8]);
        assert_eq!(
            slice,
            Slice {
                rows: vec![8],
                has_previous: true,
                has_next: false
            }
        );
    }
}
