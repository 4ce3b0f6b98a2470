//! The OpenAPI description. Routes and schemas come from the handlers. What all operations share (problems, `Retry-After`,
//! the request id) is added here once.

use std::future::{Ready, ready};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Method, header};
use utoipa::OpenApi as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, Ref, RefOr, ResponseBuilder, response};

use super::access::{self, Rule};
use super::schema::{ProblemDetails, StreamEvent};
use masque_problem::{self as problem, Kind, Problem};

/// The security scheme of every route that requires a principal.
const BEARER: &str = "bearer";

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
        (name = "turns", description = "State, events, cancellation and explanation of a turn"),
        (name = "conversations", description = "The caller's conversations"),
        (name = "users", description = "Export and erasure of a user's data"),
        (name = "companions", description = "The companions of this host"),
        (name = "auth", description = "Minting and validating tokens"),
        (name = "admin", description = "API keys, revocations, the audit log and the level of the log, for operators"),
        (name = "host", description = "Health and status of the host"),
    ),
    components(schemas(ProblemDetails, StreamEvent)),
)]
struct Document;

/// Returns the description without routes.
pub(super) fn document() -> OpenApi {
    Document::openapi()
}

/// Adds to every operation what all share.
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

/// Adds the scopes of which the route requires one, and the responses of admission.
fn secure(path: &str, method: &Method, operation: &mut Operation) {
    let scopes = access::rule(method, path).into_iter().flat_map(Rule::scopes);
    // Each requirement of the list is enough.
    let security: Vec<_> = scopes.map(|scope| SecurityRequirement::new(BEARER, [scope.as_str()])).collect();
    if security.is_empty() {
        return;
    }
    operation.security = Some(security);
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

/// `GET /openapi.json`. The text is written once, because it never changes.
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
