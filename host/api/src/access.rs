//! What each route requires of its caller: one table for the whole API. Admission refuses a route that is not in it.

use http::{Method, Uri};

use masque_auth::Scope;
use masque_http::ListenerKind;

/// What a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing, and no rate limit applies: a probe reports the state of the host, not that of a limit. On the public listener
    /// `?verbose` needs `metrics:read`.
    Probe,
    /// No principal. The rate limit of the client's address applies.
    Open,
    /// A principal that has the scope.
    Needs(Scope),
    /// On the public listener, a principal that has the scope. On the listeners of operators nothing, and no rate limit applies:
    /// what collects metrics has no credential there.
    NeedsInPublic(Scope),
    /// A principal that has one of the scopes. The handler decides what each of them is enough for.
    Either(Scope, Scope),
    /// A principal that has the scope and was authenticated: never the anonymous one of a host without authentication.
    Admin(Scope),
}

/// Every route with its documented method. `HEAD` follows from `GET`.
const RULES: &[(Method, &str, Rule)] = &[
    (Method::POST, "/chat", Rule::Needs(Scope::Chat)),
    (Method::GET, "/turns/{id}", Rule::Needs(Scope::Chat)),
    (Method::GET, "/turns/{id}/events", Rule::Needs(Scope::Chat)),
    // Of one's own with `chat`, of others with the other scope.
    (Method::GET, "/turns/{id}/explain", Rule::Either(Scope::Chat, Scope::ContentRead)),
    (Method::POST, "/turns/{id}/cancel", Rule::Needs(Scope::Chat)),
    (Method::POST, "/conversations", Rule::Needs(Scope::Chat)),
    (Method::GET, "/conversations", Rule::Needs(Scope::Chat)),
    (Method::GET, "/conversations/{id}", Rule::Needs(Scope::Chat)),
    (Method::PATCH, "/conversations/{id}", Rule::Needs(Scope::Chat)),
    (Method::DELETE, "/conversations/{id}", Rule::Needs(Scope::Chat)),
    (Method::GET, "/conversations/{id}/messages", Rule::Needs(Scope::Chat)),
    (Method::GET, "/companions", Rule::Needs(Scope::Chat)),
    // Of one's own with `chat`, of others with the other scope.
    (Method::GET, "/users/{id}/data", Rule::Either(Scope::Chat, Scope::ContentRead)),
    (Method::DELETE, "/users/{id}/data", Rule::Either(Scope::Chat, Scope::AdminWrite)),
    (Method::GET, "/users/{id}/erasures/{receipt}", Rule::Either(Scope::Chat, Scope::AdminWrite)),
    (Method::POST, "/auth/token", Rule::Needs(Scope::TokensMint)),
    // Whoever holds a token may ask whether it is valid.
    (Method::POST, "/auth/validate", Rule::Open),
    (Method::GET, "/admin/keys", Rule::Admin(Scope::AdminRead)),
    (Method::POST, "/admin/keys", Rule::Admin(Scope::AdminWrite)),
    (Method::GET, "/admin/keys/{id}", Rule::Admin(Scope::AdminRead)),
    (Method::DELETE, "/admin/keys/{id}", Rule::Admin(Scope::AdminWrite)),
    (Method::POST, "/admin/keys/{id}/rotate", Rule::Admin(Scope::AdminWrite)),
    (Method::POST, "/admin/revocations", Rule::Admin(Scope::AdminWrite)),
    (Method::GET, "/admin/audit", Rule::Admin(Scope::AdminRead)),
    (Method::GET, "/admin/log", Rule::Admin(Scope::AdminRead)),
    (Method::POST, "/admin/log", Rule::Admin(Scope::AdminWrite)),
    (Method::GET, "/health", Rule::Probe),
    (Method::GET, "/livez", Rule::Probe),
    (Method::GET, "/readyz", Rule::Probe),
    (Method::GET, "/status", Rule::Needs(Scope::AdminRead)),
    (Method::GET, "/metrics", Rule::NeedsInPublic(Scope::MetricsRead)),
    (Method::GET, "/openapi.json", Rule::Open),
    (Method::GET, "/docs", Rule::Open),
    (Method::GET, "/docs/errors", Rule::Open),
    (Method::GET, "/docs/{file}", Rule::Open),
];

/// Returns the rule of a route, or `None` where the path has no such method. `HEAD` has the rule of `GET` (RFC 9110,
/// section 9.3.2).
pub(super) fn rule(method: &Method, path: &str) -> Option<Rule> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    RULES.iter().find(|(known, route, _)| known == method && *route == path).map(|(_, _, rule)| *rule)
}

