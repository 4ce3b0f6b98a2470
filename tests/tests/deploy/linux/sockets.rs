//! Listening sockets that a host is passed, and what it tells the service manager; without systemd.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use masque_tests::{Client, Setup, WAIT_LIMIT, within};
use serde_json::json;

fn socket() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).unwrap()
}

fn address(socket: &TcpListener) -> String {
    socket.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn who_connects_while_no_host_runs_is_answered_by_the_next_one() {
    let socket = socket();
    let mut host = Setup::file("[drain]\ndelay = \"0s\"").passing("public", &socket).start().await;
    assert_eq!(host.address(), address(&socket));
    host.client().get("/readyz").send().await.expect(200);
    host.terminate();
    assert!(host.ended().await.success());

    let address = address(&socket);
    let waiting = tokio::spawn(async move {
        Client::http1(&address, None).chat(&json!({ "message": "Hello" })).send().await
    });
    host.restart().await;

    within("the answer", waiting).await.unwrap().expect(200);
}

/// Talks to the host until told to stop, each time over a new connection. Returns how many turns were answered and how long the
/// longest took.
async fn talk(address: String, stop: Arc<AtomicBool>) -> (usize, Duration) {
    let (mut turns, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        Client::http1(&address, None).chat(&json!({ "message": "Hello" })).send().await.expect(200);
        (turns, longest) = (turns + 1, longest.max(start.elapsed()));
    }
    (turns, longest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_one_host_takes_over_from_another() {
    const FILE: &str = "[drain]\ndelay = \"0s\"";
    let socket = socket();
    let mut host = Setup::file(FILE).passing("public", &socket).start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3).map(|_| tokio::spawn(talk(address(&socket), Arc::clone(&stop)))).collect();

    let mut hosts = Vec::new();
    for _ in 0..2 {
        let mut next = Setup::file(FILE).passing("public", &socket).on_data(host.data()).start_loading();
        // It has the socket, and leaves the connections to the host that still serves.
        next.logged("waiting for the host before this one to stop").await;
        host.terminate();
        assert!(host.ended().await.success());
        next.wait_until_up().await;
        hosts.push(std::mem::replace(&mut host, next));
    }

    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let (turns, longest) = within("the clients", client).await.unwrap();
        assert!(turns > 2, "{turns} turns");
        println!("{turns} turns, the longest took {longest:?}");
    }
}

#[tokio::test]
async fn a_host_without_a_passed_socket_waits_for_no_other() {
    let host = Setup::defaults().start().await;
    let refused = Setup::defaults().on_data(host.data()).serve_to_end().await;
    assert!(!refused.status.success() && refused.text.contains("in use by another host"), "{}", refused.text);
    assert!(!refused.text.contains("waiting for the host"), "{}", refused.text);
}

#[tokio::test]
async fn operators_are_served_on_the_socket_of_their_name() {
    let socket = socket();
    let host = Setup::file("[admin]\nlisten = \"127.0.0.1:0\"").passing("admin", &socket).start().await;
    let operators = Client::http1(&address(&socket), None);
    operators.get("/status").send().await.expect(200);
    host.client().get("/status").send().await.expect(404);
}

#[tokio::test]
async fn a_socket_on_another_address_or_of_another_name_refuses_the_start() {
    let elsewhere = TcpListener::bind(("127.0.0.2", 0)).unwrap();
    let refused = |setup: Setup| async move {
        let output = setup.serve_to_end().await;
        assert!(!output.status.success(), "{}", output.text);
        output.text
    };
    let text = refused(Setup::defaults().passing("public", &elsewhere)).await;
    assert!(text.contains(&address(&elsewhere)) && text.contains("name the same address in both"), "{text}");
    let text = refused(Setup::defaults().passing("http", &socket())).await;
    assert!(text.contains("\"http\"") && text.contains("FileDescriptorName=public"), "{text}");
    let text = refused(Setup::defaults().passing("admin", &socket())).await;
    assert!(text.contains("`listen` in [admin] is not set"), "{text}");
}

#[tokio::test]
async fn a_host_that_is_told_of_a_socket_that_is_missing_takes_no_descriptor_of_its_own_for_it() {
    const ANNOUNCE: &str = "exec 3<&-; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=public; exec \"$@\"";
    let output = Setup::defaults().launched_by(&["sh", "-c", ANNOUNCE, "sh"]).serve_to_end().await;
    assert_eq!(output.status.code(), Some(1), "{}", output.text);
    let says_why = output.text.contains("can't be taken over: Bad file descriptor");
    assert!(says_why && !output.text.contains("panicked"), "{}", output.text);
}

#[tokio::test]
async fn the_service_manager_is_told_when_the_host_is_ready_alive_and_stopping() {
    let setup = Setup::file("[drain]\ndelay = \"0s\"");
    let path = setup.folder().join("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
    let told = move |words: &'static str| {
        let manager = manager.try_clone().unwrap();
        tokio::task::spawn_blocking(move || {
            let mut buffer = [0; 4096];
            loop {
                let length = manager.recv(&mut buffer).expect(words);
                let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if message.lines().any(|line| line == words) {
                    return message;
                }
            }
        })
    };
    let setup =
        setup.environment("NOTIFY_SOCKET", path.to_str().unwrap()).environment("WATCHDOG_USEC", "100000");
    let mut host = setup.start().await;

    let ready = told("READY=1").await.unwrap();
    assert!(ready.contains("STATUS=serving"), "{ready}");
    told("WATCHDOG=1").await.unwrap();
    told("WATCHDOG=1").await.unwrap();
    host.terminate();
    told("STOPPING=1").await.unwrap();
    assert!(host.ended().await.success());
}
