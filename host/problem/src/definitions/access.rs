//! Problems of authentication, authorization, rate limits and API keys.

use http::StatusCode;

use crate::definition::{Definition, define};

pub(crate) const HOST_NOT_ALLOWED: Definition = define(
    "host-not-allowed",
    StatusCode::MISDIRECTED_REQUEST,
    "Host not allowed",
    "without authentication, `Host` is missing or no loopback name, or the request came through a proxy",
    "Use localhost, 127.0.0.1 or [::1] as the host of the URL.",
);

pub(crate) const ORIGIN_NOT_ALLOWED: Definition = define(
    "origin-not-allowed",
    StatusCode::FORBIDDEN,
    "Origin not allowed",
    "without authentication, a web page of another origin made the request",
    "Call the host from a program, or from a page that this host serves.",
);

pub(crate) const UNAUTHENTICATED: Definition = define(
    "unauthenticated",
    StatusCode::UNAUTHORIZED,
    "Not authenticated",
    "the route needs a token or an API key, and none was sent",
    "Send `Authorization: Bearer` with a token or an API key.",
);

pub(crate) const INVALID_TOKEN: Definition = define(
    "invalid-token",
    StatusCode::UNAUTHORIZED,
    "Invalid token",
    "the token or API key is malformed, expired, revoked, or not this host's",
    "Get a new token; `reason` says what is wrong with this one.",
);

pub(crate) const INSUFFICIENT_SCOPE: Definition = define(
    "insufficient-scope",
    StatusCode::FORBIDDEN,
    "Insufficient scope",
    "the token or API key does not have the scope that the route needs",
    "Use a token or key with the scope that `scope` names.",
);

pub(crate) const ADMIN_ELSEWHERE: Definition = define(
    "admin-elsewhere",
    StatusCode::FORBIDDEN,
    "Administration is elsewhere",
    "without authentication, an admin route was asked over the network",
    "Use the socket `admin.sock` in the host's data folder, or turn authentication on.",
);

pub(crate) const COMPANION_NOT_ALLOWED: Definition = define(
    "companion-not-allowed",
    StatusCode::FORBIDDEN,
    "Companion not allowed",
    "the API key, or the one that made the token, is for other companions",
    "See GET /companions for those that it allows.",
);

pub(crate) const RATE_LIMITED: Definition = define(
    "rate-limited",
    StatusCode::TOO_MANY_REQUESTS,
    "Too many requests",
    "the user, the API key or the address has asked too often",
    "Wait for `retry_after` seconds; the headers `RateLimit` and `RateLimit-Policy` say what is left.",
)
.retry_after(1);

pub(crate) const BUDGET_SPENT: Definition = define(
    "budget-spent",
    StatusCode::TOO_MANY_REQUESTS,
    "Token budget spent",
    "the user or the API key has used the model's tokens of the day",
    "Wait for the next day (UTC), or have the budget raised.",
)
.retry_after(60);

pub(crate) const ISSUER_UNAVAILABLE: Definition = define(
    "issuer-unavailable",
    StatusCode::SERVICE_UNAVAILABLE,
    "Issuer unavailable",
    "the keys of the token's issuer can't be had, so the token can't be judged",
    "Try again later; the host's log says what it ran into.",
)
.retry_after(5);

pub(crate) const MINTING_OFF: Definition = define(
    "minting-off",
    StatusCode::NOT_FOUND,
    "No tokens here",
    "the host has no secret to sign tokens with",
    "Get tokens from the identity provider, or set JWT_SECRET_KEY where the host is started.",
);

pub(crate) const KEY_NOT_FOUND: Definition = define(
    "key-not-found",
    StatusCode::NOT_FOUND,
    "No such API key",
    "the id is unknown, or the key is revoked and can't be rotated",
    "See GET /admin/keys for the ids.",
);
