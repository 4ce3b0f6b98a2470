//! Principals by what they can show: an API key, or a token of this host or of an identity provider.
//!
//! Keys and revocations are read from the store once and then followed by its version, so that what another host or the
//! command line changed is in force within seconds, and what this host changes at once. While the store is away what
//! was known last stays in force: whoever could use a revoked key then finds no data behind it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use http::request::Parts;
use http::{HeaderMap, header};
use masque_store::{KeyId, Owner, Store, StoreError};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::key::{KeyText, PREFIX};
use super::known::Known;
use super::store_problem::store_problem;
use super::token::{Refused, Tokens, Verified};
use super::{Actor, ApiKey, Authenticator, DEFAULT_TENANT, KEY_ISSUER, Principal, Scope, Scopes, machine};
use crate::api::arrival::Via;
use crate::problem::{Kind, Problem};

/// How often the store is asked for changes that others made. In force within 5 s is what is promised; this leaves room
/// for a store that is slow for a moment.
const FOLLOW: Duration = Duration::from_secs(1);

/// Keys that are looked up in the store at the same time because they are not known yet. A flood of made-up ids gets no
/// more of the store than this, and a key that was made a moment ago waits for the next round at worst.
const LOOK_UPS: usize = 2;

const ON_BEHALF_OF: &str = "on-behalf-of";
const ON_BEHALF_OF_ISSUER: &str = "on-behalf-of-issuer";

/// Tells principals apart.
pub(crate) struct Identity {
    tokens: Arc<Tokens>,
    store: Arc<dyn Store>,
    known: RwLock<Arc<Known>>,
    look_ups: Semaphore,
}

/// What `POST /auth/validate` says of a credential.
pub(crate) enum Validity {
    Valid(Map<String, Value>),
    /// A stable word for why not.
    Invalid(&'static str),
}

/// Why a credential proves nothing.
enum Rejected {
    Token(Refused),
    /// Not in the form of a key, unknown, or with another secret: whoever guesses learns no more.
    UnknownKey,
    ExpiredKey,
    RevokedKey,
    RevokedToken,
    /// The key that the token was made with is revoked.
    RevokedMinter,
    /// Nothing can be said without the store.
    StoreAway(StoreError),
}

impl Identity {
    /// Reads what is known now.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) async fn open(tokens: Arc<Tokens>, store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let known = RwLock::new(Arc::new(Known::from(store.security().await?)));
        Ok(Self { tokens, store, known, look_ups: Semaphore::new(LOOK_UPS) })
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Keeps what is known as it is elsewhere: keys and revocations in the store, and the keys that tokens are signed
    /// with. Until it is told to stop.
    pub(crate) async fn follow(&self, stop: CancellationToken) {
        futures::future::join(self.follow_store(stop.clone()), Arc::clone(&self.tokens).follow(stop)).await;
    }

    async fn follow_store(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(FOLLOW);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut away = false;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.catch_up().await {
                Ok(()) if away => {
                    away = false;
                    tracing::info!("keys and revocations are followed again");
                }
                Ok(()) => {}
                Err(error) if !away => {
                    away = true;
                    tracing::warn!(%error, "keys and revocations can't be read: what was known last stays in force");
                }
                Err(_) => {}
            }
        }
    }

    /// Takes over what has changed in the store. To be called after a change of one's own, so that it is in force before
    /// it is answered.
    ///
    /// # Errors
    /// The store can't be read; the next round tries again.
    pub(crate) async fn catch_up(&self) -> Result<(), StoreError> {
        let before = self.known();
        let known = match before.version {
            Some(version) if version == self.store.security_version().await? => return Ok(()),
            Some(version) => before.with(self.store.security_since(version).await?),
            None => Known::from(self.store.security().await?),
        };
        let known = Arc::new(known);
        let mut current = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Of two that read at the same time the later one may be slower.
        if current.version <= known.version {
            *current = known;
        }
        Ok(())
    }

