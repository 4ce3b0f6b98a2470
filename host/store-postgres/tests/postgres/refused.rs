//! Databases and servers that can't be used are refused, each with what to do, and left as they are.

use std::io::Write;
use std::time::Duration;

use masque_store_postgres::testing::{TestDatabase, TestServer};
use masque_store_postgres::{PostgresOpenError, PostgresOptions, PostgresStore, migrate};
use tokio::io::AsyncWriteExt;

async fn open(options: &PostgresOptions) -> PostgresOpenError {
    PostgresStore::open(options).await.unwrap_err()
}

/// The options of a user that can't do more than it is granted.
fn as_user(database: &TestDatabase, user: &str) -> PostgresOptions {
    TestServer::shared().psql("postgres", &format!("CREATE ROLE {user} LOGIN"));
    PostgresOptions::from_url(&TestServer::shared().url(user, &database.name)).unwrap()
}

#[tokio::test]
async fn the_earlier_service_and_other_programs_keep_their_databases() {
    let server = TestServer::shared();
    let database = server.empty_database();
    let options = database.options();
    server.psql(&database.name, "CREATE TABLE orders (id int)");
    assert!(matches!(open(&options).await, PostgresOpenError::Foreign { .. }));
    assert!(matches!(migrate(&options).await, Err(PostgresOpenError::Foreign { .. })));
    server.psql(&database.name, "CREATE TABLE alembic_version (version_num text)");
    let refused = open(&options).await;
    assert!(matches!(refused, PostgresOpenError::EarlierService { .. }), "{refused}");
    assert!(refused.to_string().contains("alembic_version"), "{refused}");
    assert!(matches!(migrate(&options).await, Err(PostgresOpenError::EarlierService { .. })));
    let tables = server.psql(
        &database.name,
        "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
    );
    assert_eq!(tables, "alembic_version orders", "nothing was changed");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let options = PostgresOptions::from_url(&TestServer::shared().url("postgres", "nowhere")).unwrap();
    let refused = open(&options).await;
    assert!(
        matches!(&refused, PostgresOpenError::NoDatabase { database } if database == "nowhere"),
        "{refused}"
    );
    assert!(refused.to_string().contains("createdb"), "{refused}");
}

