//! The memory that the host holds for one guest: field sets, requests and responses, sent or not.
//!
//! The threat: a guest makes the host hold memory that counts as nobody's: a thousand requests with unsent bodies, or field sets
//! that are each within their limit. The policy: everything is measured in one place, before every operation of `wasi:http`, and
//! an operation begins only while the sum is within the limit. What can't be measured is counted at its largest: the buffer of
//! an unsent body, and a request that is under way. The accepted consequences: the limit may be exceeded by the size of one
//! operation, and field sets that share their memory are counted several times.
//!
//! Everything else that the host holds for a guest has a small limit of its own and is counted where it arises, so that nothing
//! is locked or summed for each item of a reply:
//!
//! | what | counted in |
//! | --- | --- |
//! | headers and trailers of one response; requests under way | `egress::header_limit`, `egress::gate` |
//! | pollables, errors and other small resources | the capacity of the resource tables (`store_data`) |
//! | handles, tasks, streams and futures of the component model; arguments and results | wasmtime, set in `call::run` |
//! | answers of `state` and `history`, one at a time | `host_state`, and the capabilities that answer |
//! | the answer of a nested call, one at a time; what a job has written | the capabilities that hold them |
//! | items of a reply that wait for its reader | `reply::buffer` |
//! | standard output and standard error; lines of the log | `guest_log`; `call_log` |
//! | reasons of refusals | `diagnostics` |
//! | what a call asked the host for | `report` |
//! | open files, what is written to them, and the space that they take | `files`, `scratch` |
//! | stacks of the instances within a component | `stacks` |
//! | linear memories and tables | `store_limiter` |
//!
//! `docs/architecture.md` has the same rows with their limits and tests.

use std::any::Any;

use http::HeaderMap;
use masque_grants::Limits;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::bindings::http::types::{Method, Scheme};
use wasmtime_wasi_http::p2::body::HostFutureTrailers;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::p3::{Request, Response};

use crate::diagnostics::CallDiagnostics;
use crate::egress::{BODY_CHUNK_BYTES, BODY_CHUNKS};

/// What an entry of a resource table takes at least.
const ENTRY_BYTES: usize = 256;
/// What one place of a header map takes: name, value, hash and links, as `http` 1 lays them out.
const HEADER_PLACE_BYTES: usize = 112;
/// What an unsent body of WASI 0.2 may hold beside its trailers. Its writes don't pass here, so its whole buffer is counted.
const UNSENT_BODY_BYTES: usize = BODY_CHUNK_BYTES * (BODY_CHUNKS + 1);
/// What a request under way may hold: the rest of its body, its head, the response's head, and what was received and not read.
const REQUEST_BYTES: usize = 1 << 20;

/// Holds the sum to the limit of the call.
pub(crate) struct MemoryAccount {
    limit: usize,
    /// The most bytes in the trailers of an unsent body, which can't be measured either.
    trailer_bytes: usize,
    diagnostics: CallDiagnostics,
    /// Stands in for the resource table of a guest that is past its limit. It has no entry and takes none, so that every
    /// operation fails as an error of the host, which ends the call.
    closed: ResourceTable,
}

impl MemoryAccount {
    pub(crate) fn new(limits: &Limits, diagnostics: CallDiagnostics) -> Self {
        let mut closed = ResourceTable::new();
        closed.set_max_capacity(0);
        Self { limit: limits.host_memory_bytes, trailer_bytes: limits.header_bytes, diagnostics, closed }
    }

    /// Reports to the next call of the store.
    pub(crate) fn begin_call(&mut self, diagnostics: CallDiagnostics) {
        self.diagnostics = diagnostics;
    }

    /// The table for the next operation: the guest's own, or one that refuses everything once the guest is past its limit.
    pub(crate) fn admit<'a>(
        &'a mut self,
        table: &'a mut ResourceTable,
        requests_under_way: usize,
    ) -> &'a mut ResourceTable {
        let unsent_body = UNSENT_BODY_BYTES.saturating_add(self.trailer_bytes);
        let resources: usize = table.iter_mut().map(|entry| entry_bytes(entry, unsent_body)).sum();
        if resources.saturating_add(requests_under_way.saturating_mul(REQUEST_BYTES)) <= self.limit {
            return table;
        }
        self.diagnostics.record_host_memory(self.limit);
        &mut self.closed
    }
}

