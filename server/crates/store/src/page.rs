//! Keyset pages: the next so many rows of an ordered list, from either end, between two keys.
//!
//! Promises that a page never repeats or skips a row because another was inserted meanwhile. Does not promise that
//! the pages of a list are of one moment.

/// Which part of an ordered list is wanted. Keys are exclusive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Window<K> {
    /// At most so many rows.
    pub size: u16,
    /// Whether they are counted from the list's end.
    pub from_end: bool,
    /// Only rows after this key.
    pub after: Option<K>,
    /// Only rows before this key.
    pub before: Option<K>,
}

/// The rows of a window, in the list's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether rows stand before them.
    pub has_previous: bool,
    /// Whether rows stand after them.
    pub has_next: bool,
}

/// Which way a list, or a query over it, runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

impl Direction {
    /// The order to query in, so that a window counted from the end is the first rows too.
    pub fn queried<K>(self, window: &Window<K>) -> Self {
        match (self, window.from_end) {
            (Self::Ascending, false) | (Self::Descending, true) => Self::Ascending,
            (Self::Descending, false) | (Self::Ascending, true) => Self::Descending,
        }
    }

    /// How a row's key compares to a key that stands before it in the list.
    pub fn beyond(self) -> &'static str {
        match self {
            Self::Ascending => ">",
            Self::Descending => "<",
        }
    }

    /// How a row's key compares to a key that stands after it in the list.
    pub fn short_of(self) -> &'static str {
        match self {
            Self::Ascending => "<",
            Self::Descending => ">",
        }
    }

    /// As SQL says it.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }
}

impl<K> Window<K> {
    /// How many rows to query: one more than wanted tells whether there are more.
    pub fn limit(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// Makes a slice of what was queried with [`Direction::queried`] and [`Window::limit`].
    ///
    /// On the side where the window was bounded by a key there is at least the row of that key.
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
    fn from_the_end_the_rows_come_back_in_the_lists_order() {
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