#[tokio::test]
async fn missing_rights_are_named_with_what_to_grant() {
    let server = TestServer::shared();
    let database = server.migrated_database().await;
    let options = as_user(&database, "stranger");
    let refused = open(&options).await;
    assert!(matches!(refused, PostgresOpenError::MissingRights { .. }), "{refused}");
    server.psql(&database.name, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO stranger");
    let refused = open(&options).await;
    assert!(refused.to_string().contains("UPDATE") && refused.to_string().contains("turns"), "{refused}");
    server.psql(
        &database.name,
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO stranger",
    );
    PostgresStore::open(&options).await.unwrap();
    server.psql(&database.name, "REVOKE EXECUTE ON FUNCTION masque_now_v1() FROM PUBLIC");
    let refused = open(&options).await;
    assert!(matches!(refused, PostgresOpenError::MissingRights { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("EXECUTE") && text.contains("masque_now_v1") && !text.contains("admit"), "{text}");
    server.psql(&database.name, "GRANT EXECUTE ON FUNCTION masque_now_v1() TO stranger");
    PostgresStore::open(&options).await.unwrap();

    let empty = server.empty_database();
    server.psql(&empty.name, "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let options = PostgresOptions::from_url(&server.url("stranger", &empty.name)).unwrap();
    let refused = migrate(&options).await.unwrap_err();
    assert!(matches!(refused, PostgresOpenError::MissingRights { .. }), "{refused}");
    server.psql(&empty.name, "REVOKE USAGE ON SCHEMA public FROM PUBLIC");
    let refused = migrate(&options).await.unwrap_err();
    assert!(refused.to_string().contains("search_path"), "{refused}");
}

#[tokio::test]
async fn a_database_that_only_reads_is_refused() {
    let server = TestServer::shared();
    let database = server.migrated_database().await;
    let name = &database.name;
    server.psql("postgres", &format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    let refused = open(&database.options()).await;
    assert!(matches!(refused, PostgresOpenError::ReadOnly { .. }), "{refused}");
    assert!(refused.is_transient());
}

#[tokio::test]
async fn a_database_in_another_encoding_is_refused() {
    let server = TestServer::shared();
    server.psql("postgres", "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII'");
    let options = PostgresOptions::from_url(&server.url("postgres", "ascii")).unwrap();
    let refused = open(&options).await;
    assert!(
        matches!(&refused, PostgresOpenError::Encoding { found, .. } if found == "SQL_ASCII"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_server_without_a_free_connection_says_what_to_raise() {
    let server = TestServer::shared();
    let database = server.migrated_database().await;
    let options = as_user(&database, "crowded");
    server.psql("postgres", "ALTER ROLE crowded CONNECTION LIMIT 0");
    let refused = open(&options).await;
    assert!(matches!(refused, PostgresOpenError::TooManyConnections { .. }), "{refused}");
    assert!(refused.is_transient() && refused.to_string().contains("max_connections"), "{refused}");
}

#[tokio::test]
async fn what_does_not_answer_or_is_no_postgresql_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgresql://ada:hunter2@127.0.0.1:{port}/masque");
    let mut options = PostgresOptions::from_url(&url).unwrap();
    options.acquire_timeout = Duration::from_millis(300);
    let silent = open(&options).await;
    assert!(matches!(silent, PostgresOpenError::Unreachable { .. }), "{silent}");
    assert!(silent.is_transient());
    let talking = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            // The host may have left.
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let other = open(&options).await;
    assert!(
        matches!(other, PostgresOpenError::Unreachable { .. } | PostgresOpenError::Tls { .. }),
        "{other}"
    );
    talking.abort();
    let _ended = talking.await;
    let closed = open(&options).await;
    assert!(matches!(closed, PostgresOpenError::Unreachable { .. }), "{closed}");
    for error in [silent, other, closed] {
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_password_comes_from_a_file_without_its_line_break() {
    let database = TestServer::shared().migrated_database().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::File::create(&path).unwrap().write_all(b"a long and random one\n").unwrap();
    let options = database.options().with_password_file(&path).unwrap();
    PostgresStore::open(&options).await.unwrap();
    for (content, path) in
        [(Some(b"\n".as_slice()), &path), (Some(b"\xff"), &path), (None, &folder.path().join("none"))]
    {
        if let Some(content) = content {
            std::fs::write(path, content).unwrap();
        }
        let refused = database.options().with_password_file(path).unwrap_err();
        assert!(matches!(refused, PostgresOpenError::PasswordFile { .. }), "{refused}");
    }
}

#[tokio::test]
async fn a_url_of_another_kind_is_refused_before_anything_is_asked() {
    for url in ["mysql://ada:hunter2@db/masque", "redis://:hunter2@db", "sqlite:///hunter2.db", "hunter2"] {
        let refused = PostgresOptions::from_url(url).unwrap_err().to_string();
        assert!(refused.contains("postgresql://USER:PASSWORD@HOST"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}

#[tokio::test]
async fn a_standby_a_wrong_password_and_missing_tls_each_say_what_to_do() {
    let server = TestServer::start();
    server.psql("postgres", "CREATE ROLE locked LOGIN PASSWORD 'the right one'");
    let name = "masque";
    server.psql("postgres", &format!("CREATE DATABASE {name}"));
    let options = PostgresOptions::from_url(&server.url("postgres", name)).unwrap();
    migrate(&options).await.unwrap();

    // The first line that fits decides. Local connections of the superuser stay trusted.
    server.shell("printf \"host all locked 127.0.0.1/32 scram-sha-256\\nhost all all 127.0.0.1/32 trust\\n\" > pg_hba.conf");
    server.psql("postgres", "SELECT pg_reload_conf()");
    let locked =
        |password| PostgresOptions::from_url(&server.url("locked", name)).unwrap().with_password(password);
    let refused = eventually(
        || asked(locked("hunter2")),
        |error| matches!(error, PostgresOpenError::NotAuthenticated { .. }),
    )
    .await;
    let text = refused.to_string();
    assert!(text.contains("password") && text.contains("locked") && !text.contains("hunter2"), "{text}");
    assert!(!refused.is_transient());
    let admitted = open(&locked("the right one")).await;
    assert!(matches!(admitted, PostgresOpenError::MissingRights { .. }), "{admitted}");

    let with = |parameters: &str| {
        PostgresOptions::from_url(&format!("{}?{parameters}", server.url("postgres", name))).unwrap()
    };
    let refused = open(&with("sslmode=require")).await;
    assert!(matches!(refused, PostgresOpenError::Tls { .. }), "{refused}");
    assert!(refused.to_string().contains("sslmode"), "{refused}");

    // A certificate that nobody vouches for.
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    for (file, pem) in [("server.crt", issued.cert.pem()), ("server.key", issued.signing_key.serialize_pem())]
    {
        server.shell(&format!("printf \"%s\" \"{pem}\" > {file} && chmod 600 {file}"));
    }
    server.psql("postgres", "ALTER SYSTEM SET ssl = on");
    server.psql("postgres", "SELECT pg_reload_conf()");
    let unverified = eventually(
        || asked(with("sslmode=verify-full")),
        |error| matches!(error, PostgresOpenError::Tls { reason, .. } if reason.contains("ertificate")),
    )
    .await;
    assert!(unverified.to_string().contains("sslrootcert"), "{unverified}");
    PostgresStore::open(&with("sslmode=require")).await.unwrap();

    server.restart_as_standby();
    let refused = open(&options).await;
    assert!(matches!(refused, PostgresOpenError::ReadOnly { .. }), "{refused}");
    assert!(refused.is_transient() && refused.to_string().contains("primary"), "{refused}");
}

async fn asked(options: PostgresOptions) -> PostgresOpenError {
    open(&options).await
}

/// The first answer that fits. The server reads its files again a moment after it was told to.
async fn eventually<F: Future<Output = PostgresOpenError>>(
    mut ask: impl FnMut() -> F,
    fits: impl Fn(&PostgresOpenError) -> bool,
) -> PostgresOpenError {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let answer = ask().await;
        if fits(&answer) {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
