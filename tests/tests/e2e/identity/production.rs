//! A production host that is not safe does not start, and says all that is wrong at once.

use masque_tests::{SECRET, Setup};

/// What is said of it, one after the other and in one go.
async fn refuses(setup: Setup, expected: &[&str]) {
    let served = setup.serve_to_end().await;
    let checked = setup.check().await;
    for outcome in [&served, &checked] {
        assert!(!outcome.status.success(), "{}", outcome.text);
        for words in expected {
            assert!(outcome.text.contains(words), "{words:?} is not in:\n{}", outcome.text);
        }
        assert!(!outcome.text.contains(SECRET), "{}", outcome.text);
    }
}

fn production() -> Setup {
    Setup::defaults().environment("ENVIRONMENT", "production")
}

const SAFE: &str = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n";

#[tokio::test]
async fn everything_unsafe_is_named_at_once() {
    let setup = production().environment("REQUIRE_AUTHENTICATION", "false").environment("CORS_ORIGINS", "*");
    let setup = setup.environment("JWT_SECRET_KEY", "change-me");
    refuses(
        setup,
        &["REQUIRE_AUTHENTICATION", "JWT_SECRET_KEY", "CORS_ORIGINS", "[tls]", "trusted_proxies", "[admin]"],
    )
    .await;
}

#[tokio::test]
async fn each_of_them_alone_is_enough() {
    let safe = || production().environment("JWT_SECRET_KEY", SECRET).and(SAFE);
    for secret in [
        "secret",
        "0123456789012345678901234567890",
        &"a".repeat(64),
        &"abab".repeat(16),
        "your-secret-key-here-change-in-production",
    ] {
        let setup = production().environment("JWT_SECRET_KEY", secret).and(SAFE);
        refuses(setup, &["JWT_SECRET_KEY"]).await;
    }
    refuses(safe().environment("REQUIRE_AUTHENTICATION", "false"), &["REQUIRE_AUTHENTICATION"]).await;
    refuses(safe().environment("CORS_ORIGINS", "*"), &["CORS_ORIGINS"]).await;
    let open = "[admin]\nlisten = \"127.0.0.1:0\"\n";
    refuses(production().environment("JWT_SECRET_KEY", SECRET).and(open), &["trusted_proxies"]).await;
    let shared = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n";
    refuses(production().environment("JWT_SECRET_KEY", SECRET).and(shared), &["[admin]"]).await;
}

#[tokio::test]
async fn a_safe_one_starts_and_so_does_staging_by_the_same_rules() {
    for environment in ["production", "staging"] {
        let setup =
            Setup::file(SAFE).environment("ENVIRONMENT", environment).environment("JWT_SECRET_KEY", SECRET);
        let checked = setup.check().await;
        assert!(checked.status.success(), "{}", checked.text);
        setup.start().await;
    }
    let staging = Setup::defaults().environment("ENVIRONMENT", "staging");
    refuses(staging, &["[tls]", "[admin]"]).await;
    // Said aloud, the admin API may share the listener.
    let shared = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n[admin]\nshared = true\n";
    production().environment("JWT_SECRET_KEY", SECRET).and(shared).start().await;
}

#[tokio::test]
async fn a_check_for_production_says_the_same_without_starting() {
    let setup = Setup::defaults();
    assert!(setup.check().await.status.success());
    let outcome = setup.run(&["check", "--production"]).await;
    assert!(!outcome.status.success());
    for words in ["authentication", "[tls]", "[admin]"] {
        assert!(outcome.text.contains(words), "{words:?} is not in:\n{}", outcome.text);
    }
    let setup = Setup::file(SAFE).environment("JWT_SECRET_KEY", SECRET);
    let outcome = setup.run(&["check", "--production"]).await;
    assert!(outcome.status.success(), "{}", outcome.text);
}

#[tokio::test]
async fn an_environment_that_is_none_refuses_to_start() {
    let setup = Setup::defaults().environment("ENVIRONMENT", "prodution");
    refuses(setup, &["ENVIRONMENT", "production"]).await;
}
