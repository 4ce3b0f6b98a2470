//! Room for connections. Where there is none left, the connection that has been idle for the longest makes some: a client
//! with a request must not wait behind those that ask for nothing. One with a request under way is never closed for this.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// What a connection gets to leave its place before the next one is asked.
const LEAVING: Duration = Duration::from_millis(250);

/// All places of one listener.
pub(super) struct Room {
    places: Arc<Semaphore>,
    idle: Arc<Idle>,
}

/// The connections without a request, by when they began to be.
#[derive(Default)]
struct Idle {
    queue: Mutex<Queue>,
    /// That one was added.
    added: Notify,
}

#[derive(Default)]
struct Queue {
    by_age: BTreeMap<u64, Arc<Notify>>,
    next: u64,
}

impl Room {
    pub(super) fn new(places: usize) -> Self {
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        Self { places, idle: Arc::default() }
    }

    /// A place, as soon as there is one; `None` never, for the places are there as long as the room.
    pub(super) async fn place(&self) -> Option<Place> {
        let mut permit = std::pin::pin!(Arc::clone(&self.places).acquire_owned());
        loop {
            tokio::select! {
                biased;
                permit = permit.as_mut() => return Some(Place::new(permit.ok()?, Arc::clone(&self.idle))),
                () = self.make() => {}
            }
        }
    }

    /// Asks one connection to leave, once there is one that can.
    async fn make(&self) {
        loop {
            let oldest = lock(&self.idle.queue).by_age.pop_first();
            match oldest {
                Some((_, leave)) => {
                    leave.notify_one();
                    return tokio::time::sleep(LEAVING).await;
                }
                None => self.idle.added.notified().await,
            }
        }
    }
}

/// What one connection takes up, for as long as it is held.
pub(super) struct Place {
    occupant: Arc<Occupant>,
    _permit: OwnedSemaphorePermit,
}

struct Occupant {
    idle: Arc<Idle>,
    leave: Arc<Notify>,
    doing: Mutex<Doing>,
}

enum Doing {
    /// Since when, as the queue counts.
    Nothing(u64),
    Requests(usize),
    Gone,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, idle: Arc<Idle>) -> Self {
        let leave = Arc::new(Notify::new());
        let since = idle.add(&leave);
        let occupant = Occupant { idle, leave, doing: Mutex::new(Doing::Nothing(since)) };
        Self { occupant: Arc::new(occupant), _permit: permit }
    }

    /// Notes that a request has come, until the result is dropped.
    pub(super) fn request(&self) -> UnderWay {
        let mut doing = lock(&self.occupant.doing);
        match &mut *doing {
            Doing::Nothing(since) => {
                self.occupant.idle.remove(*since);
                *doing = Doing::Requests(1);
            }
            Doing::Requests(count) => *count += 1,
            Doing::Gone => {}
        }
        UnderWay(Arc::clone(&self.occupant))
    }

    /// Resolves when the place is wanted for someone else and nothing is under way in it.
    pub(super) async fn wanted(&self) {
        loop {
            self.occupant.leave.notified().await;
            if matches!(*lock(&self.occupant.doing), Doing::Nothing(_)) {
                return;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let doing = std::mem::replace(&mut *lock(&self.occupant.doing), Doing::Gone);
        if let Doing::Nothing(since) = doing {
            self.occupant.idle.remove(since);
        }
    }
}

/// One request, from its head to the end of its answer.
pub(super) struct UnderWay(Arc<Occupant>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut doing = lock(&self.0.doing);
        match &mut *doing {
            Doing::Requests(1) => *doing = Doing::Nothing(self.0.idle.add(&self.0.leave)),
            Doing::Requests(count) => *count -= 1,
            Doing::Nothing(_) | Doing::Gone => {}
        }
    }
}

impl UnderWay {
    /// The answer, which holds this until its last byte.
    pub(super) fn until_the_end_of(self, response: Response) -> Response {
        response.map(|body| Body::new(Held { body, _request: self }))
    }
}

impl Idle {
    fn add(&self, leave: &Arc<Notify>) -> u64 {
        let mut queue = lock(&self.queue);
        let since = queue.next;
        queue.next += 1;
        queue.by_age.insert(since, Arc::clone(leave));
        self.added.notify_one();
        since
    }

    fn remove(&self, since: u64) {
        lock(&self.queue).by_age.remove(&since);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Held {
    body: Body,
    _request: UnderWay,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    async fn place(room: &Room) -> Place {
        room.place().await.unwrap()
    }

    fn is_wanted(place: &Place) -> bool {
        place.wanted().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_has_been_idle_the_longest_makes_room() {
        let room = Room::new(3);
        let (first, second, third) = (place(&room).await, place(&room).await, place(&room).await);
        // The first is younger again after a request, and the second has one under way.
        drop(first.request());
        let request = second.request();
        let mut next = Box::pin(room.place());
        assert!(next.as_mut().now_or_never().is_none());
        assert!(is_wanted(&third) && !is_wanted(&first) && !is_wanted(&second));
        drop(third);
        assert!(next.await.is_some());
        drop(request);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_to_leave_while_there_is_room() {
        let room = Room::new(2);
        let (first, second) = (place(&room).await, place(&room).await);
        tokio::time::sleep(10 * LEAVING).await;
        assert!(!is_wanted(&first) && !is_wanted(&second));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_got_a_request_meanwhile_stays_and_the_next_is_asked() {
        let room = Room::new(2);
        let (first, second) = (place(&room).await, place(&room).await);
        let mut next = Box::pin(room.place());
        assert!(next.as_mut().now_or_never().is_none());
        let request = first.request();
        assert!(!is_wanted(&first));
        tokio::select! {
            _ = next.as_mut() => panic!("there is no room"),
            () = second.wanted() => {}
        }
        drop((second, request));
        assert!(next.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_busy_the_first_to_finish_makes_room() {
        let room = Room::new(1);
        let only = place(&room).await;
        let (one, other) = (only.request(), only.request());
        let mut next = Box::pin(room.place());
        assert!(next.as_mut().now_or_never().is_none());
        drop(one);
        assert!(next.as_mut().now_or_never().is_none() && !is_wanted(&only));
        drop(other);
        assert!(next.as_mut().now_or_never().is_none() && is_wanted(&only));
    }
}