/// What a request for a route with this rule needs, by its listener and its query: `Probe`, or a rule that depends on neither.
pub(super) fn required(rule: Rule, listener: ListenerKind, uri: &Uri) -> Rule {
    match (rule, listener) {
        (Rule::Probe, ListenerKind::Public) if is_verbose(uri) => Rule::Needs(Scope::MetricsRead),
        (Rule::NeedsInPublic(scope), ListenerKind::Public) => Rule::Needs(scope),
        (Rule::NeedsInPublic(_), ListenerKind::Admin | ListenerKind::Socket) => Rule::Probe,
        (rule, _) => rule,
    }
}

/// Whether a probe asks for details. Any value counts, as with the probes of Kubernetes.
pub(super) fn is_verbose(uri: &Uri) -> bool {
    let mut names = uri.query().into_iter().flat_map(|query| query.split('&'));
    names.any(|pair| pair.split('=').next() == Some("verbose"))
}

/// The paths of all routes.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(_, path, _)| *path)
}

/// Returns the methods of a path as the value of an `Allow` header.
pub(super) fn allowed(path: &str) -> String {
    let mut names = Vec::new();
    for (method, _, _) in RULES.iter().filter(|(_, route, _)| *route == path) {
        names.push(method.as_str());
        if method == Method::GET {
            names.push("HEAD");
        }
    }
    names.join(",")
}

impl Rule {
    /// Returns the scopes of which the route requires one; none where it requires no principal.
    pub(super) fn scopes(self) -> impl Iterator<Item = Scope> {
        let (first, second) = match self {
            Self::Probe | Self::Open => (None, None),
            Self::Needs(scope) | Self::NeedsInPublic(scope) | Self::Admin(scope) => (Some(scope), None),
            Self::Either(one, other) => (Some(one), Some(other)),
        };
        first.into_iter().chain(second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_asks_what_its_get_asks() {
        assert_eq!(rule(&Method::HEAD, "/companions"), Some(Rule::Needs(Scope::Chat)));
        assert_eq!(rule(&Method::HEAD, "/chat"), None);
        assert_eq!(rule(&Method::PUT, "/companions"), None);
        assert_eq!(rule(&Method::GET, "/companions/"), None);
    }

    #[test]
    fn every_admin_route_refuses_those_whom_nothing_proves() {
        for (method, path, rule) in RULES {
            let is_admin = matches!(rule, Rule::Admin(_));
            assert_eq!(path.starts_with("/admin"), is_admin, "{method} {path}");
        }
    }

    #[test]
    fn what_changes_something_is_never_open_to_readers() {
        for (method, path, rule) in RULES {
            if *method != Method::GET {
                assert_ne!(*rule, Rule::Admin(Scope::AdminRead), "{method} {path}");
                assert_ne!(*rule, Rule::Needs(Scope::AdminRead), "{method} {path}");
            }
        }
    }

    #[test]
    fn metrics_and_details_of_probes_need_their_scope_on_the_public_listener_alone() {
        use ListenerKind::{Admin, Public, Socket};
        let metrics = rule(&Method::GET, "/metrics").unwrap();
        let probe = rule(&Method::GET, "/health").unwrap();
        let needed = Rule::Needs(Scope::MetricsRead);
        for (rule, listener, uri, expected) in [
            (metrics, Public, "/metrics", needed),
            (metrics, Admin, "/metrics", Rule::Probe),
            (metrics, Socket, "/metrics", Rule::Probe),
            (probe, Public, "/health", Rule::Probe),
            (probe, Public, "/health?verbose", needed),
            (probe, Public, "/health?a=b&verbose=1", needed),
            (probe, Public, "/health?verbosely&a=verbose", Rule::Probe),
            (probe, Admin, "/health?verbose", Rule::Probe),
            (probe, Socket, "/health?verbose", Rule::Probe),
            (Rule::Needs(Scope::Chat), Admin, "/companions?verbose", Rule::Needs(Scope::Chat)),
            (Rule::Open, Public, "/docs?verbose", Rule::Open),
        ] {
            assert_eq!(required(rule, listener, &uri.parse().unwrap()), expected, "{uri} {listener:?}");
        }
    }

    #[test]
    fn the_scope_of_metrics_gives_nothing_else() {
        let given: Vec<_> = RULES
            .iter()
            .filter(|(_, _, rule)| rule.scopes().any(|scope| scope == Scope::MetricsRead))
            .map(|(_, path, _)| *path)
            .collect();
        assert_eq!(given, ["/metrics"]);
    }

    #[test]
    fn allowed_methods_are_listed_once_each() {
        assert_eq!(allowed("/conversations"), "POST,GET,HEAD");
        assert_eq!(allowed("/chat"), "POST");
        assert_eq!(allowed("/nowhere"), "");
    }
}