    /// What a credential is worth, for whoever holds it.
    ///
    /// # Errors
    /// The issuer's keys can't be had, so nothing can be said.
    pub(crate) async fn validate(&self, credential: &str) -> Result<Validity, Problem> {
        let judged = if credential.starts_with(PREFIX) {
            self.key(credential).await.map(|key| {
                let scope = key.scopes.to_string();
                let mut claims = Map::new();
                claims.insert("iss".into(), KEY_ISSUER.into());
                claims.insert("sub".into(), key.id.to_string().into());
                claims.insert("scope".into(), scope.into());
                if let Some(at) = key.expires_at {
                    claims.insert("exp".into(), json!(at / 1000));
                }
                claims
            })
        } else {
            self.token(credential).await.map(|(token, _)| token.claims)
        };
        match judged {
            Ok(claims) => Ok(Validity::Valid(claims)),
            Err(undecided @ (Rejected::Token(Refused::KeysUnavailable) | Rejected::StoreAway(_))) => {
                Err(undecided.into())
            }
            Err(rejected) => Ok(Validity::Invalid(rejected.reason())),
        }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The key of this text, if it is good at this moment.
    async fn key(&self, text: &str) -> Result<Arc<ApiKey>, Rejected> {
        let text = KeyText::parse(text).map_err(|_| Rejected::UnknownKey)?;
        let known = self.known().key(&text.id).cloned();
        let key = match known {
            Some(key) => key,
            None => self.look_up(&text.id).await.ok_or(Rejected::UnknownKey)?,
        };
        key.judge(&text, now_ms())?;
        Ok(key)
    }

    /// A key that was made since the last round.
    async fn look_up(&self, id: &KeyId) -> Option<Arc<ApiKey>> {
        let _place = self.look_ups.try_acquire().ok()?;
        self.stored(id).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "an API key could not be looked up");
            None
        })
    }

    async fn stored(&self, id: &KeyId) -> Result<Option<Arc<ApiKey>>, StoreError> {
        Ok(self.store.key(id).await?.map(|record| Arc::new(record.into())))
    }

    /// The token, if it is good at this moment, and the key that it was made with.
    async fn token(&self, text: &str) -> Result<(Verified, Option<Arc<ApiKey>>), Rejected> {
        let token = self.tokens.verify(text).await.map_err(Rejected::Token)?;
        let known = self.known();
        if known.is_revoked(&token) {
            return Err(Rejected::RevokedToken);
        }
        if !token.own {
            return Ok((token, None));
        }
        let minter = match token.client_id.as_deref().map(str::parse) {
            Some(Ok(id)) => match known.key(&id) {
                Some(key) => Some(Arc::clone(key)),
                // Made since the last round, here or elsewhere; its limits hold all the same. Only who holds the secret
                // gets as far as this. Where no one knows the key, no one knows what it limits.
                None => match self.stored(&id).await.map_err(Rejected::StoreAway)? {
                    Some(key) => Some(key),
                    None => return Err(Rejected::RevokedMinter),
                },
            },
            // One that some other holder of the secret made names a client that is no key of this host.
            Some(Err(_)) | None => None,
        };
        // A token ends with its key, whatever leeway there is for the token itself.
        if minter.as_ref().is_some_and(|key| key.revoked || key.has_ended()) {
            return Err(Rejected::RevokedMinter);
        }
        Ok((token, minter))
    }

    async fn principal(&self, credential: &str, headers: &HeaderMap) -> Result<Principal, Problem> {
        let principal = if credential.starts_with(PREFIX) {
            let key = self.key(credential).await?;
            let owner =
                Owner { tenant: key.tenant.clone(), issuer: KEY_ISSUER.into(), subject: key.id.to_string() };
            Principal { owner, actor: Actor::Key, scopes: key.scopes, key: Some(key) }
        } else {
            let (token, key) = self.token(credential).await?;
            let scopes = granted(&token);
            let owner = Owner { tenant: token.tenant, issuer: token.issuer, subject: token.subject };
            Principal { owner, actor: Actor::Token, scopes, key }
        };
        self.on_behalf(principal, headers)
    }

    /// The user that a key speaks for, in the key's own tenant.
    fn on_behalf(&self, mut principal: Principal, headers: &HeaderMap) -> Result<Principal, Problem> {
        let subject = single(headers, ON_BEHALF_OF)?;
        let issuer = single(headers, ON_BEHALF_OF_ISSUER)?;
        let Some(subject) = subject else {
            return match issuer {
                Some(_) => Err(invalid(ON_BEHALF_OF_ISSUER, "Send it together with `On-Behalf-Of`.")),
                None => Ok(principal),
            };
        };
        if principal.actor != Actor::Key || !principal.scopes.has(Scope::UsersAct) {
            let detail = "Only an API key with the scope `users:act` may send `On-Behalf-Of`.";
            return Err(Problem::new(Kind::InsufficientScope, detail).with("scope", Scope::UsersAct.as_str()));
        }
        if !super::token::is_subject(subject) {
            return Err(invalid(
                ON_BEHALF_OF,
                "It is a user's id: 1 to 255 characters, none of them a control.",
            ));
        }
        let issuer = match issuer {
            Some(issuer) if self.tokens.knows(issuer) => issuer,
            Some(_) => {
                return Err(invalid(ON_BEHALF_OF_ISSUER, "It is one of the issuers that this host trusts."));
            }
            None => self.tokens.issuer(),
        };
        principal.owner.issuer = issuer.to_owned();
        principal.owner.subject = subject.to_owned();
        // It speaks for the user, and so it can do what a user can.
        principal.scopes = principal.scopes.and([Scope::Chat].into_iter().collect());
        Ok(principal)
    }
}

