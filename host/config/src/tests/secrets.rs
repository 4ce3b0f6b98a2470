//! Secrets from variables and files, and identity providers: what is read, and what an operator is warned of.

use std::time::Duration;

use super::{Folder, lines_of};
use crate::{Config, Flags, Issuer, JwkSource};

const SECRET: &str = "pS0bXq7s0pGJx5m1cVYwN2v8dLr4TzKeHfUaQ3oW6Rg=";

fn signing_key(folder: &Folder, variables: &[(&str, &str)]) -> Vec<u8> {
    let config = folder.load(&Flags::default(), variables).unwrap().config;
    config.auth.secret.unwrap().keys[0].bytes()
}

#[test]
fn a_secret_is_the_same_key_from_a_variable_as_from_a_file() {
    for (before, after) in [("", ""), ("", "\n"), ("", "\r\n"), (" ", " \n"), ("\u{feff}", "\n")] {
        let text = format!("{before}{SECRET}{after}");
        let folder = Folder::new().with("secret", &text);
        for variables in [[("JWT_SECRET_KEY", text.as_str())], [("JWT_SECRET_KEY_FILE", "secret")]] {
            assert_eq!(signing_key(&folder, &variables), SECRET.as_bytes(), "{variables:?}");
        }
    }
}

#[test]
fn a_secret_without_a_character_is_refused() {
    for text in [" ", "\n", "\u{feff}"] {
        let lines = lines_of(Folder::new().load(&Flags::default(), &[("JWT_SECRET_KEY", text)]));
        assert_eq!(
            lines,
            [
                "JWT_SECRET_KEY: the secret is nothing but white space. Make one with `openssl rand -base64 32`."
            ]
        );
    }
    let lines = lines_of(Folder::new().load(&Flags::default(), &[("JWT_SECRET_KEY", "a\u{fffd}b")]));
    assert_eq!(lines, ["JWT_SECRET_KEY: the secret is not UTF-8. Make one with `openssl rand -base64 32`."]);
}

const CREDENTIAL: &str = "[credentials.one]\norigin = \"https://api.test\"\nheader = \"authorization\"\n";
const PLUGIN: &str = "[plugins.mine]\nsource = \"builtin:openai\"\n\
    grants = { http = [\"https://api.test\"], credentials = [\"one\"] }\n";

#[test]
fn the_value_of_a_credential_is_the_same_from_a_variable_as_from_a_file() {
    let sent = |config: &Config| {
        config.plugins.get("mine").unwrap().grants.credentials[0].value().to_str().unwrap().to_owned()
    };
    for (text, value) in [("sk-1\n", "Bearer sk-1"), ("\tsk-1 \r\n", "Bearer sk-1"), ("sk-1", "Bearer sk-1")]
    {
        let file = format!("{CREDENTIAL}value = \"Bearer ${{KEY}}\"\n{PLUGIN}");
        let folder = Folder::new().with("masque.toml", file);
        assert_eq!(
            sent(&folder.load(&Flags::default(), &[("KEY", text)]).unwrap().config),
            value,
            "{text:?}"
        );
        let file = format!("{CREDENTIAL}value_file = \"key\"\n{PLUGIN}");
        let folder =
            Folder::new().with("masque.toml", file).with("key", format!("Bearer {}", text.trim_start()));
        assert_eq!(sent(&folder.load(&Flags::default(), &[]).unwrap().config), value, "{text:?}");
    }
    let folder =
        Folder::new().with("masque.toml", format!("{CREDENTIAL}value = \"Bearer ${{KEY}}\"\n{PLUGIN}"));
    let lines = lines_of(folder.load(&Flags::default(), &[("KEY", " \n")]));
    assert!(lines[0].contains("the environment variable KEY is nothing but white space"), "{lines:?}");
}

