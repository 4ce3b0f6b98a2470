//! What is said of a table that is moved.

/// What a column holds, and how its values are written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// An id, as 16 bytes.
    Id,
    /// An id, or the nil id for no owner.
    Owner,
    /// A text.
    Text,
    /// A list of texts, as a JSON array.
    Texts,
    /// A number, a time, a count.
    Integer,
    /// Yes or no, as 1 or 0.
    Flag,
    /// Bytes.
    Bytes,
}

/// How the rows of a table come into the other database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// They are inserted.
    Inserted,
    /// There is one row, which every database has from its beginning. It takes these values.
    Updated,
    /// The other database makes them from rows of other tables. They are only compared.
    Derived,
}

/// A table of every database.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// How its rows are moved.
    pub moved: Moved,
    /// Its columns, without those that the database computes.
    pub columns: &'static [(&'static str, ColumnKind)],
    /// The columns that order its rows, in the same way in every database.
    pub order: &'static [&'static str],
}
