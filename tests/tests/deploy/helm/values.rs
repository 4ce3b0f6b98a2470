//! Values that the chart refuses, and what it says.

use masque_tests::deploy::in_repository;

use super::rendering::{chart, helm, render, try_render, values};

/// Renders with each of these values, which the chart has to refuse with these words. A row: the file in `ci`, more values,
/// the words.
async fn expect_refused(table: &[(&str, &str, &str)]) {
    let texts: Vec<_> = table.iter().map(|(name, more, _)| values(name, &format!("{more}\n"))).collect();
    for ((_, more, words), answer) in table.iter().zip(try_render(&chart(), &texts).await) {
        let refusal = answer.err().unwrap_or_else(|| panic!("{more} is accepted"));
        assert!(refusal.contains(words), "{more}: {refusal}");
    }
}

#[tokio::test]
async fn the_schema_refuses_values_that_can_not_be_right() {
    let table = [
        ("replica: 3", "replica"),
        ("replicas: many", "/replicas"),
        ("replicas: 0", "/replicas"),
        ("store: mysql", "/store"),
        ("environment: prod", "/environment"),
        ("image: { repository: r, digest: latest }", "/image/digest"),
        ("terminationMargin: 1", "/terminationMargin"),
        ("activeSetRevision: newest", "/activeSetRevision"),
        ("runAsUser: 0", "/runAsUser"),
        ("config: { drain: { delay: soon, timeout: 15s } }", "/config/drain/delay"),
        ("config: { drain: { delai: 5s } }", "/config/drain"),
        ("config: { server: { listen: '0.0.0.0:80' } }", "/config/server"),
        ("config: { admin: { listen: '0.0.0.0:80' } }", "/config/admin"),
        ("config: { data: { folder: /data } }", "/config/data"),
        ("config: { auth: { secret_file: /jwt } }", "/config/auth"),
        ("config: { active_set: { revision: 4 } }", "/config/active_set"),
        ("config: { tls: { key: k } }", "/config"),
        ("config: { companion: { elara: {} } }", "/config"),
        ("cards: { ../ada.json: '{}' }", "/cards"),
        ("secrets: { jwt: { name: masque-auth } }", "/secrets/jwt"),
        ("credentials: { openai: { origin: 'https://api.openai.com' } }", "/credentials/openai"),
        ("tls: { mode: edge }", "/tls/mode"),
        ("ingress: { controller: caddy }", "/ingress/controller"),
        ("plugins: { volume: { emptyDir: {}, hostPath: {} } }", "/plugins/volume"),
        ("networkPolicy: { monitoring: [] }", "/networkPolicy/monitoring"),
        ("networkPolicy: { monitoring: [{ namespaceSelector: {} }] }", "/networkPolicy/monitoring"),
        ("networkPolicy: { egress: { model: { ports: [] } } }", "/networkPolicy/egress/model"),
        ("data: { accessModes: [ReadWriteMany] }", "/data/accessModes"),
        ("prometheusRule: { runbookUrlPrefix: runbooks }", "/prometheusRule/runbookUrlPrefix"),
        ("topologySpreadConstraints: [{ topologyKey: zone }]", "/topologySpreadConstraints"),
        ("extraEnv: [{ value: x }]", "/extraEnv"),
    ];
    expect_refused(&table.map(|(more, place)| ("sqlite", more, place))).await;
}

#[tokio::test]
async fn values_that_do_not_fit_each_other_are_refused_with_what_to_set() {
    let table = [
        ("sqlite", "image: { tag: latest }", "image.repository is missing"),
        ("sqlite", "secrets: {}", "secrets.jwt.existingSecret"),
        ("sqlite", "config: {}", "config.server.trusted_proxies is missing"),
        ("sqlite", "tls: { mode: none }", "tls.mode is none"),
        ("sqlite", "tls: { mode: pod }", "tls.existingSecret is missing"),
        ("sqlite", "ingress: { enabled: true, tlsSecret: t }", "ingress.hosts is missing"),
        ("sqlite", "ingress: { enabled: true, hosts: [m.example] }", "ingress.tlsSecret is missing"),
        ("sqlite", "autoscaling: { enabled: true }", "autoscaling.enabled needs `store: postgres`"),
        ("sqlite", "plugins: { configMaps: [a], volume: { emptyDir: {} } }", "are both set"),
        ("sqlite", "store: postgres", "secrets.database is missing"),
        ("existing-secrets", "store: sqlite", "secrets.database needs `store: postgres`"),
        ("existing-secrets", "erasures: {}", "erasures.existingClaim or erasures.size"),
        ("tls-pod", "serviceMonitor: { enabled: true }", "serviceMonitor.tlsConfig is missing"),
    ];
    expect_refused(&table).await;
}

