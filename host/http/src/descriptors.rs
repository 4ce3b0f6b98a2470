//! Limits the number of connections by the number of file descriptors that the process may open.
//!
//! Without this limit, a host under load would run out of descriptors in its store and at its models, where the failure
//! is worse than a client that waits for a connection.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The descriptors that are kept for the store, the log, the plugins folder, the operators' connections, and the
/// connections to upstream servers, which stay open between turns.
const RESERVE: u64 = 256;

/// Raises the soft limit on open descriptors to the hard limit, and returns how many connections fit: `wanted`, or fewer
/// with a warning in the log. Returns at least 1.
pub fn limit_connections(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit on open descriptors can't be raised");
    }
    let limit = getrlimit(Resource::Nofile).current;
    let fit = connections_within(wanted, limit);
    if fit < wanted {
        tracing::warn!(
            wanted,
            connections = fit,
            descriptors = limit,
            "there are fewer descriptors than `max_connections` in [server] asks for; raise the process's limit (`ulimit -n`, LimitNOFILE=)"
        );
    }
    fit
}

/// `limit` is the number of descriptors, `None` for no limit.
fn connections_within(wanted: usize, limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return wanted };
    // At least half of the descriptors are for connections, even if less than the reserve is left for the rest.
    let available = limit.saturating_sub(RESERVE).max(limit / 2);
    wanted.min(usize::try_from(available).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest_of_the_host() {
        for (wanted, limit, fit) in [
            (4096, None, 4096),
            (4096, Some(1 << 20), 4096),
            (4096, Some(1024), 768),
            (4096, Some(300), 150),
            (100, Some(1024), 100),
            (100, Some(0), 1),
        ] {
            assert_eq!(connections_within(wanted, limit), fit, "{wanted} of {limit:?}");
        }
    }
}
