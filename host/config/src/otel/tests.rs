use super::*;
use crate::Flags;
use crate::tests::{Folder, lines_of};

const ON: (&str, &str) = ("OTEL_TRACES_EXPORTER", "otlp");
const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

fn traces(variables: &[(&str, &str)]) -> Option<Traces> {
    let folder = Folder::new();
    let loaded = folder.load(&Flags::default(), variables);
    loaded.unwrap_or_else(|diagnostics| panic!("{variables:?}: {diagnostics}")).config.traces
}

fn refused(variables: &[(&str, &str)]) -> Vec<String> {
    let loaded = Folder::new().load(&Flags::default(), variables);
    assert!(loaded.is_err(), "{variables:?} was taken");
    lines_of(loaded)
}

#[test]
fn traces_are_sent_only_where_it_is_asked_for() {
    let cases: &[(&[(&str, &str)], bool)] = &[
        (&[], false),
        (&[ON], true),
        (&[ENDPOINT], true),
        (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector/v1/traces")], true),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], false),
        (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")], false),
        (&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")], false),
        (&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")], true),
        (&[("OTEL_SERVICE_NAME", "shop"), ("OTEL_TRACES_SAMPLER", "xray")], false),
    ];
    for (variables, is_sent) in cases {
        assert_eq!(traces(variables).is_some(), *is_sent, "{variables:?}");
    }
}

#[test]
fn the_endpoint_of_all_signals_gets_the_path_of_traces_and_that_of_traces_is_whole() {
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[ON], "http://localhost:4318/v1/traces"),
        (&[ON, grpc], "http://localhost:4317"),
        (&[(ALL, "http://collector:4318")], "http://collector:4318/v1/traces"),
        (&[(ALL, " https://collector/otlp/ ")], "https://collector/otlp/v1/traces"),
        (&[(ALL, "https://collector?key=x")], "https://collector/v1/traces?key=x"),
        (&[(ALL, "http://[::1]:4318")], "http://[::1]:4318/v1/traces"),
        (&[(ALL, "http://collector:4317"), grpc], "http://collector:4317"),
        (&[(ALL, "http://other"), (TRACES, "http://collector/x")], "http://collector/x"),
    ];
    for (variables, endpoint) in cases {
        assert_eq!(traces(variables).unwrap().endpoint.reveal(), *endpoint, "{variables:?}");
    }
}

#[test]
fn what_is_not_given_has_the_defaults_of_the_standard() {
    let traces = traces(&[ENDPOINT]).unwrap();
    assert_eq!(traces.protocol, TraceProtocol::Http);
    assert_eq!(traces.timeout, Duration::from_secs(10));
    assert_eq!(traces.queue, TraceQueue { max_spans: 2048, max_batch: 512, delay: Duration::from_secs(5) });
    assert_eq!(traces.sampling, TraceSampling { ratio: 1.0, follows_caller: true });
    assert_eq!(traces.resource, [("service.name".to_owned(), "masque".to_owned())]);
    assert!(!traces.captures_content && traces.headers.is_empty());
    assert!(traces.certificate.is_none() && traces.client.is_none());
}

#[test]
fn samplers_keep_their_meaning_for_turns_that_do_not_fail() {
    for (sampler, argument, ratio, follows_caller) in [
        ("always_on", "0.1", 1.0, false),
        ("always_off", "", 0.0, false),
        ("traceidratio", "0.25", 0.25, false),
        ("traceidratio", "", 1.0, false),
        ("parentbased_always_on", "", 1.0, true),
        ("parentbased_always_off", "", 0.0, true),
        ("parentbased_traceidratio", "0", 0.0, true),
    ] {
        let variables = [ENDPOINT, ("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        let sampling = traces(&variables).unwrap().sampling;
        assert_eq!(sampling, TraceSampling { ratio, follows_caller }, "{sampler} {argument}");
    }
}

#[test]
fn headers_and_attributes_are_decoded() {
    let traces = traces(&[
        ENDPOINT,
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=of-all"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "Authorization=Bearer%20t=1 , x-scope=%2Ca,"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,service.namespace=a%20b"),
        ("OTEL_SERVICE_NAME", "shop"),
    ])
    .unwrap();
    let headers: Vec<_> =
        traces.headers.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    assert_eq!(headers, [("authorization", "Bearer t=1"), ("x-scope", ",a")]);
    let resource: Vec<_> =
        traces.resource.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(resource, [("service.namespace", "a b"), ("service.name", "shop")]);
    let printed = format!("{traces:?}");
    assert!(!printed.contains("Bearer") && !printed.contains("collector"), "{printed}");
}

#[test]
fn the_text_of_messages_is_captured_only_where_spans_are_named() {
    for (value, is_captured) in [
        ("", false),
        ("true", true),
        ("SPAN_ONLY", true),
        ("span_and_event", true),
        ("NO_CONTENT", false),
        ("False", false),
    ] {
        assert_eq!(traces(&[ENDPOINT, (CONTENT, value)]).unwrap().captures_content, is_captured, "{value}");
    }
}

#[test]
fn a_value_that_the_host_can_not_follow_is_refused_and_no_secret_is_quoted() {
    for (name, value, what) in [
        ("OTEL_SDK_DISABLED", "maybe", "`maybe` is neither true nor false"),
        ("OTEL_TRACES_EXPORTER", "console", "traces can be sent with `otlp` only"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "must be a URL that begins with `http://`"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@collector", "may have no user and password"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://:4318", "is not a URL"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:x?key=hunter2", "is not a URL"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "can't be sent with this protocol"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "GRPC", "can't be sent with this protocol"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "are not a list of names with values"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api key=hunter2", "are not a list of names with values"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key=hunter2%0A", "are not a list of names with values"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key=hunter2%ff", "are not a list of names with values"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "`10s` is not a whole number from 1 to 3600000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "traces are sent without compression"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem", "a certificate for the collector needs its key"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=x", "are not a list of names with values"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "the host has no sampler `jaeger_remote`"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "127", "`127` is not a whole number from 128 to 1000000"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096", "does not fit into a queue of 2048"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "`0` is not a whole number"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "-1", "`-1` is not a whole number"),
        (CONTENT, "EVENT_ONLY", "can be captured in spans only"),
    ] {
        let lines = refused(&[ON, (name, value)]);
        let is_named = lines.iter().any(|line| line.starts_with(&format!("{name}: ")) && line.contains(what));
        assert!(is_named, "{name}={value}: {lines:?}");
        assert!(!lines.join("\n").contains("hunter2"), "{lines:?}");
    }
    for argument in ["1.5", "-0.1", "NaN", "10%"] {
        let variables = [ON, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        let lines = refused(&variables);
        assert!(lines.concat().contains("is not a share from 0 to 1"), "{argument}: {lines:?}");
    }
}

#[test]
fn the_port_of_grpc_with_http_is_a_warning() {
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")];
    let loaded = Folder::new().load(&Flags::default(), &variables);
    assert!(loaded.is_ok());
    assert!(lines_of(loaded).concat().contains("port 4317 is that of gRPC"));
}

#[test]
fn the_page_on_traces_lists_every_variable() {
    let page = include_str!("../../../../docs/tracing.md");
    let shared = [
        Shared::Endpoint,
        Shared::Protocol,
        Shared::Headers,
        Shared::Timeout,
        Shared::Compression,
        Shared::Certificate,
        Shared::ClientCertificate,
        Shared::ClientKey,
    ];
    let others = [
        DISABLED,
        EXPORTER,
        SERVICE_NAME,
        RESOURCE,
        CONTENT,
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_BSP_EXPORT_TIMEOUT",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    ];
    for name in shared.into_iter().flat_map(Shared::names).chain(others) {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
