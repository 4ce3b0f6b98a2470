//! The route that a path with one slash too many means. Such a path is not served: a proxy may have judged it by another
//! rule than the one of the route.

use super::access;

/// A sentence with the right path, if a route matches once the empty segments of `path` and the case of its letters do not
/// count.
pub(super) fn hint(path: &str, is_served: impl Fn(&str) -> bool) -> Option<String> {
    let segments: Vec<&str> = path.split('/').collect();
    let inner = segments.get(1..)?;
    let first = inner.iter().position(|segment| !segment.is_empty())?;
    let last = inner.iter().rposition(|segment| !segment.is_empty())?;
    let named = inner.get(first..=last)?;
    if let Some(route) = route_of(named).filter(|route| is_served(route)) {
        return Some(match named.contains(&"") {
            true => format!("The path lacks an id: it is `{route}`."),
            false => format!("The path is `{}`.", joined(&route, named)),
        });
    }
    let full: Vec<&str> = named.iter().copied().filter(|segment| !segment.is_empty()).collect();
    let route = route_of(&full).filter(|route| is_served(route))?;
    Some(format!("The path is `{}`.", joined(&route, &full)))
}

/// The route whose fixed segments are these, in any case.
fn route_of(segments: &[&str]) -> Option<String> {
    access::paths()
        .find(|route| {
            let mut parts = route.split('/').skip(1);
            let mut given = segments.iter();
            loop {
                match (parts.next(), given.next()) {
                    (None, None) => return true,
                    (Some(part), Some(segment))
                        if part.starts_with('{') || part.eq_ignore_ascii_case(segment) => {}
                    _ => return false,
                }
            }
        })
        .map(str::to_owned)
}

/// The path of a route with the ids of the request.
fn joined(route: &str, segments: &[&str]) -> String {
    let mut path = String::new();
    for (part, segment) in route.split('/').skip(1).zip(segments) {
        path.push('/');
        path.push_str(if part.starts_with('{') { segment } else { part });
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_other_slashes_or_letters_is_told_the_right_one() {
        for (path, expected) in [
            ("//chat", "`/chat`"),
            ("/chat/", "`/chat`"),
            ("/chat//", "`/chat`"),
            ("///chat///", "`/chat`"),
            ("/Chat", "`/chat`"),
            ("/livez/", "`/livez`"),
            ("/conversations/7/messages/", "`/conversations/7/messages`"),
            ("//Turns/7aB//events", "`/turns/7aB/events`"),
            ("/conversations//messages", "`/conversations/{id}/messages`"),
            ("/turns//cancel/", "`/turns/{id}/cancel`"),
        ] {
            let hint = hint(path, |_| true).unwrap_or_default();
            assert!(hint.contains(expected), "{path}: {hint}");
        }
        for path in ["/", "//", "", "/nothing", "/nothing/", "/chat/x/y", "/v1/chat/completions", "*"] {
            assert_eq!(hint(path, |_| true), None, "{path}");
        }
    }

    #[test]
    fn a_route_that_the_listener_does_not_serve_is_not_named() {
        assert_eq!(hint("/admin/keys/", |path| !path.starts_with("/admin")), None);
        assert!(hint("/admin/keys/", |_| true).is_some());
    }
}
