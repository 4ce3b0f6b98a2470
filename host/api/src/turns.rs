//! `/turns/{id}`: the state of a turn, its events, and its cancellation.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use masque_http::RequestId;
use masque_store::TurnId;

use super::id::Id;
use super::reach;
use super::schema::ServerSentEvent;
use super::sse;
use super::state::{App, Caller};
use super::view::TurnView;
use masque_problem::{Kind, Problem};

const LAST_EVENT_ID: &str = "last-event-id";

/// Returns the state of a turn and its reply.
#[utoipa::path(
    get, path = "/turns/{id}", tag = "turns",
    params(("id" = Uuid, Path, description = "The `turn_id` of the reply or of `turn.created`.")),
    responses(
        (status = 200, description = "The turn.", body = TurnView),
        (status = 404, description = "No such turn."),
    ),
)]
pub(crate) async fn show(
    State(app): State<App>,
    Caller(principal): Caller,
    Id(turn): Id<TurnId>,
) -> Result<Json<TurnView>, Problem> {
    let record = reach::turn(&app, &principal, turn).await?;
    Ok(Json(record.into()))
}

/// Streams the events of a turn, from the first or after `Last-Event-ID`, whichever host runs it.
///
/// Available while the turn runs and for a minute after its end. Hosts without Redis know only the events of their own turns:
/// of a turn of another host they send the reply at its end, to a client that has no event of it yet.
#[utoipa::path(
    get, path = "/turns/{id}/events", tag = "turns",
    params(
        ("id" = Uuid, Path, description = "The `turn_id` of the reply or of `turn.created`."),
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event you have.", pattern = "^[0-9]{1,19}$"),
    ),
    responses(
        (status = 200, description = "The events.", body = ServerSentEvent, content_type = "text/event-stream"),
        (status = 204, description = "`Last-Event-ID` was the last event: nothing follows, and a browser stops reconnecting."),
        (status = 404, description = "No such turn."),
        (status = 410, description = "The events are no longer kept, or are on another host."),
        (status = 422, description = "`Last-Event-ID` is not a number, or is higher than any event of the turn."),
    ),
)]
pub(crate) async fn events(
    State(app): State<App>,
    Caller(principal): Caller,
    Extension(request): Extension<RequestId>,
    Id(turn): Id<TurnId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = last_event(&headers)?;
    reach::check_turn(&app, &principal, turn).await?;
    Ok(match app.turns.events(&principal.owner, turn, after).await? {
        Some(reader) => sse::response(reader, app.options.keepalive, &request),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Cancels a running turn, whichever host runs it. The reply so far is kept and marked `interrupted`.
///
/// A turn that has ended is not changed.
#[utoipa::path(
    post, path = "/turns/{id}/cancel", tag = "turns",
    params(("id" = Uuid, Path, description = "The `turn_id` of `turn.created`.")),
    responses(
        (status = 200, description = "The turn after the cancellation.", body = TurnView),
        (status = 404, description = "No such turn."),
        (status = 503, description = "The turn has not ended yet."),
    ),
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    Caller(principal): Caller,
    Id(turn): Id<TurnId>,
) -> Result<Json<TurnView>, Problem> {
    reach::check_turn(&app, &principal, turn).await?;
    let record = app.turns.cancel(&principal.owner, turn).await?;
    Ok(Json(record.into()))
}

fn last_event(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    // A browser that has received no event yet sends an empty header.
    match value.to_str().map(str::trim) {
        Ok("") => Ok(None),
        Ok(id) if id.bytes().all(|b| b.is_ascii_digit()) && id.parse::<u64>().is_ok() => Ok(id.parse().ok()),
        _ => Err(Problem::new(
            Kind::InvalidRequest,
            "`Last-Event-ID` is the `id` of an event: a number from 0.",
        )
        .with("field", "Last-Event-ID")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_event_is_a_number_or_absent() {
        let cases = [
            ("0", Ok(Some(0))),
            ("17", Ok(Some(17))),
            ("", Ok(None)),
            ("+1", Err(())),
            ("x", Err(())),
            ("-1", Err(())),
        ];
        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(LAST_EVENT_ID, value.parse().unwrap());
            assert_eq!(last_event(&headers).map_err(drop), expected, "{value}");
        }
        assert_eq!(last_event(&HeaderMap::new()), Ok(None));
    }
}
