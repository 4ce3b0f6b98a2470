//! TLS: HTTP/1.1 and HTTP/2, certificates that change while the host runs, and handshakes that fail.

use std::os::unix::fs::symlink;

use masque_tests::{Answer, Authority, Gate, MockModel, RawConnection, Setup, eventually, shown_by};
use serde_json::json;

#[tokio::test]
async fn a_conversation_works_over_tls_with_both_protocols() {
    let authority = Authority::new();
    let host = Setup::defaults().encrypted(&authority, &authority.issue()).start().await;
    for client in [host.client(), host.client().http2()] {
        let reply = client.say("Hello.").await;
        let conversation = reply["conversation_id"].as_str().unwrap();
        client.say_in(conversation, "And on.").await;
        assert_eq!(client.messages(conversation).await.len(), 4);
        let transcript = client.stream("Hello again.").await.transcript().await;
        assert!(!transcript.text.is_empty());
        let answer = client.get("/livez").send().await;
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    }
    let over = |client: masque_tests::Client| async move { client.get("/livez").send().await.version };
    assert_eq!(format!("{:?}", over(host.client()).await), "HTTP/1.1");
    assert_eq!(format!("{:?}", over(host.client().http2()).await), "HTTP/2.0");
}

#[tokio::test]
async fn the_protocol_is_negotiated_in_the_handshake() {
    let authority = Authority::new();
    let host = Setup::defaults().encrypted(&authority, &authority.issue()).start().await;
    for (offered, negotiated) in
        [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
    {
        let connection = authority.connect(host.address(), offered).await;
        let protocol = connection.get_ref().1.alpn_protocol().map(String::from_utf8_lossy);
        assert_eq!(protocol.as_deref(), negotiated, "{offered:?}");
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_supported() {
    let authority = Authority::new();
    let host = Setup::defaults().encrypted(&authority, &authority.issue()).start().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let connection = authority.connect_by(host.address(), &["h2"], &[version]).await;
        assert_eq!(connection.get_ref().1.protocol_version(), Some(version.version));
    }
}

#[tokio::test]
async fn a_certificate_is_replaced_while_a_stream_continues() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(), authority.issue());
    let model = MockModel::start().await;
    let setup = Setup::model(&model).encrypted(&authority, &first);
    // Kubernetes mounts a Secret like this: the files are links through `..data`, a link that is replaced on a change.
    let folder = setup.folder().to_owned();
    for (version, issued) in [("..1", &first), ("..2", &second)] {
        std::fs::create_dir(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join("tls.crt"), &issued.certificate).unwrap();
        std::fs::write(folder.join(version).join("tls.key"), &issued.key).unwrap();
    }
    symlink("..1", folder.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        std::fs::remove_file(folder.join(name)).unwrap();
        symlink(format!("..data/{name}"), folder.join(name)).unwrap();
    }
    let host = setup.start().await;
    let gate = Gate::new();
    model.next(Answer::held("Before", &gate, " and after."));
    let mut events = host.client().stream("Hello.").await;
    events.until_text("Before").await;
    assert_eq!(shown_by(&authority.connect(host.address(), &[]).await), first.shown);

    symlink("..2", folder.join("..new")).unwrap();
    std::fs::rename(folder.join("..new"), folder.join("..data")).unwrap();

    eventually("the new certificate to be shown", || async {
        let shown = shown_by(&authority.connect(host.address(), &[]).await);
        (shown == second.shown).then_some(())
    })
    .await;
    gate.open();
    events.until_text("and after.").await;
    events.expect("turn.completed").await;
    host.logged("the changed certificate").await;
}

#[tokio::test]
async fn an_unusable_certificate_is_refused_and_the_one_before_stays_in_use() {
    let authority = Authority::new();
    let (first, second, third) = (authority.issue(), authority.issue(), authority.issue());
    let host = Setup::defaults().encrypted(&authority, &first).start().await;

    std::fs::write(host.folder().join("tls.crt"), &second.certificate).unwrap();
    host.logged("the key is not that of the certificate").await;
    assert_eq!(shown_by(&authority.connect(host.address(), &[]).await), first.shown);
    std::fs::remove_file(host.folder().join("tls.key")).unwrap();
    host.logged("the certificate can't be read again").await;
    assert_eq!(shown_by(&authority.connect(host.address(), &[]).await), first.shown);

    std::fs::write(host.folder().join("tls.crt"), &third.certificate).unwrap();
    std::fs::write(host.folder().join("tls.key"), &third.key).unwrap();
    eventually("the third certificate to be shown", || async {
        let shown = shown_by(&authority.connect(host.address(), &[]).await);
        (shown == third.shown).then_some(())
    })
    .await;
    assert!(!host.log().contains("BEGIN"), "no key is in the log");
}

#[tokio::test]
async fn a_host_does_not_start_with_an_unusable_certificate() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(), authority.issue());
    for (certificate, key, line, message) in [
        (&*one.certificate, &*other.key, 3, "the key is not that of the certificate"),
        (&*one.key, &*one.key, 2, "the file holds no certificate"),
        (&*one.certificate, "nothing", 3, "the file holds no private key"),
    ] {
        let setup = Setup::file("[tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"")
            .beside("tls.crt", certificate.as_bytes())
            .beside("tls.key", key.as_bytes());
        for outcome in [setup.check().await, setup.serve_to_end().await] {
            assert!(!outcome.status.success());
            assert!(outcome.text.contains(&format!("masque.toml:{line}:")), "{}", outcome.text);
            assert!(outcome.text.contains(message), "{}", outcome.text);
            assert!(!outcome.text.contains("BEGIN"), "{}", outcome.text);
        }
    }
    let absent = Setup::file("[tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"").check().await;
    assert!(
        absent.text.contains("masque.toml:2:") && absent.text.contains("tls.crt can't be read"),
        "{}",
        absent.text
    );
}

#[tokio::test]
async fn a_client_without_tls_or_with_an_unfinished_handshake_is_disconnected() {
    let authority = Authority::new();
    let host = Setup::defaults()
        .encrypted(&authority, &authority.issue())
        // Long enough for a handshake on a busy machine.
        .and("[server]\nheader_timeout = \"3s\"")
        .start()
        .await;
    let mut silent = RawConnection::open(host.address()).await;
    let mut unfinished = RawConnection::open(host.address()).await;
    unfinished.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    let mut plain = RawConnection::open(host.address()).await;
    plain.send("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let answer = plain.read_to_end().await;
    assert!(String::from_utf8_lossy(&answer).contains("This port speaks HTTPS"));
    for connection in [&mut silent, &mut unfinished] {
        let answer = connection.read_to_end().await;
        assert!(!String::from_utf8_lossy(&answer).contains("HTTP"));
    }
    // A client that sends nothing after the handshake.
    let mut idle = authority.connect(host.address(), &["h2"]).await;
    let mut rest = Vec::new();
    let ended = tokio::io::AsyncReadExt::read_to_end(&mut idle, &mut rest);
    // The result is an error if the host closes the connection without a TLS close_notify, which is accepted here.
    drop(masque_tests::within("the host to close the connection", ended).await);
    host.client().chat(&json!({ "message": "Hello." })).send().await.expect(200);
}
