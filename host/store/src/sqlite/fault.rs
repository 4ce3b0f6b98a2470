//! What SQLite and sqlx report, sorted into [`StoreError`]'s few cases. The only place that knows result codes.

use crate::StoreError;

/// An error on its way out of this room: lets `?` turn sqlx's errors into the store's own without the crate's public
/// error naming sqlx.
#[derive(Debug)]
pub(super) struct Fault {
    error: StoreError,
    /// Someone else has the database, and kept it for longer than is waited.
    pub(super) locked: bool,
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self { error, locked: false }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        const BUSY: u32 = 5;
        let text = error.to_string();
        let code = error.as_database_error().and_then(|reported| primary(reported.code().as_deref()));
        let error = match error {
            sqlx::Error::Database(reported) => sort(reported.code().as_deref(), text),
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. } => StoreError::Corrupt(text),
            _ => StoreError::Unavailable(text),
        };
        Self { error, locked: code == Some(BUSY) }
    }
}

/// The low byte of an extended result code (<https://www.sqlite.org/rescode.html>).
fn primary(code: Option<&str>) -> Option<u32> {
    code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff)
}

/// Sorts by the primary result code.
fn sort(code: Option<&str>, text: String) -> StoreError {
    const TOOBIG: u32 = 18;
    const CONSTRAINT: u32 = 19;
    const CORRUPT: u32 = 11;
    const NOTADB: u32 = 26;
    match primary(code) {
        Some(CONSTRAINT | TOOBIG) => StoreError::Refused(text),
        Some(CORRUPT | NOTADB) => StoreError::Corrupt(text),
        _ => StoreError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::sort;
    use crate::StoreError;

    #[test]
    fn a_full_disk_is_unavailable_and_a_broken_rule_is_refused() {
        let unavailable = StoreError::Unavailable("x".into());
        let refused = StoreError::Refused("x".into());
        let corrupt = StoreError::Corrupt("x".into());
        let cases = [
            ("13", &unavailable),
            ("778", &unavailable),
            ("5", &unavailable),
            ("2067", &refused),
            ("275", &refused),
            ("267", &corrupt),
            ("26", &corrupt),
        ];
        for (code, expected) in cases {
            assert_eq!(sort(Some(code), "x".into()), *expected, "code {code}");
        }
        assert_eq!(sort(None, "x".into()), unavailable);
    }
}