/// What one resource takes, where a body that is not sent takes `unsent_body`.
fn entry_bytes(entry: &dyn Any, unsent_body: usize) -> usize {
    ENTRY_BYTES.saturating_add(if let Some(fields) = entry.downcast_ref::<FieldMap>() {
        header_bytes(fields)
    } else if let Some(request) = entry.downcast_ref::<Request>() {
        let authority = request.authority.as_ref().map_or(0, |authority| authority.as_str().len());
        let path = request.path_with_query.as_ref().map_or(0, |path| path.as_str().len());
        let scheme = request.scheme.as_ref().map_or(0, |scheme| scheme.as_str().len());
        header_bytes(&request.headers) + request.method.as_str().len() + authority + path + scheme
    } else if let Some(response) = entry.downcast_ref::<Response>() {
        header_bytes(&response.headers)
    } else if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
        let body = if request.body.is_some() { unsent_body } else { 0 };
        outgoing_request_bytes(request).saturating_add(body)
    } else if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
        header_bytes(&response.headers)
    } else if let Some(HostFutureIncomingResponse::Ready(Ok((response, _)))) = entry.downcast_ref() {
        header_bytes(response.headers())
    } else if let Some(HostFutureTrailers::Done(Ok(Some(trailers)))) = entry.downcast_ref() {
        header_bytes(trailers)
    } else {
        0
    })
}

fn outgoing_request_bytes(request: &HostOutgoingRequest) -> usize {
    let method = match &request.method {
        Method::Other(name) => name.len(),
        _ => 0,
    };
    let scheme = match &request.scheme {
        Some(Scheme::Other(name)) => name.len(),
        _ => 0,
    };
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    header_bytes(&request.headers)
        + method
        + scheme
        + text(&request.authority)
        + text(&request.path_with_query)
}

/// What a header map takes: the places that it has reserved, the text, and the further values of a name.
fn header_bytes(headers: &HeaderMap) -> usize {
    let further = headers.len().saturating_sub(headers.keys_len());
    let places = headers.capacity().max(headers.keys_len()).saturating_add(further);
    let text: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    places.saturating_mul(HEADER_PLACE_BYTES).saturating_add(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(host_memory_bytes: usize, diagnostics: &CallDiagnostics) -> MemoryAccount {
        MemoryAccount::new(&Limits { host_memory_bytes, ..Limits::default() }, diagnostics.clone())
    }

    fn fields(values: usize, bytes: usize) -> FieldMap {
        let mut fields = FieldMap::new_mutable(usize::MAX);
        for number in 0..values {
            let name = format!("x-{number}").parse().unwrap();
            fields.append_raw(name, "v".repeat(bytes).parse().unwrap()).unwrap();
        }
        fields
    }

    #[test]
    fn the_sum_over_all_resources_is_held_to_the_limit() {
        let diagnostics = CallDiagnostics::default();
        let mut account = account(100_000, &diagnostics);
        let mut table = ResourceTable::new();
        let first = table.push(fields(1, 60_000)).unwrap();
        assert!(account.admit(&mut table, 0).get(&first).is_ok());
        let second = table.push(fields(1, 60_000)).unwrap();
        assert_eq!(diagnostics.host_memory(), None);
        let refused = account.admit(&mut table, 0);
        assert!(refused.get(&first).is_err() && refused.push(()).is_err());
        assert_eq!(diagnostics.host_memory(), Some(100_000));
        table.delete(second).unwrap();
        assert!(account.admit(&mut table, 0).get(&first).is_ok());
    }

    #[test]
    fn requests_under_way_count_with_the_resources() {
        let mut account = account(2 * REQUEST_BYTES, &CallDiagnostics::default());
        let mut table = ResourceTable::new();
        table.push(fields(1, 1000)).unwrap();
        assert!(account.admit(&mut table, 1).push(()).is_ok());
        assert!(account.admit(&mut table, 2).push(()).is_err());
    }

    #[test]
    fn many_small_headers_count_for_more_than_their_text() {
        let fields = fields(100, 1);
        assert!(header_bytes(&fields) >= 100 * HEADER_PLACE_BYTES);
        assert!(header_bytes(&fields) < 100 * 4 * HEADER_PLACE_BYTES);
    }
}
