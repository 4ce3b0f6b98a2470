//! The slots that a turn holds while it runs: one of the user's, if users are bounded, and one of the host's.

use futures::FutureExt;
use masque_problem::{Kind, Problem};

use crate::host::{Host, SLOT_WAIT};
use crate::keyed_queue::{QueueBusy, QueueSlot};
use crate::request::ChatRequest;
use crate::user_slots::UserSlot;

/// The right to run. Dropping it lets another turn in.
pub(crate) struct Capacity {
    _user: Option<UserSlot>,
    _host: QueueSlot<()>,
}

impl Host {
    /// Both slots, if they are free at this moment.
    pub(super) async fn try_capacity(&self, request: &ChatRequest) -> Option<Capacity> {
        let host = self.slots.enter(()).now_or_never()?.ok()?;
        let user = match (reserved(request), &self.users) {
            (Some(place), _) => Some(place),
            (None, Some(users)) => Some(users.take(&request.owner).await?),
            (None, None) => None,
        };
        Some(Capacity { _user: user, _host: host })
    }

    /// Both slots. Waits for each a bounded time.
    pub(super) async fn wait_for_capacity(&self, request: &ChatRequest) -> Result<Capacity, Problem> {
        let user = match (reserved(request), &self.users) {
            (Some(place), _) => Some(place),
            (None, Some(users)) => Some(users.wait(&request.owner, SLOT_WAIT).await.ok_or_else(user_busy)?),
            (None, None) => None,
        };
        let host = self.slots.enter(()).await.map_err(|_: QueueBusy| Problem::from(Kind::Overloaded))?;
        Ok(Capacity { _user: user, _host: host })
    }
}

/// The place that was taken with the rate limits of the request, if it was not used yet.
fn reserved(request: &ChatRequest) -> Option<UserSlot> {
    request.place.as_ref()?.take()
}

fn user_busy() -> Problem {
    let detail = "You have as many turns under way as a user may; wait for one to end.";
    Problem::new(Kind::Overloaded, detail)
}