#[test]
fn quotes_around_a_secret_stay_and_cause_a_warning() {
    let quoted = format!("\"{SECRET}\"");
    let what = "warning: the secret is in quotes, which count as a part of it.";
    let folder = Folder::new().with("secret", format!("{quoted}\n"));
    for (name, value) in [("JWT_SECRET_KEY", quoted.as_str()), ("JWT_SECRET_KEY_FILE", "secret")] {
        assert_eq!(signing_key(&folder, &[(name, value)]), quoted.as_bytes());
        let lines = lines_of(folder.load(&Flags::default(), &[(name, value)]));
        assert!(lines.len() == 1 && lines[0].starts_with(&format!("{name}: {what}")), "{lines:?}");
        assert!(!lines[0].contains(SECRET), "{lines:?}");
    }
    let folder = Folder::new()
        .with("masque.toml", format!("{CREDENTIAL}value = \"Bearer ${{KEY}}\"\n{PLUGIN}"))
        .with("file.toml", format!("{CREDENTIAL}value_file = \"key\"\n{PLUGIN}"))
        .with("key", "'Bearer sk-1'\n");
    let lines = lines_of(folder.load(&Flags::default(), &[("KEY", "'sk-1'")]));
    assert!(lines.len() == 1 && lines[0].starts_with(&format!("KEY: {what}")), "{lines:?}");
    let flags = Flags { config: Some("file.toml".into()), ..Flags::default() };
    let lines = lines_of(folder.load(&flags, &[]));
    assert!(lines.len() == 1 && lines[0].starts_with(&format!("file.toml:4:14: {what}")), "{lines:?}");
}

/// The issuer that `[auth.issuers.one]` with these lines describes, or what is wrong with them.
fn issuer(lines: &str) -> Result<Issuer, Vec<String>> {
    let folder =
        Folder::new().with("masque.toml", format!("[auth.issuers.one]\naudience = \"masque\"\n{lines}\n"));
    match folder.load(&Flags::default(), &[]) {
        Ok(loaded) => Ok(loaded.config.auth.issuers.into_values().next().unwrap()),
        Err(diagnostics) => Err(lines_of(Err(diagnostics))),
    }
}

#[test]
fn the_settings_of_an_issuer_have_the_usual_defaults_and_can_name_other_claims() {
    let usual = issuer("issuer = \"https://id.test/\"").unwrap();
    assert_eq!((usual.audience_claim.as_str(), usual.scope_claim.as_str()), ("aud", "scope"));
    assert_eq!((usual.allow_http, &usual.source), (false, &JwkSource::Discovery));
    assert_eq!(usual.refresh, Duration::from_secs(900));
    let other = issuer(
        "issuer = \"https://id.test/\"\naudience_claim = \"client_id\"\nscope_claim = \"realm_access.roles\"\n\
         algorithms = [\"Ed25519\"]",
    )
    .unwrap();
    assert_eq!(
        (other.audience_claim.as_str(), other.scope_claim.as_str()),
        ("client_id", "realm_access.roles")
    );
    assert_eq!(other.algorithms, ["Ed25519"]);
}

#[test]
fn plain_http_to_another_machine_needs_an_explicit_setting() {
    for lines in [
        "issuer = \"http://keycloak:8080/realms/main\"",
        "issuer = \"https://id.test/\"\njwks_url = \"http://keycloak:8080/keys\"",
    ] {
        let refused = issuer(lines).unwrap_err();
        assert!(refused.len() == 1 && refused[0].contains("`allow_http = true`"), "{refused:?}");
        assert!(issuer(&format!("{lines}\nallow_http = true")).unwrap().allow_http);
        assert!(issuer(&format!("{lines}\nallow_http = false")).is_err());
    }
    assert!(!issuer("issuer = \"http://127.0.0.1:8080\"").unwrap().allow_http);
    // The setting allows http, and nothing else.
    for lines in [
        "issuer = \"ftp://keycloak/\"",
        "issuer = \"https://id.test/\"\njwks_url = \"http://me@keycloak/keys\"",
    ] {
        assert!(issuer(&format!("{lines}\nallow_http = true")).is_err(), "{lines}");
    }
}

#[test]
fn keys_are_not_fetched_from_a_port_that_is_no_number() {
    for lines in [
        "issuer = \"https://id.test:99999/\"",
        "issuer = \"http://127.0.0.1:/\"",
        "issuer = \"https://id.test/\"\njwks_url = \"https://id.test:99999/keys\"",
        "issuer = \"https://id.test/\"\njwks_url = \"http://[::1]:0/keys\"",
    ] {
        let refused = issuer(lines).unwrap_err();
        assert!(refused.len() == 1 && refused[0].contains("no number from 1 to 65535"), "{refused:?}");
    }
    // Where the keys are named, the issuer is only compared with the `iss` of a token.
    assert!(issuer("issuer = \"https://id.test:99999/\"\njwks_url = \"https://id.test/keys\"").is_ok());
}
