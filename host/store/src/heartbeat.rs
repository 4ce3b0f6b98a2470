//! The answer to a heartbeat of a host.

use crate::ids::TurnId;

/// The answer to [`Turns::heartbeat`](crate::Turns::heartbeat).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// The turns that still have their lease from this host, in no particular order.
    pub held: Vec<TurnId>,
    /// Those of them that a client wants to end ([`Turns::request_cancel`](crate::Turns::request_cancel)).
    pub cancel: Vec<TurnId>,
    /// The hosts that live, this one included.
    pub live_hosts: u32,
}
