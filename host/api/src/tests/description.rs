//! The OpenAPI description.

use super::setup::Api;

#[tokio::test]
async fn the_description_names_every_route_and_how_it_fails() {
    let document = Api::new().await.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let mut routes: Vec<String> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            routes.push(format!("{} {path}", method.to_uppercase()));
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{status} {path}"
                );
            }
            let failure = &operation["responses"]["default"]["content"]["application/problem+json"]["schema"];
            assert_eq!(failure["$ref"], "#/components/schemas/ProblemDetails", "{method} {path}");
        }
    }
    routes.sort();
    let expected = [
        "DELETE /admin/keys/{id}",
        "DELETE /conversations/{id}",
        "DELETE /users/{id}/data",
        "GET /admin/audit",
        "GET /admin/keys",
        "GET /admin/keys/{id}",
        "GET /admin/log",
        "GET /companions",
        "GET /conversations",
        "GET /conversations/{id}",
        "GET /conversations/{id}/messages",
        "GET /health",
        "GET /livez",
        "GET /metrics",
        "GET /readyz",
        "GET /status",
        "GET /turns/{id}",
        "GET /turns/{id}/events",
        "GET /turns/{id}/explain",
        "GET /users/{id}/data",
        "GET /users/{id}/erasures/{receipt}",
        "PATCH /conversations/{id}",
        "POST /admin/keys",
        "POST /admin/keys/{id}/rotate",
        "POST /admin/log",
        "POST /admin/revocations",
        "POST /auth/token",
        "POST /auth/validate",
        "POST /chat",
        "POST /conversations",
        "POST /turns/{id}/cancel",
    ];
    assert_eq!(routes, expected);
}

#[tokio::test]
async fn every_shape_that_the_description_refers_to_is_in_it() {
    let document = Api::new().await.get("/openapi.json").await.json();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(schemas.contains_key(name), "{name}");
    }
    // Two schemas with the same name would overwrite each other.
    assert!(
        schemas["Message"]["properties"]["sequence"].is_object()
            && schemas["UserMessage"]["oneOf"].is_array()
    );
    let chat = &document["paths"]["/chat"]["post"]["responses"]["200"]["content"];
    assert!(
        chat["text/event-stream"]["schema"].is_object() && chat["application/json"]["schema"].is_object()
    );
}
