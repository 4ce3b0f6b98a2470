//! Problems of the host: plugins, load, start and stop, storage.

use http::StatusCode;

use crate::definition::{Definition, define};

pub(crate) const PLUGIN_FAILED: Definition = define(
    "plugin-failed",
    StatusCode::INTERNAL_SERVER_ERROR,
    "A plugin failed",
    "the companion's persona, memory or model broke, or ran into its limits",
    "Try again; if it lasts, the operator finds the cause in the host's log under the request's id.",
);

pub(crate) const OVERLOADED: Definition = define(
    "overloaded",
    StatusCode::SERVICE_UNAVAILABLE,
    "Host is overloaded",
    "no sandbox was free in time",
    "Wait as long as `Retry-After` says, then try again.",
)
.retry_after(1);

pub(crate) const LOADING: Definition = define(
    "loading",
    StatusCode::SERVICE_UNAVAILABLE,
    "Host is loading",
    "the host has started, and is not ready yet",
    "Wait as long as `Retry-After` says, then try again.",
)
.retry_after(1);

pub(crate) const DRAINING: Definition = define(
    "draining",
    StatusCode::SERVICE_UNAVAILABLE,
    "Host is stopping",
    "the host takes no new turns, because it was told to stop or a part of it has failed",
    "Try again on another host, or on this one when it is back.",
)
.retry_after(5);

pub(crate) const STORAGE_UNAVAILABLE: Definition = define(
    "storage-unavailable",
    StatusCode::SERVICE_UNAVAILABLE,
    "Storage is not available",
    "the host could not read or write its data; nothing was half written",
    "Try again later; if it lasts, ask the operator to look at the disk and the host's log.",
)
.retry_after(5);

pub(crate) const INTERNAL: Definition = define(
    "internal",
    StatusCode::INTERNAL_SERVER_ERROR,
    "Internal error",
    "the host met something that it should not have",
    "Report it with the request's id; the operator finds the cause in the host's log.",
);
