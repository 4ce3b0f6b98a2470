//! Problems of the request itself: its URL, headers, body and fields.

use http::StatusCode;

use crate::definition::{Definition, define};

pub(crate) const MALFORMED_JSON: Definition = define(
    "malformed-json",
    StatusCode::BAD_REQUEST,
    "Malformed JSON",
    "the body is not JSON",
    "Send one JSON object in UTF-8; the detail names the line and column where parsing stopped.",
);

pub(crate) const INVALID_REQUEST: Definition = define(
    "invalid-request",
    StatusCode::UNPROCESSABLE_ENTITY,
    "Invalid request",
    "a field, a header or a query parameter has a value that is not allowed",
    "Change the value that the detail names.",
);

pub(crate) const UNKNOWN_FIELD: Definition = define(
    "unknown-field",
    StatusCode::UNPROCESSABLE_ENTITY,
    "Unknown field",
    "the body or the query has a field that the route does not know",
    "Remove or rename the field; the detail names the nearest one that is known.",
);

pub(crate) const MESSAGE_EMPTY: Definition = define(
    "message-empty",
    StatusCode::UNPROCESSABLE_ENTITY,
    "Empty message",
    "`message` has no visible character",
    "Send a message with at least one visible character.",
);

pub(crate) const MESSAGE_TOO_LARGE: Definition = define(
    "message-too-large",
    StatusCode::PAYLOAD_TOO_LARGE,
    "Message too large",
    "the text of `message` is over the host's limit",
    "Shorten the message, or raise the host's limit on messages.",
);

pub(crate) const BODY_TOO_LARGE: Definition = define(
    "body-too-large",
    StatusCode::PAYLOAD_TOO_LARGE,
    "Body too large",
    "the request's body is over the host's limit",
    "Send a smaller body, or raise the host's limit on bodies.",
);

pub(crate) const BODY_TIMEOUT: Definition = define(
    "body-timeout",
    StatusCode::REQUEST_TIMEOUT,
    "Body did not arrive",
    "the request's body was not complete in time",
    "Send the whole body without pauses.",
);

pub(crate) const URI_TOO_LONG: Definition = define(
    "uri-too-long",
    StatusCode::URI_TOO_LONG,
    "URI too long",
    "the path and query of the URL are over the host's limit",
    "Shorten the URL, or raise the host's limit on URLs.",
);

pub(crate) const UNSUPPORTED_MEDIA_TYPE: Definition = define(
    "unsupported-media-type",
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "Unsupported media type",
    "a request with a body does not say once that it is JSON, or the body is compressed or not UTF-8",
    "Send one `Content-Type: application/json`, and the body in UTF-8 without compression.",
);

pub(crate) const ROUTE_NOT_FOUND: Definition = define(
    "route-not-found",
    StatusCode::NOT_FOUND,
    "No such route",
    "the path is not part of the API",
    "See /docs for the routes of this host.",
);

pub(crate) const METHOD_NOT_ALLOWED: Definition = define(
    "method-not-allowed",
    StatusCode::METHOD_NOT_ALLOWED,
    "Method not allowed",
    "the path is known, the method is not",
    "Use one of the methods in the `Allow` header.",
);
