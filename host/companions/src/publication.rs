//! A generation that hosts prepare together, for the status page.

/// A generation of the active set that was published and is not active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its number.
    pub generation: u64,
    /// How far it is.
    pub state: PublicationState,
    /// One line for each problem: of this host if it can't prepare it, otherwise of the hosts that it waits for, or for
    /// which it was refused.
    pub problems: Vec<String>,
}

/// How far a publication is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicationState {
    /// This host prepares it.
    Preparing,
    /// This host is prepared, and it waits for others.
    Prepared,
    /// This host can't prepare it, and tries again.
    Failed,
    /// It was refused. The generation in use stays.
    Refused,
}
