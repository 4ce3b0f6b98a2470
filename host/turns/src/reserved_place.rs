//! A place of a user that is taken together with the rate limits of a request, before its body is read: both ask the memory
//! that hosts share, and a turn waits for it once.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::user_slots::UserSlot;

/// A place for the turn that a request may begin. Released when the request and all clones are dropped, unless a turn has
/// taken it.
#[derive(Clone)]
pub struct ReservedPlace(Arc<Mutex<Option<UserSlot>>>);

impl ReservedPlace {
    pub(crate) fn new(slot: UserSlot) -> Self {
        Self(Arc::new(Mutex::new(Some(slot))))
    }

    /// The place, for the first who asks.
    pub(crate) fn take(&self) -> Option<UserSlot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for ReservedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReservedPlace").finish_non_exhaustive()
    }
}
