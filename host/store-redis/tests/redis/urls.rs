//! URLs that operators write.

use masque_store_redis::{RedisOpenError, RedisOptions};

#[test]
fn every_form_of_the_url_is_read() {
    for (url, target) in [
        ("redis://localhost", "localhost:6379"),
        ("redis://localhost/", "localhost:6379"),
        ("valkey://localhost:1/3", "localhost:1"),
        ("rediss://ada:secret@redis.example:6380/15", "redis.example:6380"),
        ("valkeys://:secret@10.0.0.1", "10.0.0.1:6379"),
        ("redis://[::1]:7000", "[::1]:7000"),
        ("redis://[::1]", "[::1]:6379"),
        ("redis://a%3Ab:p%40ss%2Fw@h", "h:6379"),
        ("redis://ada:p@ss@h", "h:6379"),
        ("redis+sentinel://s1,s2:26380,[::1]:1/main", "s1:26379,s2:26380,[::1]:1"),
        ("redis+sentinel://ada:secret@s1/main/2?sentinel_user=a&sentinel_password=b", "s1:26379"),
        ("rediss+sentinel://s1/main/", "s1:26379"),
        ("redis+cluster://h1,h2:7001", "h1:6379,h2:7001"),
        ("valkey+cluster://h1/0", "h1:6379"),
        ("redis://B\u{fc}cher.example", "xn--bcher-kva.example:6379"),
    ] {
        let options = RedisOptions::from_url(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(options.target(), target, "{url}");
        assert_eq!(options.is_tls(), url.starts_with("rediss") || url.starts_with("valkeys"), "{url}");
    }
}

#[test]
fn a_url_of_another_kind_is_refused_and_no_password_is_shown() {
    for url in [
        "",
        "redis",
        "://",
        "redis:",
        "redis://",
        "redis:///0",
        "localhost:6379",
        "postgres://ada:hunter2@h/db",
        "http://ada:hunter2@h",
        "unix:///run/redis.sock?pass=hunter2",
        "redis+unix:///run/redis.sock",
        "redis+tcp://h",
        "hunter2@h://x",
        "REDIS://h",
        "redis://ada:hunter2@h:port",
        "redis://ada:hunter2@h:0",
        "redis://ada:hunter2@h:65536",
        "redis://ada:hunter2@h:-1",
        "redis://ada:hunter2/h",
        "redis://ada:hunter2/x@h",
        "redis://ada:hunter2#x@h",
        "redis://ada:hunter2?x@h",
        "redis://ada:hunter2@",
        "redis://ada:hunter2@h,h2",
        "redis://ada:hunter2@h h",
        "redis://ada:hunter2@h\r\nFLUSHALL",
        "redis://ada:hunter2@[::1",
        "redis://ada:hunter2@[hunter2]",
        "redis://ada:hunter2@0.0.0.0",
        "redis://ada:hunter2@[::]:1",
        "redis://ada:hunter2@h/x",
        "redis://ada:hunter2@h/-1",
        "redis://ada:hunter2@h/+1",
        "redis://ada:hunter2@h/99999",
        "redis://ada:hunter2@h/1/2",
        "redis://ada:hunter2@h?protocol=resp2",
        "rediss://ada:hunter2@h/#insecure",
        "redis://ada:%FFhunter2@h",
        "redis://ada:hunter2%00@h",
        "redis+sentinel://ada:hunter2@h",
        "redis+sentinel://ada:hunter2@h/",
        "redis+sentinel://ada:hunter2@h/main/x",
        "redis+sentinel://ada:hunter2@h,/main",
        "redis+sentinel://ada:hunter2@h/main?password=hunter2",
        "redis+cluster://ada:hunter2@h/1",
        "redis+cluster://ada:hunter2@,h",
        "redis+cluster://",
    ] {
        let error = RedisOptions::from_url(url).expect_err(url);
        assert!(matches!(error, RedisOpenError::Url { .. }), "{url}: {error:?}");
        assert!(!error.to_string().contains("hunter2"), "{url}: {error}");
        assert!(error.to_string().contains("write redis://"), "{url}: {error}");
    }
}

#[test]
fn no_output_of_options_shows_a_password() {
    for url in [
        "redis://ada:hunter2@h",
        "redis+sentinel://ada:hunter2@h/main?sentinel_password=hunter2",
        "redis+cluster://:hunter2@h",
    ] {
        let options = RedisOptions::from_url(url).unwrap();
        assert!(!format!("{options:?} {}", options.target()).contains("hunter2"));
        assert!(!format!("{:?}", options.with_password("hunter2")).contains("hunter2"));
    }
}

#[test]
fn servers_on_this_machine_are_told_from_others() {
    for (url, is_loopback) in [
        ("redis://localhost", true),
        ("redis://127.0.0.1", true),
        ("redis://[::1]", true),
        ("redis://10.0.0.1", false),
        ("redis+cluster://localhost,redis.example", false),
    ] {
        assert_eq!(RedisOptions::from_url(url).unwrap().is_loopback(), is_loopback, "{url}");
    }
}
