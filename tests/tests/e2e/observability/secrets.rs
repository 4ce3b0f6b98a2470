//! Secrets that are planted, and searched for in everything that a host writes, after a workload that brings them near it.

use masque_tests::{Answer, Client, MockModel, Planted, Setup, Step, assert_in_none, eventually};
use serde_json::{Value, json};

use super::planted_host::{PlantedHost, Secrets, configuration, database_url, redis_url};
use super::written::{Places, explanations, files, outputs, rows, turns_of};

/// The documents of the active set hold settings as they are in the file, with a key in a URL's query.
const ACTIVE_SETS: &str = "the table generations";

/// A turn of each companion whose turns fail, and turns in which the upstream repeats what it was sent.
async fn take_turns(user: &Client, model: &MockModel, secrets: &Secrets) {
    let chat = async |companion: &str| {
        let body = json!({ "message": "Hello there.", "companion": companion });
        user.chat(&body).send().await
    };
    chat("elara").await.expect(200);
    let (key, query) = (secrets.credential.text(), secrets.query.text());
    let (encoded_key, encoded_query) =
        (secrets.credential.percent_encoded(), secrets.query.percent_encoded());
    let escaped: String = key.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let repeated = [
        Answer::error(401, "invalid_api_key", &format!("Incorrect API key: Bearer {key} at /v1?key={query}")),
        Answer::error(500, "server_error", &format!("GET /v1?key={encoded_query} with {encoded_key}")),
        Answer::body(500, "application/json", format!("{{\"error\": {{\"message\": \"{escaped}\"}}}}")),
        Answer::body(502, "text/html", format!("<html>authorization: Bearer {key}, /v1?key={query}</html>")),
        Answer::body(200, "text/plain", format!("authorization: Bearer {key}, /v1?key={query}")),
        Answer::body(
            200,
            "text/event-stream",
            format!("data: {{\"error\": \"no slot for {key} {query}\"}}\n\n"),
        ),
        Answer::hang_up(),
        Answer::steps(vec![Step::Text("Half a".into()), Step::Cut]),
    ];
    for answer in repeated {
        model.next(answer);
        let failed = chat("elara").await;
        assert!(failed.status >= 500, "{}", failed.text);
    }
    model.next(Answer::pieces(&["You sent ", key, ", did you not?"]));
    let answer = chat("elara").await;
    assert!(
        answer.expect(200)["reply"]["content"].as_str().unwrap().contains("[redacted]"),
        "{}",
        answer.text
    );
    let streamed = json!({ "message": "Hello there.", "stream": true, "companion": "elara" });
    model.next(Answer::steps(vec![Step::Text("Half a".into()), Step::Bytes(key.to_owned().leak())]));
    user.chat(&streamed).events().await.transcript().await;
    for companion in ["away", "denied", "picky"] {
        let failed = chat(companion).await;
        assert!(failed.status >= 500, "{companion}: {}", failed.text);
    }
    let request = model.request(0).await;
    assert_eq!(request.headers["authorization"].to_str().unwrap(), format!("Bearer {key}"));
    assert_eq!(request.query, format!("key={encoded_query}"));
}

/// Uses a credential correctly, and in each way in which clients get it wrong.
async fn misuse(client: &Client, credential: &str) {
    let cut = &credential[..credential.len() - 1];
    for bearer in [credential, cut, &format!("{credential}x"), &format!("{credential} {credential}")] {
        client.bearer(bearer).get("/conversations").send().await;
        client.http2().bearer(bearer).get("/conversations").send().await;
    }
    for (name, value) in [
        ("authorization", format!("Basic {credential}")),
        ("x-api-key", credential.to_owned()),
        ("cookie", format!("session={credential}")),
    ] {
        let refused = client.chat(&json!({ "message": "Hello." })).header(name, &value).send().await;
        assert_eq!(refused.status, 401, "{}", refused.text);
    }
    for path in ["/conversations?access_token=", "/nowhere?api_key=", "/turns/", "/", "/metrics?key="] {
        client.get(&format!("{path}{credential}")).send().await;
    }
    client.post("/auth/validate", &json!({ "token": format!("{credential}x") })).send().await;
    client.post("/chat", &json!({ "message": "x", "token": credential })).send().await;
}

