//! Relay connections over keyset pages.
//!
//! Guarantees:
//!
//! - A cursor is opaque and belongs to one list and order: a cursor of another list or order is refused, not misread.
//! - A page has at most 100 elements.
//! - `totalCount` costs nothing unless it is selected.

use std::borrow::Cow;

use async_graphql::async_trait::async_trait;
use async_graphql::{Context, Object, OutputType, SimpleObject, TypeName};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::error::{ApiError, Result};
use tenterhook_store::page::{Slice, Window};

/// Default number of elements of a page.
const DEFAULT_SIZE: u16 = 20;
/// Maximum number of elements of a page.
const LARGEST_SIZE: i32 = 100;

/// The paging arguments of a list.
#[derive(Debug, Default)]
pub struct PageArguments {
    /// Number of elements from the start.
    pub first: Option<i32>,
    /// Only elements after this cursor.
    pub after: Option<String>,
    /// Number of elements from the end.
    pub last: Option<i32>,
    /// Only elements before this cursor.
    pub before: Option<String>,
}

impl PageArguments {
    /// The window that these arguments ask for. `decode` reads the cursors of the list.
    pub fn window<K>(&self, decode: impl Fn(&[u8]) -> Option<K>) -> Result<Window<K>> {
        if self.first.is_some() && self.last.is_some() {
            return Err(ApiError::bad_input("Pass `first` or `last`, not both."));
        }
        let cursor = |name: &str, cursor: &Option<String>| match cursor {
            None => Ok(None),
            Some(text) => BASE64_URL_SAFE_NO_PAD
                .decode(text)
                .ok()
                .and_then(|bytes| decode(&bytes))
                .map(Some)
                .ok_or_else(|| ApiError::bad_input(format!("`{name}` is not a cursor of this list."))),
        };
        Ok(Window {
            size: match (self.first, self.last) {
                (None, None) => DEFAULT_SIZE,
                (Some(size), _) => page_size("first", size)?,
                (None, Some(size)) => page_size("last", size)?,
            },
            from_end: self.last.is_some(),
            after: cursor("after", &self.after)?,
            before: cursor("before", &self.before)?,
        })
    }
}

fn page_size(name: &str, size: i32) -> Result<u16> {
    u16::try_from(size)
        .ok()
        .filter(|_| (1..=LARGEST_SIZE).contains(&size))
        .ok_or_else(|| ApiError::bad_input(format!("`{name}` must be from 1 to {LARGEST_SIZE}.")))
}

/// The maximum number of elements of a page, for computing the cost of a query.
pub fn page_cost(first: Option<i32>, last: Option<i32>) -> usize {
    let size = first
        .or(last)
        .map_or(i32::from(DEFAULT_SIZE), |size| size.clamp(1, LARGEST_SIZE));
    usize::try_from(size).unwrap_or_default()
}

/// The highest cost of a field: far above any limit, and low enough that sums of it cannot overflow.
const UNAFFORDABLE: usize = 1 << 40;

/// Cost of a field that reads its selection for each element: 1 + `elements` × `each`.
///
/// Saturates: nested pages multiply beyond the range of a number before the depth of a query is checked.
pub fn cost_of(elements: usize, each: usize) -> usize {
    elements.saturating_mul(each).saturating_add(1).min(UNAFFORDABLE)
}

/// A page of a list.
pub struct Connection<T> {
    edges: Vec<Edge<T>>,
    has_previous: bool,
    has_next: bool,
    total: Box<dyn TotalCount>,
}

/// The number of elements of a whole list. Read only if it is selected.
#[async_trait]
pub trait TotalCount: Send + Sync {
    /// Counts the elements.
    async fn count(&self, ctx: &Context<'_>) -> Result<i64>;
}

/// The count of an empty list.
struct Nothing;

#[async_trait]
impl TotalCount for Nothing {
    async fn count(&self, _ctx: &Context<'_>) -> Result<i64> {
        Ok(0)
    }
}

impl<T> Connection<T> {
    /// Makes a page of a slice. `total` counts the whole list; `cursor` encodes the position of an element.
    pub fn new<R>(
        slice: Slice<R>,
        total: impl TotalCount + 'static,
        cursor: impl Fn(&R) -> Vec<u8>,
        node: impl Fn(R) -> T,
    ) -> Self {
        let edge = |row: R| Edge {
            cursor: BASE64_URL_SAFE_NO_PAD.encode(cursor(&row)),
            node: node(row),
        };
        Self {
            edges: slice.rows.into_iter().map(edge).collect(),
            has_previous: slice.has_previous,
            has_next: slice.has_next,
            total: Box::new(total),
        }
    }

    /// A list without elements.
    pub fn empty() -> Self {
        Self {
            edges: Vec::new(),
            has_previous: false,
            has_next: false,
            total: Box::new(Nothing),
        }
    }
}

impl<T: OutputType> TypeName for Connection<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", <T as OutputType>::type_name()).into()
    }
}

/// A page of a list.
#[Object(name_type)]
impl<T: OutputType> Connection<T> {
    /// The elements with their cursors.
    async fn edges(&self) -> &[Edge<T>] {
        &self.edges
    }

    /// The elements without their cursors.
    async fn nodes(&self) -> Vec<&T> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// Position of the page in the list.
    async fn page_info(&self) -> PageInfo {
        PageInfo {
            has_next_page: self.has_next,
            has_previous_page: self.has_previous,
            start_cursor: self.edges.first().map(|edge| edge.cursor.clone()),
            end_cursor: self.edges.last().map(|edge| edge.cursor.clone()),
        }
    }

    /// How many elements the whole list has. Counted only if selected.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let count = self.total.count(ctx).await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

/// An element of a list with its cursor.
pub struct Edge<T> {
    cursor: String,
    node: T,
}

impl<T: OutputType> TypeName for Edge<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", <T as OutputType>::type_name()).into()
    }
}

/// An element of a list with its cursor.
#[Object(name_type)]
impl<T: OutputType> Edge<T> {
    /// Position of the element in the list: pass it as `after` or `before` to continue there. Opaque.
    async fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The element.
    async fn node(&self) -> &T {
        &self.node
    }
}

/// Position of a page in its list.
#[derive(SimpleObject)]
pub struct PageInfo {
    /// Whether there are elements after the page.
    has_next_page: bool,
    /// Whether there are elements before the page.
    has_previous_page: bool,
    /// The cursor of the page's first element; null on an empty page.
    start_cursor: Option<String>,
    /// The cursor of the page's last element; null on an empty page.
    end_cursor: Option<String>,
}
