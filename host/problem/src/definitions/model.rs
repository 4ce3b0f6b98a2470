//! Problems that the server of a companion's model causes.

use http::StatusCode;

use crate::definition::{Definition, define};

pub(crate) const MODEL_UNAVAILABLE: Definition = define(
    "model-unavailable",
    StatusCode::BAD_GATEWAY,
    "Model is not available",
    "the model's server refused the connection or failed",
    "Try again later; the operator finds the cause in the host's log.",
);

pub(crate) const MODEL_UNAUTHORIZED: Definition = define(
    "model-unauthorized",
    StatusCode::BAD_GATEWAY,
    "Model refused the host's credential",
    "the model's server did not accept the key it was given",
    "Ask the operator to check the credential of the model.",
);

pub(crate) const MODEL_RATE_LIMITED: Definition = define(
    "model-rate-limited",
    StatusCode::SERVICE_UNAVAILABLE,
    "Model is rate limited",
    "the model's server wants fewer requests",
    "Wait as long as `Retry-After` says, then try again.",
)
.retry_after(10);

pub(crate) const MODEL_OVERLOADED: Definition = define(
    "model-overloaded",
    StatusCode::SERVICE_UNAVAILABLE,
    "Model is overloaded",
    "the model's server has no room for the request",
    "Wait as long as `Retry-After` says, then try again.",
)
.retry_after(5);

pub(crate) const MODEL_INVALID: Definition = define(
    "model-invalid",
    StatusCode::BAD_GATEWAY,
    "Model could not take the request",
    "the model's server refused the request, or answered what is no answer",
    "Shorten the conversation or begin a new one; if it lasts, ask the operator to check the model's settings.",
);

pub(crate) const MODEL_TRUNCATED: Definition = define(
    "model-truncated",
    StatusCode::BAD_GATEWAY,
    "Reply was cut off",
    "the model's stream ended without saying that it was complete",
    "Try again.",
);

pub(crate) const MODEL_STALLED: Definition = define(
    "model-stalled",
    StatusCode::GATEWAY_TIMEOUT,
    "Model stopped answering",
    "nothing came from the model for too long",
    "Try again later.",
);
