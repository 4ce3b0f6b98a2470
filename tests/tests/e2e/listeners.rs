//! The admin listener, the Unix socket and trusted proxies: which routes each listener serves, and which address a client
//! is known by.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use masque_tests::{Host, RawConnection, SECRET, Setup};

const FOR_OPERATORS: [&str; 4] = ["/status", "/metrics", "/docs", "/openapi.json"];
/// The probes, and the page that the `type` of every problem names.
const ON_EVERY_LISTENER: [&str; 4] = ["/livez", "/readyz", "/health", "/docs/errors"];
const FOR_EVERYONE: [&str; 2] = ["/companions", "/conversations"];

async fn status(client: &masque_tests::Client, path: &str) -> u16 {
    client.get(path).send().await.status
}

#[tokio::test]
async fn with_an_admin_listener_the_public_one_does_not_serve_operators_routes() {
    let host = Setup::defaults().and("[admin]\nlisten = \"127.0.0.1:0\"").start().await;
    let (public, operators, socket) = (host.client(), host.operators().await, host.socket());
    for path in FOR_OPERATORS {
        public.get(path).send().await.problem(404, "route-not-found");
        assert_eq!((status(&operators, path).await, status(&socket, path).await), (200, 200), "{path}");
    }
    for path in ON_EVERY_LISTENER {
        for client in [&public, &operators, &socket] {
            assert_eq!(status(client, path).await, 200, "{path}");
        }
    }
    for path in FOR_EVERYONE {
        assert_eq!(status(&public, path).await, 200, "{path}");
        operators.get(path).send().await.problem(404, "route-not-found");
        socket.get(path).send().await.problem(404, "route-not-found");
    }
    // A web page can reach the admin listener, so loopback names are required there too.
    operators.get("/status").header("host", "example.com").send().await.problem(421, "host-not-allowed");
}

#[tokio::test]
async fn without_an_admin_listener_operators_routes_are_public_and_on_the_socket() {
    let host = Setup::defaults().start().await;
    for path in FOR_OPERATORS {
        assert_eq!(
            (status(&host.client(), path).await, status(&host.socket(), path).await),
            (200, 200),
            "{path}"
        );
    }
}

#[tokio::test]
async fn localhost_is_served_on_both_loopback_addresses_with_one_port() {
    let host = Setup::defaults().and("[admin]\nlisten = \"localhost:0\"").start().await;
    host.logged("operators are served on http://[::1]:").await;
    let log = host.log();
    let after = |words: &str| log.split_once(words).unwrap().1.split_whitespace().next().unwrap().to_owned();
    let v4 = after("operators are served on http://127.0.0.1:");
    let v6 = after("operators are served on http://[::1]:");
    assert_eq!(v4, v6);
    for address in [format!("127.0.0.1:{v4}"), format!("[::1]:{v6}")] {
        let mut connection = RawConnection::open(&address).await;
        connection.send("GET /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        let answer = String::from_utf8(connection.read_to_end().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{address}: {answer}");
    }
}

fn is_socket(host: &Host) -> bool {
    host.data().join("admin.sock").symlink_metadata().is_ok_and(|found| found.file_type().is_socket())
}

#[tokio::test]
async fn the_socket_is_for_the_hosts_user_alone_and_is_removed_with_the_host() {
    let mut host = Setup::defaults().and("[drain]\ndelay = \"0s\"").start().await;
    let path = host.data().join("admin.sock");
    assert_eq!(path.symlink_metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // A killed host leaves its socket behind, and the next one replaces it.
    host.kill().await;
    assert!(is_socket(&host));
    host.restart().await;
    assert_eq!(status(&host.socket(), "/readyz").await, 200);

    host.terminate();
    assert!(host.ended().await.success());
    assert!(!is_socket(&host));
}

#[tokio::test]
async fn a_data_folder_with_a_long_path_has_a_socket() {
    let setup = Setup::defaults();
    let data = setup.folder().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(data.parent().unwrap()).unwrap();
    let host = setup.on_data(&data).start().await;
    assert!(is_socket(&host));
    host.client().say("Hello.").await;
}

#[tokio::test]
async fn a_file_with_the_sockets_name_is_kept_and_the_host_starts() {
    let setup = Setup::defaults();
    std::fs::create_dir_all(setup.data()).unwrap();
    std::fs::write(setup.data().join("admin.sock"), "precious").unwrap();
    let host = setup.start().await;
    host.logged("there is no socket for operators").await;
    assert_eq!(std::fs::read_to_string(host.data().join("admin.sock")).unwrap(), "precious");
    host.client().say("Hello.").await;
}

#[tokio::test]
async fn a_second_host_leaves_the_socket_of_the_first_alone() {
    let host = Setup::defaults().start().await;
    assert!(!Setup::defaults().on_data(host.data()).serve_to_end().await.status.success());
    assert_eq!(status(&host.socket(), "/readyz").await, 200);
}

#[tokio::test]
async fn the_client_address_comes_from_a_trusted_proxy() {
    for (file, client) in
        [("", "client=127.0.0.1"), ("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]", "client=203.0.113.7")]
    {
        let host = Setup::defaults().and(file).environment("JWT_SECRET_KEY", SECRET).start().await;
        let request = host.client().get("/openapi.json").header("x-request-id", "look-for-me");
        request.header("x-forwarded-for", "192.0.2.1, 203.0.113.7").send().await.expect(200);
        host.logged_in_one_line(&["look-for-me", "request completed"]).await;
        let log = host.log();
        let line = log.lines().find(|line| line.contains("look-for-me")).unwrap();
        assert!(line.contains(client), "{line}");
    }
}

#[tokio::test]
async fn without_authentication_a_request_through_a_proxy_is_refused() {
    let host = Setup::defaults().start().await;
    for name in ["x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-host"] {
        let request = host.client().get("/conversations").header(name, "203.0.113.7");
        request.send().await.problem(421, "host-not-allowed");
    }
    host.client().get("/conversations").send().await.expect(200);
}
