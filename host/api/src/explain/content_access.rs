//! What of a record an explanation shows.

/// What an explanation shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentAccess {
    /// What belongs to the user of the turn: their messages and memories, counts and times.
    OwnOnly,
    /// Also prompts, values of host calls, grants and digests of settings.
    All,
}

impl ContentAccess {
    pub(super) fn shows_content(self) -> bool {
        self == Self::All
    }
}
