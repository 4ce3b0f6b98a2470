//! Pages of lists.

/// Which page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many items; taken as 1 to 1000.
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