#[tokio::test]
async fn an_identity_provider_takes_the_place_of_a_secret() {
    let more = "secrets: {}\nconfig: { server: { trusted_proxies: [10.42.0.0/16] }, auth: { issuers: { company: \
                { issuer: 'https://id.example.com', audience: masque } } } }\n";
    let rendering = render("sqlite", more).await;
    assert!(rendering.configuration().contains("[auth.issuers.company]\naudience = \"masque\"\n"));
    assert_eq!(rendering.find("Secret", "").map(|_| ()), None);
}

#[tokio::test]
async fn values_are_written_as_toml_of_their_types() {
    let more = "config: { server: { trusted_proxies: [10.42.0.0/16] }, companions: { ada: { persona: elara, \
                models: [offline], fallback: true, memory_budget: 100000000, options: { temperature: 0.25, \
                \"top p\": 1, stop: [\"a\\\"b\\n\"], bias: [{ token: 7 }] } } } }\n";
    let rendering = render("sqlite", more).await;
    let expected = "[companions.ada]\nfallback = true\nmemory_budget = 100000000\nmodels = [\"offline\"]\n\
                    persona = \"elara\"\n\n[companions.ada.options]\nbias = [{ token = 7 }]\n\
                    stop = [\"a\\\"b\\n\"]\ntemperature = 0.25\n\"top p\" = 1\n";
    let configuration = rendering.configuration();
    assert!(configuration.contains(expected), "{configuration}");
}

#[tokio::test]
async fn hosts_keep_idle_connections_for_longer_than_the_controller_of_the_ingress() {
    let table = [("nginx", Some("70s")), ("traefik", Some("100s")), ("alb", Some("170s")), ("none", None)];
    let ingress = |controller: &str| {
        format!("ingress: {{ enabled: true, controller: {controller}, hosts: [m.example], tlsSecret: t }}\n")
    };
    let own = "config: { server: { trusted_proxies: [10.42.0.0/16], header_timeout: 20s } }\n";
    for (more, expected) in table
        .map(|(controller, expected)| (ingress(controller), expected))
        .into_iter()
        .chain([(ingress("nginx") + own, Some("20s"))])
    {
        let rendering = render("sqlite", &more).await;
        let found = rendering.configuration().lines().find_map(|line| line.strip_prefix("header_timeout = "));
        assert_eq!(found.map(|value| value.trim_matches('"')), expected, "{more}");
    }
}

#[tokio::test]
async fn the_values_in_the_readme_of_the_chart_are_enough() {
    let readme = std::fs::read_to_string(chart().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```yaml\n").unwrap();
    let example = rest.split("```").next().unwrap().to_owned();
    let answer = try_render(&chart(), &[example]).await.remove(0);
    assert_eq!(answer.err(), None);
}

#[tokio::test]
async fn the_schema_knows_every_value_and_every_section_of_the_configuration() {
    let schema = std::fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let defaults = helm(&["read", chart().join("values.yaml").to_str().unwrap()], "").await;
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut known = keys(&schema["properties"]);
    known.retain(|key| key != "global");
    let mut named = keys(&defaults);
    known.sort();
    named.sort();
    assert_eq!(named, known);

    let guide = std::fs::read_to_string(in_repository("docs/configuration.md")).unwrap();
    let headings = guide.lines().filter_map(|line| line.strip_prefix("### `[")?.strip_suffix("]`"));
    let mut documented: Vec<_> = headings.map(|section| section.split('.').next().unwrap()).collect();
    // What the chart writes itself.
    documented.retain(|section| !["tls", "credentials"].contains(section));
    let mut sections = keys(&schema["properties"]["config"]["properties"]);
    sections.sort();
    documented.sort_unstable();
    documented.dedup();
    assert_eq!(sections, documented);
}
