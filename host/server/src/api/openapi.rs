//! The API's own description. Routes and shapes come from the handlers themselves; what all of them share (problems,
//! `Retry-After`, the request's id) is added here once.

use std::future::{Ready, ready};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Method, header};
use serde::Serialize;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, Ref, RefOr, ResponseBuilder, response};
use utoipa::{OpenApi as _, ToSchema};
use uuid::Uuid;

use super::access::{self, Rule};
use super::chat::ChatReply;
use crate::problem::{self, Kind, Problem};

/// The security scheme of every route that needs a principal.
const BEARER: &str = "bearer";

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
    /// A stable word for what is wrong with a token.
    reason: Option<String>,
    /// The scope that is missing.
    scope: Option<String>,
}

/// What a key or a token may do.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what is read and written as words")]
pub(crate) enum ScopeName {
    #[serde(rename = "chat")]
    Chat,
    #[serde(rename = "admin:read")]
    AdminRead,
    #[serde(rename = "admin:write")]
    AdminWrite,
    #[serde(rename = "tokens:mint")]
    TokensMint,
    #[serde(rename = "users:act")]
    UsersAct,
}

/// One event of a stream (the HTML standard, section 9.2.6). Between events, comment lines keep proxies from hanging up.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerSentEvent {
    /// The `type` of `data`.
    #[schema(example = "reply.delta")]
    event: String,
    /// The `sequence` of `data`.
    #[schema(example = "1")]
    id: String,
    /// A `StreamEvent`, as JSON.
    #[schema(content_media_type = "application/json")]
    data: String,
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
        (name = "auth", description = "Tokens for users, and what a token is worth"),
        (name = "admin", description = "API keys, revocations and the audit, for operators"),
        (name = "host", description = "How the host is"),
    ),
    components(schemas(ProblemDetails, StreamEvent)),
)]
struct Document;

/// The description before any route is known.
pub(super) fn document() -> OpenApi {
    Document::openapi()
}

/// Adds what every operation shares.
pub(super) fn complete(document: &mut OpenApi) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token or an API key. Each route names the scope that it needs."))
        .build();
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert(BEARER.to_owned(), RefOr::T(SecurityScheme::Http(bearer)));
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            secure(path, &method, operation);
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

/// Says what the route asks of its caller, as the table of access has it.
fn secure(path: &str, method: &Method, operation: &mut Operation) {
    let Some(scope) = access::rule(method, path).and_then(Rule::scope) else { return };
    operation.security = Some(vec![SecurityRequirement::new(BEARER, [scope.as_str()])]);
    let mut refusal = |status: &str, description: &str| {
        let response = ResponseBuilder::new().description(description).build();
        operation.responses.responses.entry(status.to_owned()).or_insert(RefOr::T(response));
    };
    refusal("401", "There is no token or API key, or it is not valid.");
    refusal("403", "The token or API key does not have the scope that the route needs.");
    refusal("429", "The user, the API key or the address has asked too often.");
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

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PATCH, &mut item.patch),
        (Method::PUT, &mut item.put),
        (Method::DELETE, &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
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
