//! What a host does about the companions and plugins of its file, by what the hosts have.

/// The companions and plugins of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileSet<'a> {
    /// `revision` in `[active_set]`.
    pub(crate) revision: Option<u64>,
    /// The digest of the document.
    pub(crate) digest: &'a str,
    /// Whether the file has companions or plugins of its own. One without leaves both to the others.
    pub(crate) describes_set: bool,
    /// Whether it changed while the host watches it, with `watch` in `[active_set]`.
    pub(crate) has_watched_change: bool,
}

/// What is published, or else active.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurrentSet<'a> {
    pub(crate) revision: u64,
    pub(crate) digest: &'a str,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// To publish it under this revision.
    Publish(u64),
    /// Nothing: it is what the hosts have, or the file says nothing of it.
    Nothing,
    /// To say that the file has no revision, and is not in effect.
    NoRevision,
    /// To say that the file's revision is not higher than that of the hosts, which has another content.
    NotHigher(u64),
}

/// The intent of a host with this file. `current` is `None` where no host has published anything that counts.
pub(crate) fn intent(file: FileSet<'_>, current: Option<CurrentSet<'_>>) -> Intent {
    let Some(current) = current else {
        return Intent::Publish(file.revision.unwrap_or(0));
    };
    match file.revision {
        Some(revision) if revision > current.revision => Intent::Publish(revision),
        _ if file.digest == current.digest => Intent::Nothing,
        _ if file.has_watched_change => Intent::Publish(current.revision + 1),
        _ if !file.describes_set => Intent::Nothing,
        Some(revision) => Intent::NotHigher(revision),
        None => Intent::NoRevision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_published_when_its_revision_rises_or_where_nothing_was_published() {
        let current = Some(CurrentSet { revision: 4, digest: "now" });
        let file =
            |revision, digest| FileSet { revision, digest, describes_set: true, has_watched_change: false };
        for (revision, digest, current, expected) in [
            (None, "mine", None, Intent::Publish(0)),
            (Some(3), "mine", None, Intent::Publish(3)),
            (Some(5), "mine", current, Intent::Publish(5)),
            (Some(5), "now", current, Intent::Publish(5)),
            (Some(4), "now", current, Intent::Nothing),
            (Some(4), "mine", current, Intent::NotHigher(4)),
            (Some(3), "mine", current, Intent::NotHigher(3)),
            (Some(3), "now", current, Intent::Nothing),
            (None, "now", current, Intent::Nothing),
            (None, "mine", current, Intent::NoRevision),
        ] {
            assert_eq!(
                intent(file(revision, digest), current),
                expected,
                "{revision:?} {digest} {current:?}"
            );
        }
    }

    #[test]
    fn a_file_without_companions_and_plugins_leaves_them_to_the_others() {
        let current = Some(CurrentSet { revision: 4, digest: "now" });
        let file =
            FileSet { revision: None, digest: "defaults", describes_set: false, has_watched_change: false };
        assert_eq!(intent(file, current), Intent::Nothing);
        assert_eq!(intent(file, None), Intent::Publish(0));
    }

    #[test]
    fn a_change_that_is_watched_needs_no_revision() {
        let current = Some(CurrentSet { revision: 4, digest: "now" });
        for (revision, digest, expected) in [
            (None, "mine", Intent::Publish(5)),
            (Some(4), "mine", Intent::Publish(5)),
            (Some(9), "mine", Intent::Publish(9)),
            (None, "now", Intent::Nothing),
        ] {
            let file = FileSet { revision, digest, describes_set: true, has_watched_change: true };
            assert_eq!(intent(file, current), expected, "{revision:?} {digest}");
        }
    }
}