/// Changes the file of another host, on SQLite, to valid and invalid ones, with a secret near each mistake. Returns what that
/// host writes. A host with a shared database takes its file only once the file's revision has risen.
async fn reload(planted: &PlantedHost, secrets: &Secrets) -> Places {
    let setup = Setup::file(&configuration(&planted.model, &planted.model, &secrets.query))
        .environment("JWT_SECRET_KEY", secrets.signing.text());
    let mut host = setup.start().await;
    let file = host.folder().join("masque.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let line = |start: &str| good.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    let (value, url) = (line("value = "), line("base_url = "));
    for (written, mistaken, said) in [
        (&value, value.trim_end_matches('"').to_owned(), "masque.toml"),
        (&value, value.replacen("value = ", "valu = ", 1), "valu"),
        (&value, format!("{}]", value.replacen("value = ", "value = [", 1)), "value"),
        (&value, value.replacen("Bearer ", "Bearer \\u0007", 1), "header"),
        (&url, url.replacen("http://", "ftp://", 1), "base_url"),
        (&url, format!("{}]", url.replacen("base_url = ", "base_url = [", 1)), "base_url"),
        (&url, format!("{url}\ntemperature = \"{}\"", "x".repeat(10)), "temperature"),
    ] {
        let refused = host.log().matches("a change is refused").count();
        std::fs::write(&file, good.replacen(written.as_str(), &mistaken, 1)).unwrap();
        host.hang_up();
        eventually("the change to be refused", || async {
            (host.log().matches("a change is refused").count() > refused).then_some(())
        })
        .await;
        host.logged(said).await;
    }
    std::fs::write(&file, good.replacen(&url, &format!("{url}\ntemperature = 0.5"), 1)).unwrap();
    host.hang_up();
    host.logged("changes are in effect").await;
    host.terminate();
    assert!(host.ended().await.success());
    let mut places = files(host.data());
    places.push(("the log of a host whose file was changed".to_owned(), host.log().into_bytes()));
    places
}

/// Starts the host's file with servers that don't accept its passwords, and with values that can't be read. Returns what it
/// says.
async fn refused_starts(planted: &PlantedHost, secrets: &Secrets, wrong: &Planted) -> Places {
    let database = database_url(&planted.server, &planted.database, &secrets.database);
    let redis = redis_url(&planted.redis, &secrets.redis);
    // A Redis that refuses the password is waited for, without it; `lose_servers` brings that about.
    let encoded = wrong.percent_encoded();
    let with = |name: &str, value: String| {
        let mut values = vec![("DATABASE_URL", database.clone()), ("REDIS_URL", redis.clone())];
        values.retain(|(known, _)| *known != name);
        let setup = Setup::file(&configuration(&planted.model, &planted.model, &secrets.query))
            .environment("JWT_SECRET_KEY", secrets.signing.text())
            .environment(name, &value);
        values.iter().fold(setup, |setup, (name, value)| setup.environment(name, value))
    };
    let mut places = Vec::new();
    for (name, value) in [
        ("DATABASE_URL", database_url(&planted.server, &planted.database, wrong)),
        ("DATABASE_URL", format!("postgresql://planted:{encoded}@127.0.0.1:port/planted")),
        ("DATABASE_URL", format!("{database}?sslpassword={encoded}&port=port")),
        ("REDIS_URL", format!("redis://:{encoded}@127.0.0.1:port")),
        ("REDIS_URL", format!("http://:{encoded}@127.0.0.1")),
        ("OTEL_EXPORTER_OTLP_HEADERS", wrong.text().to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://me:{encoded}@127.0.0.1?key={encoded}")),
    ] {
        let setup = with(name, value).environment("OTEL_TRACES_EXPORTER", "otlp");
        let started = setup.serve_to_end().await;
        assert!(!started.status.success(), "{name}: {}", started.text);
        places.push((format!("the log of a host with another {name}"), started.text.into_bytes()));
    }
    places
}

/// Lets the host lose the database and Redis to another password, and get them back.
async fn lose_servers(planted: &mut PlantedHost, secrets: &Secrets, wrong: &Planted) {
    let user = planted.user();
    planted.change_redis_password(wrong);
    eventually("Redis to be away", || async {
        let health: Value = planted.host.socket().get("/health").send().await.json();
        (health["checks"]["redis"] == "unavailable").then_some(())
    })
    .await;
    let hello = json!({ "message": "Hello there.", "companion": "elara" });
    user.chat(&hello).send().await.expect(200);
    planted.change_redis_password(&secrets.redis);
    planted.change_database_password(wrong);
    eventually("the database to be away", || async {
        let answer = user.chat(&hello).send().await;
        (answer.status == 503).then_some(())
    })
    .await;
    planted.change_database_password(&secrets.database);
    eventually("the database to be back", || async {
        let answer = user.chat(&hello).send().await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_secret_is_in_anything_that_a_host_writes() {
    let (secrets, wrong) = (Secrets::random(), Planted::random("a password that is wrong"));
    let mut planted = PlantedHost::start(&secrets).await;
    let (client, user) = (planted.host.client(), planted.user());
    take_turns(&user, &planted.model, &secrets).await;
    let credentials = [planted.key.clone(), planted.token.clone()];
    for credential in &credentials {
        misuse(&client, credential).await;
    }
    let mut places = reload(&planted, &secrets).await;
    places.extend(refused_starts(&planted, &secrets, &wrong).await);
    // Of a turn that ends while the database is away there may be no record.
    let turns = turns_of(&user).await;
    assert!(turns.len() >= 10, "{turns:?}");
    lose_servers(&mut planted, &secrets, &wrong).await;

    places.extend(explanations(&planted.host, &turns).await);
    places.extend(outputs(&planted.host, &planted.collector).await);
    places.extend(rows(&planted.server, &planted.database));
    places.extend(files(planted.host.data()));
    let received = planted.collector.requests();
    assert_eq!(received[0].headers["x-api-key"], secrets.otlp_header.text());
    planted.host.terminate();
    assert!(planted.host.ended().await.success());
    places.push(("the log of the whole run".to_owned(), planted.host.log().into_bytes()));

    let last = |text: &str, separator| text.rsplit(separator).next().unwrap().to_owned();
    let mut searched = secrets.all();
    searched.extend([
        wrong,
        Planted::new("the API key", last(&credentials[0], '_')),
        Planted::new("the signature of a token", last(&credentials[1], '.')),
    ]);
    let (documents, others): (Places, Places) =
        places.into_iter().partition(|(place, _)| place.starts_with(ACTIVE_SETS));
    assert!(
        documents.iter().any(|(_, bytes)| secrets.query.form_in(bytes).is_some()),
        "the set is published"
    );
    assert_in_none(&searched, &others);
    searched.retain(|planted| planted.name != secrets.query.name);
    assert_in_none(&searched, &documents);
}
