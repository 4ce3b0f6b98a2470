//! The options of traces.

use http::{HeaderName, HeaderValue};
use masque_config::{Config, Diagnostic, Location, TraceProtocol, Traces};
use masque_telemetry::trace::otlp::{ClientIdentity, OtlpExport, OtlpOptions, Protocol, QueueOptions};
use masque_telemetry::trace::{Sampling, Tracer};
use uuid::Uuid;

/// How and where traces are sent, for the host `id`.
///
/// # Errors
/// The endpoint or a header can't be used. Neither is quoted: both may hold a token.
pub(crate) fn options(traces: &Traces, id: Uuid) -> anyhow::Result<OtlpOptions> {
    let mut headers = Vec::new();
    for (name, value) in &traces.headers {
        let parsed = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.reveal()));
        let (Ok(name), Ok(mut value)) = parsed else {
            anyhow::bail!("a header for the collector can't be used")
        };
        value.set_sensitive(true);
        headers.push((name, value));
    }
    let endpoint = traces.endpoint.reveal().parse();
    Ok(OtlpOptions {
        endpoint: endpoint.map_err(|_| anyhow::anyhow!("the endpoint is not a URL"))?,
        protocol: match traces.protocol {
            TraceProtocol::Grpc => Protocol::Grpc,
            TraceProtocol::Http => Protocol::Http,
        },
        headers,
        timeout: traces.timeout,
        certificate: traces.certificate.clone(),
        client: traces.client.clone().map(|(certificate, key)| ClientIdentity { certificate, key }),
        queue: QueueOptions {
            max_spans: traces.queue.max_spans,
            max_batch: traces.queue.max_batch,
            delay: traces.queue.delay,
        },
        resource: resource(traces, id),
    })
}

/// What the operator says of this service, and what only the host knows. The operator's word counts.
fn resource(traces: &Traces, id: Uuid) -> Vec<(String, String)> {
    let own = [
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id".to_owned(), id.to_string()),
    ];
    let is_given = |name: &str| traces.resource.iter().any(|(given, _)| given == name);
    let own = own.into_iter().filter(|(name, _)| !is_given(name));
    traces.resource.iter().cloned().chain(own).collect()
}

/// Begins the traces of a host, and sends those that are kept to `export`.
pub(crate) fn tracer(traces: &Traces, export: &OtlpExport) -> Tracer {
    let sampling = Sampling { ratio: traces.sampling.ratio, follows_caller: traces.sampling.follows_caller };
    Tracer::with_sampling(export.sink(), sampling, traces.captures_content)
}

/// Why traces could not be sent. No collector is asked.
pub(crate) fn verify(config: &Config) -> Option<Diagnostic> {
    let traces = config.traces.as_ref()?;
    let location = || Location::Variable(traces.endpoint_variable.to_owned());
    let error = match options(traces, Uuid::nil()) {
        Ok(options) => OtlpExport::verify(&options).err()?,
        Err(error) => {
            return Some(Diagnostic::error(location(), error.to_string(), "Correct it, or unset it."));
        }
    };
    let remedy = "Correct the variable that names it, or unset it.";
    let location = error.path().map_or_else(location, |path| Location::whole_file(path));
    Some(Diagnostic::error(location, error.to_string(), remedy))
}

#[cfg(test)]
mod tests {
    use masque_config::{ConfigSource, Environment, Flags};

    use super::*;
    use crate::builtins::ELARA_CARD;

    fn source(variables: &[(&str, &str)]) -> ConfigSource {
        ConfigSource {
            flags: Flags::default(),
            environment: Environment::from_pairs(
                variables.iter().map(|(name, value)| (name.into(), value.into())),
            ),
            folder: std::env::temp_dir().join("nowhere"),
            default_card: ELARA_CARD.into(),
        }
    }

    fn config(variables: &[(&str, &str)]) -> Config {
        source(variables).load().unwrap().config
    }

    #[test]
    fn a_host_says_which_one_it_is_unless_the_operator_does() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector?key=hunter2");
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2");
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=one");
        let id = Uuid::from_u128(7);
        for (variables, instance) in [
            (vec![endpoint, headers], id.to_string()),
            (vec![endpoint, headers, attributes], "one".to_owned()),
        ] {
            let options = options(config(&variables).traces.as_ref().unwrap(), id).unwrap();
            let of = |name: &str| options.resource.iter().find(|(given, _)| given == name).unwrap().1.clone();
            assert_eq!((of("service.name"), of("service.instance.id")), ("masque".to_owned(), instance));
            assert!(!of("service.version").is_empty());
            assert!(!format!("{:?}", options.headers).contains("hunter2"));
        }
    }

    #[test]
    fn a_certificate_that_is_not_there_is_found_before_the_host_starts() {
        assert_eq!(verify(&config(&[])), None);
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318");
        assert_eq!(verify(&config(&[endpoint])), None);
        let certificate = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "missing.pem");
        let found = verify(&config(&[endpoint, certificate])).unwrap().to_string();
        assert!(found.contains("missing.pem") && found.contains("can't be read"), "{found}");
    }

    #[test]
    fn a_mistake_in_a_variable_is_found_once() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318");
        for mistake in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:none"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://user:hunter2@collector"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://[::1"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=hunter2"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "without-its-key.pem"),
        ] {
            let invalid = match source(&[endpoint, mistake]).load() {
                Err(invalid) => invalid,
                // It is found when the options are made, and nowhere else.
                Ok(loaded) => {
                    assert!(verify(&loaded.config).is_some(), "{mistake:?} was taken");
                    continue;
                }
            };
            assert_eq!(invalid.diagnostics.iter().count(), 1, "{mistake:?}: {}", invalid.diagnostics);
            assert_eq!(verify(&invalid.valid_part.unwrap()), None, "{mistake:?}");
        }
    }
}
