//! Every route of the OpenAPI description, with every scope and without any.

use masque_tests::{Client, Setup};
use serde_json::{Value, json};

/// Method, path and scopes, of which one is enough, of every route that the API describes.
fn routes(document: &Value) -> Vec<(String, String, Vec<String>)> {
    let paths = document["paths"].as_object().unwrap();
    let mut routes = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            if !["get", "post", "patch", "put", "delete"].contains(&method.as_str()) {
                continue;
            }
            let requirements = operation["security"].as_array().into_iter().flatten();
            let scopes = requirements.map(|one| one["bearer"][0].as_str().unwrap().to_owned()).collect();
            routes.push((method.to_uppercase(), path.clone(), scopes));
        }
    }
    routes
}

/// The routes without authentication. A route that is not in this list and names no scope fails the test.
const OPEN: [(&str, &str); 4] =
    [("GET", "/health"), ("GET", "/livez"), ("GET", "/readyz"), ("POST", "/auth/validate")];

async fn send(client: &Client, method: &str, path: &str) -> masque_tests::Reply {
    let unknown = "00000000-0000-7000-8000-000000000000";
    let path = path.replace("{id}", unknown).replace("{receipt}", unknown);
    let request = client.request(method.parse().unwrap(), &path);
    let request = match method {
        "POST" | "PATCH" => request.header("content-type", "application/json").body("{\"no_such_field\": 1}"),
        _ => request,
    };
    request.send().await
}

#[tokio::test]
async fn every_route_requires_its_scope_and_accepts_no_other() {
    let setup = Setup::defaults().with_authentication();
    let mut keys = Vec::new();
    for scope in
        ["chat", "admin:read", "admin:write", "content:read", "metrics:read", "tokens:mint", "users:act"]
    {
        keys.push((scope, setup.create_key(&["--scope", scope]).await));
    }
    let host = setup.start().await;
    let client = host.client();
    let document = client.get("/openapi.json").send().await.expect(200);
    let routes = routes(&document);
    assert!(routes.len() > 20, "the description has too few routes: {routes:?}");
    for (method, path, scopes) in &routes {
        let Some(scope) = scopes.first() else {
            assert!(OPEN.contains(&(method.as_str(), path.as_str())), "{method} {path} has no rule");
            continue;
        };
        let answer = send(&client, method, path).await;
        answer.problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"masque\""), "{method} {path}");
        for (held, key) in &keys {
            let answer = send(&client.bearer(key), method, path).await;
            if scopes.iter().any(|scope| scope == held) {
                assert!(![401, 403].contains(&answer.status), "{method} {path} with {held}: {}", answer.text);
                // The body is invalid, so that the request changes nothing.
                assert!(answer.status < 500, "{method} {path} with {held}: {}", answer.text);
            } else {
                let problem = answer.problem(403, "insufficient-scope");
                assert_eq!(problem["scope"], json!(scope), "{method} {path} with {held}");
            }
        }
    }
}

#[tokio::test]
async fn a_method_that_a_route_does_not_have_is_refused() {
    let setup = Setup::defaults().with_authentication();
    let scopes = ["chat", "admin:read", "admin:write", "content:read", "metrics:read", "tokens:mint"]
        .map(|scope| ["--scope", scope])
        .concat();
    let key = setup.create_key(&scopes).await;
    let host = setup.start().await;
    let client = host.client().bearer(&key);
    let document = client.get("/openapi.json").send().await.expect(200);
    let routes = routes(&document);
    for (_, path, _) in &routes {
        for method in ["GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            if routes.iter().any(|(known, route, _)| known == method && route == path) {
                continue;
            }
            let answer = send(&client, method, path).await;
            answer.problem(405, "method-not-allowed");
            let allowed = answer.header("allow").unwrap();
            assert!(
                !allowed.is_empty() && !allowed.split(',').any(|one| one.trim() == method),
                "{method} {path}: {allowed}"
            );
        }
    }
}
