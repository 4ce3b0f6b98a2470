//! `masque health`, as the health check of a container runs it.

use masque_tests::Setup;

#[tokio::test]
async fn health_succeeds_at_a_ready_host_over_its_socket_and_at_its_address() {
    let host = Setup::defaults().start().await;
    let folder = host.data().to_str().unwrap().to_owned();
    let url = format!("http://{}", host.address());
    for words in [["health", "--data", &folder], ["health", "--url", &url]] {
        let asked = host.run(&words).await;
        assert!(asked.status.success() && asked.text == "The host is ready.\n", "{words:?}: {}", asked.text);
    }
}

#[tokio::test]
async fn health_fails_with_one_line_where_no_host_runs_and_while_one_stops() {
    let mut host = Setup::file("[drain]\ndelay = \"1m\"\n").start().await;
    let folder = host.data().to_str().unwrap().to_owned();
    let words = ["health", "--data", &folder];
    host.terminate();
    host.logged("stopping").await;
    let draining = host.run(&words).await;
    assert_eq!(draining.status.code(), Some(1), "{}", draining.text);
    assert!(draining.text.starts_with("the host is not ready: "), "{}", draining.text);
    assert_eq!(draining.text.lines().count(), 1, "{}", draining.text);
    host.kill().await;
    let gone = host.run(&words).await;
    assert_eq!((gone.status.code(), gone.text.lines().count()), (Some(1), 1), "{}", gone.text);
    assert!(gone.text.contains(&folder), "{}", gone.text);
}

#[tokio::test]
async fn a_file_that_is_no_longer_valid_does_not_make_a_host_unhealthy() {
    let host = Setup::file("[log]\nlevel = \"info\"\n").start().await;
    std::fs::write(host.folder().join("masque.toml"), "[server]\nlisen = 1\n").unwrap();
    let asked = masque_health_with_variable(&host).await;
    assert!(asked.0, "{}", asked.1);
}

/// Runs `masque health` beside this host with `MASQUE_DATA` and its file, as in a container.
async fn masque_health_with_variable(host: &masque_tests::Host) -> (bool, String) {
    let data = host.data().to_str().unwrap();
    let other = Setup::defaults().environment("MASQUE_DATA", data);
    let other = other.environment("MASQUE_CONFIG", host.folder().join("masque.toml").to_str().unwrap());
    let asked = other.run(&["health"]).await;
    (asked.status.success(), asked.text)
}
