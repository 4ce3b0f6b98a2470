//! The API's own description. Routes and shapes come from the handlers themselves; what all of them share (problems,
//! `Retry-After`, the request's id) is added here once.

use std::future::{Ready, ready};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use serde::Serialize;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, Ref, RefOr, ResponseBuilder, response};
use utoipa::{OpenApi as _, ToSchema};
use uuid::Uuid;

use super::chat::ChatReply;
use crate::problem::{self, Kind, Problem};

/// A problem by RFC 9457. Compare `type`; `detail` is for people.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemDetails {
    /// Stable; its page says when it is met and what to do.
    #[schema(example = "/docs/errors#conversation-busy")]
    r#type: String,
    #[schema(example = "Conversation is busy")]
    title: String,
    #[schema(example = 409)]
    status: u16,
    /// What to do.
    detail: String,
    /// What the host's log has on every line about the request.
    request_id: String,
    /// Seconds to wait, where there is something to wait for.
    retry_after: Option<u64>,
    /// The path of what is wrong in the request.
    field: Option<String>,
    /// The known name nearest to the one that was sent.
    nearest: Option<String>,
}

/// The `data` of one event; `event` repeats its `type`, `id` its `sequence`. Unknown types and fields are to be ignored.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type")]
#[allow(dead_code, reason = "describes what `sse` writes")]
pub(crate) enum StreamEvent {
    /// The turn has begun. Acknowledges nothing.
    #[serde(rename = "turn.created")]
    Created {
        /// 0.
        sequence: u64,
        turn_id: Uuid,
        conversation_id: Uuid,
        companion: String,
    },
    /// More of the reply.
    #[serde(rename = "reply.delta")]
    Delta {
        /// From 1, without gaps.
        sequence: u64,
        text: String,
    },
    /// Last: the whole reply. The exchange is on disk.
    #[serde(rename = "turn.completed")]
    Completed {
        sequence: u64,
        #[serde(flatten)]
        reply: ChatReply,
    },
    /// Last: why there is no whole reply.
    #[serde(rename = "turn.failed")]
    Failed { sequence: u64, problem: ProblemDetails },
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Masque",
        description = "Talk to AI companions whose persona, memory and model are sandboxed components.\n\n\
            Requests with unknown fields are refused; responses and events may gain fields, which clients ignore. \
            Every error is a problem object by RFC 9457; [its types](/docs/errors) say what to do.",
    ),
    tags(
        (name = "chat", description = "A turn: one message and its reply"),
        (name = "turns", description = "What became of a turn"),
        (name = "conversations", description = "The caller's conversations"),
        (name = "companions", description = "Whom one can talk to"),
        (name = "host", description = "How the host is"),
    ),
    components(schemas(ProblemDetails)),
)]
struct Document;

/// The description before any route is known.
pub(super) fn document() -> OpenApi {
    Document::openapi()
}

/// Adds what every operation shares.
pub(super) fn complete(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            let responses = &mut operation.responses.responses;
            responses.entry("default".to_owned()).or_insert_with(|| {
                RefOr::T(ResponseBuilder::new().description("Any other problem.").build())
            });
            for (status, response) in responses.iter_mut() {
                if let RefOr::T(response) = response {
                    describe(status, response);
                }
            }
        }
    }
}

fn describe(status: &str, response: &mut response::Response) {
    let text = |description: &str, kind: Type| {
        let schema = ObjectBuilder::new().schema_type(kind);
        RefOr::T(HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build())
    };
    response.headers.insert(
        "X-Request-Id".to_owned(),
        text("The request's id, the client's own if it sent one.", Type::String),
    );
    if matches!(status, "409" | "429" | "503") {
        response.headers.insert("Retry-After".to_owned(), text("Seconds to wait.", Type::Integer));
    }
    let is_problem = status == "default" || status.starts_with('4') || status.starts_with('5');
    if is_problem && response.content.is_empty() {
        let schema = Ref::from_schema_name("ProblemDetails");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        response.content.insert(problem::MEDIA_TYPE.to_owned(), RefOr::T(content));
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete].into_iter().flatten()
}

/// `GET /openapi.json`: written once, since it never changes.
pub(super) fn serve(document: &OpenApi) -> impl Fn() -> Ready<Response> + Clone + Send + Sync + 'static {
    let json = document.to_json().map(Bytes::from).map_err(|error| error.to_string());
    move || {
        ready(match &json {
            Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json.clone()).into_response(),
            Err(error) => {
                tracing::error!(error, "the API's description can't be written");
                Problem::from(Kind::Internal).into_response()
            }
        })
    }
}
