//! What a user of Redis must be allowed to do.

use masque_store_redis::RedisOpenError;
use masque_store_redis::testing::TestServer;

use crate::fixtures::*;

/// The words of the line in the documentation, without the user's name.
fn documented_rights() -> Vec<String> {
    let page = include_str!("../../../../docs/redis.md");
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER masque ")).expect("no such line");
    line.split_whitespace().skip(3).map(str::to_owned).collect()
}

fn set_user(server: &TestServer, rights: &[String]) {
    let mut words = vec!["ACL", "SETUSER", "masque", "reset"];
    words.extend(rights.iter().map(String::as_str));
    server.command(&words);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough() {
    let server = TestServer::start();
    set_user(&server, &documented_rights());
    let shared = host(&server.url_of("masque:PASSWORD")).await;
    assert!(is_connected(&shared), "{}", reason(&shared));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_documented_right_is_needed_and_its_lack_is_named() {
    let server = TestServer::start();
    let rights = documented_rights();
    let needed: Vec<&String> = rights
        .iter()
        // Needed in a cluster only.
        .filter(|right| !matches!(right.as_str(), "on" | "+ping" | "+cluster|slots"))
        .filter(|right| !right.starts_with('>'))
        .collect();
    assert!(needed.len() > 15, "{needed:?}");
    for right in needed {
        let fewer: Vec<String> = rights.iter().filter(|other| *other != right).cloned().collect();
        set_user(&server, &fewer);
        server.command(&["SCRIPT", "FLUSH"]);
        let error = refusal(&server.url_of("masque:PASSWORD")).await;
        assert!(matches!(error, RedisOpenError::MissingRights { .. }), "without {right}: {error:?}");
        assert!(!error.to_string().contains("PASSWORD"), "{error}");
    }
}