#[async_trait]
impl Authenticator for Identity {
    async fn authenticate(&self, request: &Parts) -> Result<Principal, Problem> {
        match credential(&request.headers)? {
            Some(credential) => self.principal(credential, &request.headers).await,
            None if request.extensions.get() == Some(&Via::Socket) => Ok(machine()),
            None => Err(Kind::Unauthenticated.into()),
        }
    }

    fn lets_everyone_in(&self) -> bool {
        false
    }
}

impl ApiKey {
    /// Nothing is said of a key before its secret was right.
    fn judge(&self, text: &KeyText, now: i64) -> Result<(), Rejected> {
        let earlier = self.previous.as_ref().is_some_and(|(hash, until)| text.is(hash) && now < *until);
        if !text.is(&self.hash) && !earlier {
            return Err(Rejected::UnknownKey);
        }
        if self.revoked {
            return Err(Rejected::RevokedKey);
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(Rejected::ExpiredKey);
        }
        Ok(())
    }
}

/// What a token may do. One that this host could have minted has no more than this host would mint, whoever else holds
/// the secret; those who rule the host come from its own tenant.
fn granted(token: &Verified) -> Scopes {
    let allowed = |scope: &Scope| {
        if token.own {
            scope.can_be_minted()
        } else {
            !scope.rules_the_host() || token.tenant == DEFAULT_TENANT
        }
    };
    let scopes = Scopes::known(token.scopes.iter().map(String::as_str));
    scopes.iter().filter(allowed).collect()
}

/// What follows `Bearer` (RFC 6750, section 2.1), if anything was sent.
pub(crate) fn credential(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let refused = |detail| Err(Problem::new(Kind::Unauthenticated, detail));
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return refused("Send one `Authorization` header, not several."),
    };
    let bearer = value.to_str().ok().and_then(|value| value.split_once(' '));
    match bearer {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => {
            let credential = credential.trim_matches(' ');
            if credential.is_empty() { refused("No token follows `Bearer`.") } else { Ok(Some(credential)) }
        }
        _ => refused("Write `Authorization: Bearer` and then the token or API key."),
    }
}

fn single<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| invalid(name, "It is visible ASCII characters."))
        }
        (Some(_), Some(_)) => Err(invalid(name, "Send it once.")),
    }
}

fn invalid(field: &str, detail: &str) -> Problem {
    Problem::new(Kind::InvalidRequest, format!("`{field}`: {detail}")).with("field", field)
}

impl Rejected {
    fn reason(&self) -> &'static str {
        match self {
            Self::Token(refused) => refused.reason(),
            Self::UnknownKey => "unknown-api-key",
            Self::ExpiredKey => "expired",
            Self::RevokedKey | Self::RevokedToken => "revoked",
            Self::RevokedMinter => "minting-key-revoked",
            Self::StoreAway(_) => "store-unavailable",
        }
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        let detail = match &rejected {
            Rejected::Token(Refused::KeysUnavailable) => return Kind::IssuerUnavailable.into(),
            Rejected::StoreAway(error) => return store_problem(error.clone()),
            Rejected::Token(refused) => refused.to_string(),
            Rejected::UnknownKey => "The API key is not one of this host's.".to_owned(),
            Rejected::ExpiredKey => "The API key has expired; have a new one made.".to_owned(),
            Rejected::RevokedKey => "The API key was revoked; have a new one made.".to_owned(),
            Rejected::RevokedToken => "The token was revoked; get a new one.".to_owned(),
            Rejected::RevokedMinter => {
                "The API key that made the token was revoked; get a new one.".to_owned()
            }
        };
        Self::new(Kind::InvalidToken, detail).with("reason", rejected.reason())
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
