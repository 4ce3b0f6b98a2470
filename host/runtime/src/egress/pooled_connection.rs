//! A connection in the pool: its requests, and how many more it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::connection::{OpenedConnection, RequestSender};

/// One connection of a pool.
pub(super) struct PooledConnection {
    id: u64,
    /// Of HTTP/1.1 it is absent while a request has it.
    sender: Option<RequestSender>,
    /// Requests under way.
    streams: usize,
    /// The server's first limit, until hyper has applied it.
    first_limit: Option<usize>,
    /// The most streams that hyper opens.
    limit: Arc<AtomicUsize>,
    /// When the last request ended, where none is under way.
    idle_since: Option<Instant>,
    is_used: bool,
}

impl PooledConnection {
    pub(super) fn new(id: u64, opened: OpenedConnection) -> Self {
        Self {
            id,
            sender: Some(opened.sender),
            streams: 0,
            first_limit: opened.first_limit,
            limit: opened.limit,
            idle_since: Some(Instant::now()),
            is_used: false,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Whether it has served a request.
    pub(super) fn is_used(&self) -> bool {
        self.is_used
    }

    /// Since when no request is under way.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.idle_since
    }

    /// Whether it is in use or could be.
    pub(super) fn is_alive(&self) -> bool {
        match &self.sender {
            None => true,
            Some(sender) => sender.is_ready(),
        }
    }

    /// How many more requests it takes now, of `most` at the same time.
    pub(super) fn free_streams(&mut self, most: usize) -> usize {
        match &self.sender {
            Some(sender @ RequestSender::Http1 { .. }) => usize::from(sender.is_ready()),
            Some(RequestSender::Http2(sender)) if sender.is_ready() => {
                let allowed = self.limit.load(Ordering::Relaxed);
                if self.first_limit == Some(allowed) {
                    self.first_limit = None;
                }
                let allowed = self.first_limit.unwrap_or(allowed).min(allowed).min(most);
                allowed.saturating_sub(self.streams)
            }
            _ => 0,
        }
    }

    /// Takes it for one request.
    pub(super) fn take(&mut self) -> Option<RequestSender> {
        let sender = match self.sender.take()? {
            RequestSender::Http2(sender) => {
                self.sender = Some(RequestSender::Http2(sender.clone()));
                RequestSender::Http2(sender)
            }
            exclusive @ RequestSender::Http1 { .. } => exclusive,
        };
        self.streams += 1;
        self.is_used = true;
        self.idle_since = None;
        Some(sender)
    }

    /// Ends a request. Returns false if the connection can serve no other one.
    pub(super) fn give_back(&mut self, sender: RequestSender) -> bool {
        self.streams = self.streams.saturating_sub(1);
        if self.streams == 0 {
            self.idle_since = Some(Instant::now());
        }
        let is_ready = sender.is_ready();
        if let RequestSender::Http1 { .. } = sender {
            self.sender = Some(sender);
        }
        is_ready
    }
}
