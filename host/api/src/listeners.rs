//! Which paths each kind of listener serves.

use masque_http::ListenerKind;
use masque_problem::{Kind, Problem};

/// The page of errors.
const ERRORS: &str = "/docs/errors";

/// Whether `path` is served on a listener of this kind. `has_admin_listener` says whether operators have an address of
/// their own; if so, the public address does not serve their routes. Probes are answered everywhere, and so is the page of
/// errors, which the `type` of every problem names.
pub(super) fn is_served(listener: ListenerKind, path: &str, has_admin_listener: bool) -> bool {
    match listener {
        ListenerKind::Public => path == ERRORS || !(has_admin_listener && is_for_operators(path)),
        ListenerKind::Admin | ListenerKind::Socket => {
            is_for_operators(path) || is_for_probes(path) || is_explanation(path) || is_user_data(path)
        }
    }
}

/// Whether the path is one of the operators' routes, or below one.
fn is_for_operators(path: &str) -> bool {
    let is_below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ["/admin", "/docs", "/metrics", "/status", "/openapi.json"].into_iter().any(is_below)
}

/// The answer to a path that this listener does not serve. `/docs` is named only where it is served.
pub(super) fn not_served(listener: ListenerKind, path: &str, has_admin_listener: bool) -> Problem {
    let has_no_docs = listener == ListenerKind::Public && has_admin_listener;
    match has_no_docs {
        true if is_for_operators(path) => {
            Problem::new(Kind::RouteNotFound, "This route is on the admin listener, not on the public one.")
        }
        true => Problem::new(Kind::RouteNotFound, "The routes are listed at /docs on the admin listener."),
        false => Kind::RouteNotFound.into(),
    }
}

/// Whether the path is that of an explanation, which users ask for, and operators who look into a turn.
fn is_explanation(path: &str) -> bool {
    let turn = path.strip_prefix("/turns/").and_then(|rest| rest.strip_suffix("/explain"));
    turn.is_some_and(|turn| !turn.contains('/'))
}

/// Whether the path is that of a user's data or of the receipt of an erasure: users ask for their own, and operators for that
/// of others.
fn is_user_data(path: &str) -> bool {
    let mut segments = path.strip_prefix("/users/").unwrap_or_default().split('/').skip(1);
    matches!(
        (segments.next(), segments.next(), segments.next()),
        (Some("data"), None, _) | (Some("erasures"), Some(_), None)
    )
}

fn is_for_probes(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/health")
}

#[cfg(test)]
mod tests {
    use super::ListenerKind::{Admin, Public, Socket};
    use super::*;

    #[test]
    fn operators_have_their_own_routes_and_probes_are_answered_everywhere() {
        let operators = [
            "/admin",
            "/admin/keys",
            "/docs",
            "/docs/swagger-ui.css",
            "/metrics",
            "/status",
            "/openapi.json",
        ];
        for path in operators {
            assert!(is_served(Public, path, false), "{path}");
            assert!(!is_served(Public, path, true), "{path}");
            assert!(is_served(Admin, path, true) && is_served(Socket, path, true), "{path}");
            assert!(is_served(Socket, path, false), "{path}");
        }
        for path in [
            "/livez",
            "/readyz",
            "/health",
            "/docs/errors",
            "/turns/1/explain",
            "/users/1/data",
            "/users/1/erasures/2",
        ] {
            for listener in [Public, Admin, Socket] {
                assert!(is_served(listener, path, true), "{path} {listener:?}");
            }
        }
        for path in [
            "/chat",
            "/conversations",
            "/administrators",
            "/docsx",
            "/",
            "/status.json",
            "/turns/1",
            "/turns/1/2/explain",
            "/users",
            "/users/1",
            "/users/1/2/data",
            "/users/1/data/2",
            "/users/1/erasures",
            "/users/1/erasures/2/3",
        ] {
            assert!(is_served(Public, path, true), "{path}");
            assert!(!is_served(Admin, path, true) && !is_served(Socket, path, true), "{path}");
        }
    }
}
