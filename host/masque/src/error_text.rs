//! An error with its causes, as one text for an operator.

/// Formats an error and its causes in one line, each once.
///
/// The text of some errors ends with their cause, which they also return as their source. anyhow's own form (`{:#}`) repeats such
/// a cause.
pub(crate) fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| {
        if text.is_empty() {
            cause
        } else if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::{Error, anyhow};
    use masque_store::OpenError;
    use masque_store_sqlite::BackupError;

    use super::*;

    #[test]
    fn a_cause_is_named_once_whether_or_not_the_text_of_the_error_has_it() {
        let full = || io::Error::from_raw_os_error(28);
        let cause = full().to_string();
        let with_its_cause = Error::new(BackupError::File { file: "backup".into(), source: full() });
        assert_eq!(with_causes(&with_its_cause), format!("backup can't be used: {cause}"));
        let without = Error::new(OpenError::Io { folder: "data".into(), source: full() });
        assert_eq!(with_causes(&without), format!("the data folder data can't be used: {cause}"));
        let in_its_middle = Error::new(OpenError::NoThread { source: full() });
        assert_eq!(with_causes(&in_its_middle).matches(&cause).count(), 1);
        let context = anyhow!("inner").context("middle").context("outer");
        assert_eq!(with_causes(&context), "outer: middle: inner");
    }
}
