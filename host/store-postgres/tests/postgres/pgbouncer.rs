//! PgBouncer between the hosts and the server, in transaction mode. The conformance suite runs through it, too.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use masque_store::conformance::fixtures::{
    LONG, admission, empty, job, kept, new_conversation, reply, start, transcript,
};
use masque_store::{Admission, AdmissionOutcome, Commit, JobCompletion, JobLimits, Store, Target};
use masque_store_postgres::testing::{PgBouncer, TestPooler, TestServer};
use masque_store_postgres::{PostgresOpenError, PostgresStore};

use crate::several_hosts::host;

/// Opens a store through a PgBouncer that can't work, and returns why it is refused.
async fn refused(program: &PgBouncer, settings: &[(&str, &str)]) -> PostgresOpenError {
    let server = TestServer::shared();
    let pooler = TestPooler::start(program, server, settings);
    let database = server.migrated_database().await;
    PostgresStore::open(&pooler.options(&database)).await.expect_err("it was not refused")
}

fn assert_names_the_setting(error: &PostgresOpenError) {
    assert!(matches!(error, PostgresOpenError::PreparedStatements { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("max_prepared_statements") && text.contains("1.21"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pgbouncer_before_prepared_statements_is_refused_with_the_setting_to_change() {
    let Some(program) = PgBouncer::installed_and_too_old() else {
        eprintln!("skipped: a PgBouncer before 1.21 is refused. Debian 12's package `pgbouncer` is one.");
        return;
    };
    assert_names_the_setting(&refused(&program, &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pgbouncer_that_keeps_no_prepared_statements_is_refused_with_the_setting_to_change() {
    let Some(program) = PgBouncer::of_debian13("that max_prepared_statements = 0 is refused") else { return };
    assert_names_the_setting(&refused(&program, &[("max_prepared_statements", "0")]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_of_two_hosts_go_on_while_pgbouncer_replaces_its_connections() {
    let Some(program) = PgBouncer::of_debian13("turns while PgBouncer replaces its connections") else {
        return;
    };
    let server = TestServer::shared();
    // Fewer statements than the store has: PgBouncer forgets some and prepares them again. Each connection to the server is used
    // for one transaction. (`RECONNECT` replaces them as well, but if it meets one that logs in, PgBouncer refuses all clients for
    // `server_login_retry`.)
    let settings = [("max_prepared_statements", "2"), ("default_pool_size", "3"), ("server_lifetime", "0")];
    let pooler = TestPooler::start(&program, server, &settings);
    let database = server.migrated_database().await;
    let mut options = pooler.options(&database);
    // Sixty turns share three connections, also on a busy machine.
    (options.acquire_timeout, options.statement_timeout) = (LONG, LONG);
    let stores: [Arc<dyn Store>; 2] =
        [PostgresStore::open(&options).await.unwrap(), PostgresStore::open(&options).await.unwrap()];
    for (number, store) in stores.iter().enumerate() {
        store.heartbeat(host(number), &[], Duration::from_secs(3600)).await.unwrap();
    }
    let id = empty(&stores[0]).await;
    // One conversation in common, and one of its own for each turn.
    let turns = (0..60).map(|number| {
        let store = Arc::clone(&stores[number % 2]);
        tokio::spawn(async move {
            let own = Admission { host: host(number % 2), ..admission(new_conversation(), "Hello") };
            let own = start(&store, own).await;
            kept(store.commit(Commit { jobs: vec![job("window")], ..reply(&own, "Hi") }).await);
            loop {
                let common =
                    Admission { host: host(number % 2), ..admission(Target::Existing(id), "And you?") };
                let admitted = store.admit(common).await.unwrap();
                admitted.durable.wait().await.unwrap();
                match admitted.outcome {
                    AdmissionOutcome::Started(started) => {
                        kept(store.commit(reply(&started, "Fine")).await);
                        return;
                    }
                    AdmissionOutcome::Busy { .. } => tokio::time::sleep(Duration::from_millis(20)).await,
                    other => panic!("{other:?}"),
                }
            }
        })
    });
    join_all(turns).await.into_iter().for_each(|turn| turn.unwrap());
    assert_eq!(transcript(&stores[0], id).await.len(), 120);
    for number in 0..60 {
        let taken =
            stores[number % 2].take(host(0), Duration::from_secs(60), JobLimits::total(1), None).await;
        let taken = taken.unwrap().jobs.pop().expect("a job for each turn");
        assert!(stores[0].complete(taken.id, taken.epoch, JobCompletion::default()).await.unwrap());
    }
    let sessions = format!("SELECT sessions FROM pg_stat_database WHERE datname = '{}'", database.name);
    let sessions: u64 = server.psql(&database.name, &sessions).parse().unwrap();
    assert!(sessions > 100, "{sessions} connections to the server were enough");
}
