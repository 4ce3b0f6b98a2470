//! The slots that a turn holds while it runs: one of the user's, if users are bounded, and one of the host's.

use futures::FutureExt;
use masque_problem::{Kind, Problem};
use masque_telemetry::metrics::turns::WAITING;
use masque_telemetry::trace::SpanParent;

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
    pub(super) async fn wait_for_capacity(
        &self,
        request: &ChatRequest,
        trace: &SpanParent,
    ) -> Result<Capacity, MissingSlot> {
        let user = match (reserved(request), &self.users) {
            (Some(place), _) => Some(place),
            (None, Some(users)) => {
                let (_waiting, _span) = (WAITING.raise(&["user"]), trace.span("wait for user slot"));
                Some(users.wait(&request.owner, SLOT_WAIT).await.ok_or(MissingSlot::User)?)
            }
            (None, None) => None,
        };
        let (_waiting, _span) = (WAITING.raise(&["host"]), trace.span("wait for host slot"));
        let host = self.slots.enter(()).await.map_err(|_: QueueBusy| MissingSlot::Host)?;
        Ok(Capacity { _user: user, _host: host })
    }
}

/// The slot that did not become free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissingSlot {
    User,
    Host,
}

impl MissingSlot {
    /// The label in metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::User => "user-slots",
            Self::Host => "host-slots",
        }
    }

    /// What the client is told.
    pub(super) fn problem(self) -> Problem {
        match self {
            Self::User => {
                let detail = "You have as many turns under way as a user may; wait for one to end.";
                Problem::new(Kind::Overloaded, detail)
            }
            Self::Host => Problem::from(Kind::Overloaded),
        }
    }
}

/// The place that was taken with the rate limits of the request, if it was not used yet.
fn reserved(request: &ChatRequest) -> Option<UserSlot> {
    request.place.as_ref()?.take()
}
