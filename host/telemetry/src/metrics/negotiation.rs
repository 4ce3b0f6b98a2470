//! Which format a reader of the metrics gets, by its `Accept` header (RFC 9110, section 12.5.1).
//!
//! The policy: the format with the higher quality. If both are equal, OpenMetrics only for a reader that names it; who takes
//! anything gets the text format, which more programs read. A reader that takes neither gets the text format as well: the
//! RFC allows it, and an answer that a person can read says more than 406.

/// A format in which metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus' text format.
    Text,
    /// OpenMetrics 1.0, which has exemplars.
    OpenMetrics,
}

impl Format {
    /// The value of `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Text => ("text", "plain", "0.0.4"),
            Self::OpenMetrics => ("application", "openmetrics-text", "1.0.0"),
        }
    }
}

/// The format for a reader with this header.
pub(crate) fn negotiate(accept: Option<&str>) -> Format {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else { return Format::Text };
    let (open_metrics, text) = (preference(accept, Format::OpenMetrics), preference(accept, Format::Text));
    if open_metrics.quality > 0 && open_metrics > text { Format::OpenMetrics } else { Format::Text }
}

/// How much a reader wants a format: compared by quality, then by how closely it was named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    /// In thousandths.
    quality: u16,
    specificity: u8,
}

/// The preference of the range that describes the format most closely.
fn preference(accept: &str, format: Format) -> Preference {
    let matching = accept.split(',').filter_map(|range| range_preference(range, format));
    matching.max_by_key(|found| (found.specificity, found.quality)).unwrap_or_default()
}

/// The preference of one media range; `None` if the format is not in it.
fn range_preference(range: &str, format: Format) -> Option<Preference> {
    let (kind, subtype, version) = format.names();
    let mut parts = range.split(';').map(str::trim);
    let (range_kind, range_subtype) = parts.next()?.split_once('/')?;
    let mut specificity = match (range_kind, range_subtype) {
        ("*", "*") => 0,
        (given, "*") if given.eq_ignore_ascii_case(kind) => 1,
        (given, sub) if given.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => 2,
        _ => return None,
    };
    let mut quality = 1000;
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            // What follows are no parameters of the media type.
            "q" => {
                quality = parse_quality(value)?;
                break;
            }
            "version" if value == version => specificity = 3,
            "charset" if value.eq_ignore_ascii_case("utf-8") => {}
            "version" | "charset" => return None,
            // Such as `escaping`, which Prometheus 3 sends: names of this host need no escaping.
            _ => {}
        }
    }
    Some(Preference { quality, specificity })
}

/// A weight from 0 to 1 with three digits at most, in thousandths.
fn parse_quality(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Format::{OpenMetrics, Text};
    use super::*;

    #[test]
    fn a_reader_gets_the_format_that_it_wants_most() {
        let cases = [
            ("", Text),
            ("*/*", Text),
            ("text/html", Text),
            ("text/*", Text),
            ("text/plain", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=1.0.0; charset=UTF-8", OpenMetrics),
            ("application/*", OpenMetrics),
            ("application/openmetrics-text, */*", OpenMetrics),
            ("*/*, application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text;q=0.5, text/plain;q=0.6", Text),
            ("application/openmetrics-text;q=0.6, text/plain;q=0.5", OpenMetrics),
            ("text/plain, application/openmetrics-text", Text),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;q=0, */*", Text),
            ("application/openmetrics-text;q=0.000, application/*", Text),
            // No version of this host.
            ("application/openmetrics-text;version=0.0.1", Text),
            ("application/openmetrics-text;version=2.0.0", Text),
            ("application/openmetrics-text;charset=utf-16", Text),
            // A weight that is none.
            ("application/openmetrics-text;q=2", Text),
            ("application/openmetrics-text;q=0.1234", Text),
            ("application/openmetrics-text;q=", Text),
            // What Prometheus 2.42 and Prometheus 3 send.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
        ];
        for (accept, expected) in cases {
            assert_eq!(negotiate(Some(accept)), expected, "{accept}");
        }
        assert_eq!(negotiate(None), Text);
    }
}
