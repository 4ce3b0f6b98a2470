//! The limit on what a response says in its headers or trailers.
//!
//! hyper's own limits are several times larger, and the headers of a response are held for as long as the guest holds the
//! response.

use http::HeaderMap;

use crate::diagnostics::CallDiagnostics;

/// What one header takes beside its text, as `wasi:http` counts it for the headers of a request.
const HEADER_BYTES: usize = 72;

/// The limit of one call.
pub(crate) struct HeaderLimit {
    pub(crate) bytes: usize,
    pub(crate) diagnostics: CallDiagnostics,
}

impl HeaderLimit {
    /// Refuses headers, or trailers, that are too large.
    ///
    /// # Errors
    /// Their size in bytes.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), u32> {
        let sizes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES);
        let bytes: usize = sizes.sum();
        if bytes <= self.bytes {
            return Ok(());
        }
        self.diagnostics.record_refusal(format!(
            "a response with {bytes} bytes of headers, of {} (limit `header_bytes`)",
            self.bytes
        ));
        Err(u32::try_from(bytes).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn text_and_number_of_headers_count() {
        let limit = HeaderLimit { bytes: 1000, diagnostics: CallDiagnostics::default() };
        let headers = |number: usize, length: usize| -> HeaderMap {
            let value = HeaderValue::from_str(&"v".repeat(length)).unwrap();
            (0..number).map(|_| (http::header::COOKIE, value.clone())).collect()
        };
        for (number, length, size) in
            [(1, 900, None), (1, 1000, Some(1078)), (12, 1, None), (13, 1, Some(1027))]
        {
            assert_eq!(limit.check(&headers(number, length)).err(), size, "{number} of {length} bytes");
        }
        assert!(limit.diagnostics.refusals().iter().all(|refusal| refusal.contains("`header_bytes`")));
    }
}
