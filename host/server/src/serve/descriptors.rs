//! How many connections the process may have at once: as many as the operator wants, unless it runs out of descriptors
//! before. A host that did would fail in its store and at its models, not where the load comes in.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the store, the log, the plugins folder, operators' connections, and those to upstreams, which are kept open between
/// turns.
const RESERVE: u64 = 256;

/// Raises the limit on descriptors as far as the process may, and returns how many connections fit under it: `wanted`, or
/// fewer with a warning.
pub(super) fn connections(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit on open descriptors can't be raised");
    }
    let limit = getrlimit(Resource::Nofile).current;
    let fit = fitting(wanted, limit);
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

/// At least one, however few descriptors there are; no limit fits everything.
fn fitting(wanted: usize, limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return wanted };
    // Where there are few, half of them.
    let room = limit.saturating_sub(RESERVE).max(limit / 2);
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_rest_of_the_host() {
        for (wanted, limit, fit) in [
            (4096, None, 4096),
            (4096, Some(1 << 20), 4096),
            (4096, Some(1024), 768),
            (4096, Some(300), 150),
            (100, Some(1024), 100),
            (100, Some(0), 1),
        ] {
            assert_eq!(fitting(wanted, limit), fit, "{wanted} of {limit:?}");
        }
    }
}
