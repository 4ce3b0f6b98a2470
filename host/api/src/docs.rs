//! HTML pages: the API reference and the table of errors.
//!
//! The pages load nothing from other hosts, so they work without a network. Their content security policy makes the browser
//! enforce that.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, header};

use masque_problem::{Kind, Problem};

/// `unsafe-inline` for styles, because Swagger UI sets styles of elements from its script.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Masque API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="stylesheet" href="/docs/index.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript><p>This page needs JavaScript. The same description is in <a href="/openapi.json">openapi.json</a>.</p></noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/swagger-ui-standalone-preset.js"></script>
<script src="/docs/swagger-initializer.js"></script>
</body>
</html>
"#;

/// `GET /docs`: the API reference.
pub(super) async fn page() -> Response {
    guarded(Html(PAGE))
}

/// `GET /docs/{file}`: a script or style sheet of the API reference.
pub(super) async fn file(name: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|_| Kind::RouteNotFound)?;
    let config = utoipa_swagger_ui::Config::from("/openapi.json").use_base_layout().validator_url("none");
    let found = utoipa_swagger_ui::serve(&name, Arc::new(config)).map_err(|error| {
        tracing::error!(%error, name, "a file of the API's page can't be served");
        Problem::from(Kind::Internal)
    })?;
    let file = found.ok_or(Kind::RouteNotFound)?;
    let mut response = guarded(Body::from(file.bytes.into_owned()));
    let headers = response.headers_mut();
    if let Ok(content_type) = HeaderValue::try_from(file.content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    if file.gzpipped {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// `GET /docs/errors`: the page that the `type` of every problem links to.
pub(super) async fn errors() -> Response {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Masque errors</title>\n\
         <style>body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}:target{background:#ffc}</style>\n\
         </head>\n<body>\n<h1>Errors</h1>\n",
    );
    for kind in Kind::ALL {
        let (name, status, title) = (kind.name(), kind.status().as_u16(), kind.title());
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "<section id=\"{name}\">\n<h2>{status} <code>{name}</code></h2>\n<p><b>{}.</b> Met when {}.</p>\n<p>{}</p>\n</section>\n",
            escaped(title),
            escaped(kind.when()),
            escaped(kind.advice()),
        );
    }
    page.push_str("</body>\n</html>\n");
    guarded(Html(page))
}

fn guarded(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_the_page_names_is_served_from_here() {
        let names: Vec<&str> = PAGE
            .split('"')
            .filter(|piece| piece.contains('/'))
            .filter_map(|url| url.strip_prefix("/docs/"))
            .collect();
        assert_eq!(names.len(), 5, "{names:?}");
        for name in names {
            let response = file(Ok(Path(name.to_owned()))).await.unwrap();
            assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY), "{name}");
        }
        assert!(!PAGE.contains("://"));
    }

    #[test]
    fn without_scripts_the_page_leads_to_the_description() {
        let without = PAGE.split("<noscript>").nth(1).and_then(|rest| rest.split("</noscript>").next());
        assert!(without.is_some_and(|text| text.contains("href=\"/openapi.json\"")), "{PAGE}");
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_no_route() {
        for name in ["nothing.js", "../Cargo.toml", "/etc/passwd"] {
            assert_eq!(
                file(Ok(Path(name.to_owned()))).await.unwrap_err().kind,
                Kind::RouteNotFound,
                "{name}"
            );
        }
    }
}
