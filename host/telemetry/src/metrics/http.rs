//! Requests and connections.

use super::buckets::REQUEST_SECONDS;
use super::declare::families;

families! {
    counter REQUESTS = "http_requests_total" ["method", "endpoint", "status"],
        "Requests by method, route template and status code; 499 where the client left before there was an answer.";
    histogram REQUEST_DURATION = "http_request_duration_seconds" ["method", "endpoint", "status"] in REQUEST_SECONDS,
        "Time from the arrival of a request to the last byte of its response, or until its client left.";
    gauge REQUESTS_IN_PROGRESS = "http_requests_in_progress" ["method", "endpoint"],
        "Requests whose response is not sent yet.";
    gauge CONNECTIONS = "masque_connections" ["listener"],
        "Open connections by listener: `public`, `admin` or `socket`.";
    counter CONNECTIONS_ACCEPTED = "masque_connections_accepted_total" ["listener"] of [["public", "admin", "socket"]],
        "Connections that were accepted.";
    counter CONNECTIONS_CLOSED_EARLY = "masque_connections_closed_early_total" ["listener", "reason"]
        of [["public", "admin", "socket"], ["evicted", "handshake", "idle", "stalled"]],
        "Connections that the host closed by itself while clients held them: `evicted` at the limit, `handshake` that failed or took too long, `idle` without a request for too long, `stalled` while the client read nothing.";
    gauge CERTIFICATE_EXPIRY = "masque_certificate_expiry_timestamp_seconds" [],
        "When the certificate chain that clients are shown expires: the first of its certificates, in seconds since 1970.";
    counter RATE_LIMITED = "masque_rate_limited_requests_total" ["limit"] of [["address", "user", "key"]],
        "Requests that a rate limit refused: that of the client's `address`, of the `user`, or of the API `key`.";
    counter AUTHENTICATION_FAILURES = "masque_authentication_failures_total" ["reason"]
        of [["missing", "invalid", "expired", "revoked", "scope"]],
        "Requests that were not authenticated or lack the scope of their route, by reason: `missing`, `invalid`, `expired`, `revoked`, `scope`.";
}
