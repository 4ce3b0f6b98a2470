//! Production mode: a host that is not safe does not start, and names everything that is wrong at once.

use masque_tests::{SECRET, Setup};

/// Asserts that `serve` and `check` both fail and print each of these texts.
async fn assert_refused(setup: Setup, expected: &[&str]) {
    let served = setup.serve_to_end().await;
    let checked = setup.check().await;
    for outcome in [&served, &checked] {
        assert!(!outcome.status.success(), "{}", outcome.text);
        for text in expected {
            assert!(outcome.text.contains(text), "{text:?} is not in:\n{}", outcome.text);
        }
        assert!(!outcome.text.contains(SECRET), "{}", outcome.text);
    }
}

fn production() -> Setup {
    Setup::defaults().environment("ENVIRONMENT", "production")
}

/// What a production host needs besides a secret.
const SAFE: &str = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n";

#[tokio::test]
async fn everything_unsafe_is_reported_at_once() {
    let setup = production().environment("REQUIRE_AUTHENTICATION", "false").environment("CORS_ORIGINS", "*");
    let setup = setup.environment("JWT_SECRET_KEY", "change-me");
    assert_refused(
        setup,
        &["REQUIRE_AUTHENTICATION", "JWT_SECRET_KEY", "CORS_ORIGINS", "[tls]", "trusted_proxies", "[admin]"],
    )
    .await;
}

#[tokio::test]
async fn each_unsafe_setting_alone_prevents_the_start() {
    let safe = || production().environment("JWT_SECRET_KEY", SECRET).and(SAFE);
    for secret in [
        "secret",
        "0123456789012345678901234567890",
        &"a".repeat(64),
        &"abab".repeat(16),
        "your-secret-key-here-change-in-production",
    ] {
        let setup = production().environment("JWT_SECRET_KEY", secret).and(SAFE);
        assert_refused(setup, &["JWT_SECRET_KEY"]).await;
    }
    assert_refused(safe().environment("REQUIRE_AUTHENTICATION", "false"), &["REQUIRE_AUTHENTICATION"]).await;
    assert_refused(safe().environment("CORS_ORIGINS", "*"), &["CORS_ORIGINS"]).await;
    let open = "[admin]\nlisten = \"127.0.0.1:0\"\n";
    assert_refused(production().environment("JWT_SECRET_KEY", SECRET).and(open), &["trusted_proxies"]).await;
    let shared = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n";
    assert_refused(production().environment("JWT_SECRET_KEY", SECRET).and(shared), &["[admin]"]).await;
}

#[tokio::test]
async fn a_safe_host_starts_in_production_and_in_staging() {
    for environment in ["production", "staging"] {
        let setup =
            Setup::file(SAFE).environment("ENVIRONMENT", environment).environment("JWT_SECRET_KEY", SECRET);
        let checked = setup.check().await;
        assert!(checked.status.success(), "{}", checked.text);
        setup.start().await;
    }
    let staging = Setup::defaults().environment("ENVIRONMENT", "staging");
    assert_refused(staging, &["[tls]", "[admin]"]).await;
    // The admin API may share the listener if the configuration says so.
    let shared = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n[admin]\nshared = true\n";
    production().environment("JWT_SECRET_KEY", SECRET).and(shared).start().await;
}

#[tokio::test]
async fn check_production_applies_the_rules_of_production() {
    let setup = Setup::defaults();
    assert!(setup.check().await.status.success());
    let outcome = setup.run(&["check", "--production"]).await;
    assert!(!outcome.status.success());
    for text in ["[tls]", "[admin]"] {
        assert!(outcome.text.contains(text), "{text:?} is not in:\n{}", outcome.text);
    }
    // As with `ENVIRONMENT=production`, authentication is on unless the configuration turns it off.
    assert!(!outcome.text.contains("authentication is off"), "{}", outcome.text);
    let setup = Setup::file(SAFE).environment("JWT_SECRET_KEY", SECRET);
    let outcome = setup.run(&["check", "--production"]).await;
    assert!(outcome.status.success(), "{}", outcome.text);
}

#[tokio::test]
async fn an_unknown_environment_prevents_the_start() {
    let setup = Setup::defaults().environment("ENVIRONMENT", "prodution");
    assert_refused(setup, &["ENVIRONMENT", "production"]).await;
}
