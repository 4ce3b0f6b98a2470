//! `GET /metrics`: what the host counts and measures, for Prometheus. Nothing in it is about a single user.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use masque_problem::{Kind, Problem};
use masque_telemetry::metrics::encode;

/// The metrics, in Prometheus' text format or, for a reader that asks for it, in OpenMetrics 1.0 with exemplars.
///
/// On the public listener it needs the scope `metrics:read`, on the admin listener and the socket none.
#[utoipa::path(
    get, path = "/metrics", tag = "host",
    responses(
        (status = 200, description = "The metrics.",
            content((String = "text/plain"), (String = "application/openmetrics-text"))),
    ),
)]
pub(crate) async fn metrics(headers: HeaderMap) -> Result<Response, Problem> {
    // Several headers are one list (RFC 9110, section 5.3).
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accept = accept.collect::<Vec<_>>().join(",");
    let exposition = tokio::task::spawn_blocking(move || encode(Some(&accept))).await.map_err(|error| {
        tracing::error!(%error, "the metrics can't be read");
        Problem::from(Kind::Internal)
    })?;
    Ok(([(header::CONTENT_TYPE, exposition.content_type)], exposition.body).into_response())
}
