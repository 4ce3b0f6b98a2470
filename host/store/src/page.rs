//! Pages of lists.

/// The most bytes of text and metadata in a page of messages. A page that reaches it has fewer items than asked for, but
/// at least one; [`Paged::next`] tells that there are more. Without this bound, a page of the longest messages would take
/// hundreds of megabytes.
pub const MAX_PAGE_BYTES: usize = 1 << 20;

/// Which page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many items at most; taken as 1 to 1000.
    pub limit: u32,
    /// [`Paged::next`] of the page before.
    pub after: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paged<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page, if there are more items.
    pub next: Option<String>,
}
