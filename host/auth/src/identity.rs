//! Authentication by credential: an API key, a token of this host, or a token of an identity provider.
//!
//! The threat is someone who forges, steals or keeps a credential, or who has a weak one and asks for more. The policy:
//! a token has only the scopes that its issuer may give (`token_scopes`); the key that a token was minted with limits
//! it and ends it; only an API key with `users:act` may name another user; every request is checked against the
//! revocations of the last second.
//!
//! Accepted: a token of an identity provider is valid until it expires or is revoked here; the provider is not asked.

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use http::request::Parts;
use masque_http::ListenerKind;
use masque_problem::{Kind, Problem};
use masque_store::{Owner, Store, StoreError, UserProfile};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::authenticator::Authenticator;
use crate::clock::now_ms;
use crate::credential::{OnBehalfOf, bearer_credential};
use crate::key::{ApiKey, KeyRejection, KeyText, PREFIX};
use crate::owner::{DEFAULT_TENANT, KEY_ISSUER};
use crate::principal::{Actor, Principal};
use crate::profile;
use crate::rejection::CredentialRejection;
use crate::scope::{Scope, Scopes};
use crate::security_cache::SecurityCache;
use crate::token::{Tokens, VerifiedToken};

/// Authenticates requests by their credentials. There is one for a host.
pub struct Identity {
    tokens: Arc<Tokens>,
    security: SecurityCache,
}

/// Whether a credential is valid: the answer of `POST /auth/validate`.
pub enum Validity {
    /// It is.
    Valid {
        /// Its claims.
        claims: Map<String, Value>,
        /// The user that it stands for.
        owner: Owner,
    },
    /// It is not.
    Invalid {
        /// A stable word for why.
        reason: &'static str,
        /// The claim that is missing or wrong, if that is why.
        claim: Option<String>,
    },
}

impl Identity {
    /// Reads the API keys and revocations of the store.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn open(tokens: Arc<Tokens>, store: Arc<dyn Store>) -> Result<Self, StoreError> {
        Ok(Self { tokens, security: SecurityCache::open(store).await? })
    }

    /// The tokens of this host and of the identity providers that it trusts.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Keeps API keys, revocations and signing keys current until it is stopped.
    pub async fn follow(&self, stop: CancellationToken) {
        let tokens = Arc::clone(&self.tokens);
        futures::future::join(self.security.follow(stop.clone()), tokens.follow(stop)).await;
    }

    /// Takes over changes of API keys and revocations. Called after a change that this host made itself, so that it is
    /// in force before the answer is sent.
    ///
    /// # Errors
    /// The store can't be read; [`Identity::follow`] tries again within a second.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.security.refresh().await
    }

    /// Judges a credential without a request.
    ///
    /// # Errors
    /// It can't be judged at the moment: [`Kind::IssuerUnavailable`] if the issuer's keys can't be fetched,
    /// [`Kind::StorageUnavailable`] if the store can't be read.
    pub async fn validate(&self, credential: &str) -> Result<Validity, Problem> {
        let found = if credential.starts_with(PREFIX) {
            self.check_key(credential).await.map(|key| (key_claims(&key), key_owner(&key)))
        } else {
            self.check_token(credential).await.map(|(token, _)| {
                let owner = Owner { tenant: token.tenant, issuer: token.issuer, subject: token.subject };
                (token.claims, owner)
            })
        };
        match found {
            Ok((claims, owner)) => Ok(Validity::Valid { claims, owner }),
            Err(rejection) if rejection.is_undecided() => Err(rejection.into()),
            Err(rejection) => {
                let claim = rejection.claim().map(str::to_owned);
                Ok(Validity::Invalid { reason: rejection.reason(), claim })
            }
        }
    }

    /// The key with this text, if it is valid now.
    async fn check_key(&self, text: &str) -> Result<Arc<ApiKey>, CredentialRejection> {
        let text = KeyText::parse(text).map_err(|_| KeyRejection::Unknown)?;
        let known = self.security.snapshot().key(&text.id).cloned();
        let key = match known {
            Some(key) => key,
            None => self.security.look_up_key(&text.id).await.ok_or(KeyRejection::Unknown)?,
        };
        key.check(&text, now_ms())?;
        Ok(key)
    }

    /// The token, if it is valid now, and the API key that it was minted with.
    async fn check_token(
        &self,
        text: &str,
    ) -> Result<(VerifiedToken, Option<Arc<ApiKey>>), CredentialRejection> {
        let token = self.tokens.verify(text).await?;
        let snapshot = self.security.snapshot();
        if snapshot.is_revoked(&token) {
            return Err(CredentialRejection::RevokedToken);
        }
        if !token.is_own {
            return Ok((token, None));
        }
        let minting_key = match token.client_id.as_deref().map(str::parse) {
            Some(Ok(id)) => match snapshot.key(&id) {
                Some(key) => Some(Arc::clone(key)),
                // The key was made since the last refresh, here or on another host, and its limits apply all the same.
                // Only a token with a right signature gets here, so this lookup needs no bound. If no one knows the
                // key, no one knows its limits, and the token is refused.
                None => match self.security.stored_key(&id).await {
                    Ok(Some(key)) => Some(key),
                    Ok(None) => return Err(CredentialRejection::RevokedMintingKey),
                    Err(error) => return Err(CredentialRejection::StoreUnavailable(error)),
                },
            },
            // Another holder of the signing secret made the token, for a client that is no API key of this host.
            Some(Err(_)) | None => None,
        };
        // A token ends with its key; the clock leeway of tokens does not extend it.
        if minting_key.as_ref().is_some_and(|key| key.is_void(now_ms())) {
            return Err(CredentialRejection::RevokedMintingKey);
        }
        Ok((token, minting_key))
    }

    async fn principal(&self, credential: &str, headers: &HeaderMap) -> Result<Principal, Problem> {
        let principal = if credential.starts_with(PREFIX) {
            let key = self.check_key(credential).await?;
            let owner = key_owner(&key);
            let profile = UserProfile::default();
            Principal { owner, actor: Actor::Key, scopes: key.scopes, key: Some(key), profile }
        } else {
            let (token, key) = self.check_token(credential).await?;
            let scopes = token_scopes(&token);
            let profile = profile::from_claims(&token.claims);
            let owner = Owner { tenant: token.tenant, issuer: token.issuer, subject: token.subject };
            Principal { owner, actor: Actor::Token, scopes, key, profile }
        };
        match OnBehalfOf::from_headers(headers)? {
            Some(user) => self.act_for(principal, user),
            None => Ok(principal),
        }
    }

    /// The principal of a user that an API key speaks for. The user is of the key's tenant.
    fn act_for(&self, mut principal: Principal, user: OnBehalfOf<'_>) -> Result<Principal, Problem> {
        if principal.actor != Actor::Key || !principal.scopes.has(Scope::UsersAct) {
            let detail = "Only an API key with the scope `users:act` may send `On-Behalf-Of`.";
            return Err(Problem::new(Kind::InsufficientScope, detail).with("scope", Scope::UsersAct.as_str()));
        }
        let subject = user.subject()?;
        let issuer = match user.issuer {
            Some(issuer) if self.tokens.trusts(issuer) => issuer,
            Some(_) => return Err(OnBehalfOf::untrusted_issuer()),
            None => self.tokens.issuer(),
        };
        principal.owner.issuer = issuer.to_owned();
        principal.owner.subject = subject.to_owned();
        // The key may do no more for the user than the user could: of its own scopes, `chat`.
        principal.scopes = principal.scopes.intersection([Scope::Chat].into_iter().collect());
        Ok(principal)
    }
}

#[async_trait]
impl Authenticator for Identity {
    async fn authenticate(&self, request: &Parts) -> Result<Principal, Problem> {
        match bearer_credential(&request.headers)? {
            Some(credential) => self.principal(credential, &request.headers).await,
            None if request.extensions.get() == Some(&ListenerKind::Socket) => Ok(Principal::machine()),
            None => Err(Kind::Unauthenticated.into()),
        }
    }

    fn lets_everyone_in(&self) -> bool {
        false
    }
}

/// What a token may do. A token that is signed with the host's own secret has only the scopes that this host mints,
/// whoever else holds the secret. Scopes that reach into every tenant count only in tokens of the default tenant.
fn token_scopes(token: &VerifiedToken) -> Scopes {
    let is_allowed = |scope: &Scope| {
        if token.is_own {
            scope.can_be_minted()
        } else {
            !scope.spans_tenants() || token.tenant == DEFAULT_TENANT
        }
    };
    let scopes = Scopes::from_words(token.scopes.iter().map(String::as_str));
    scopes.iter().filter(is_allowed).collect()
}

/// The user that an API key is.
fn key_owner(key: &ApiKey) -> Owner {
    Owner { tenant: key.tenant.clone(), issuer: KEY_ISSUER.into(), subject: key.id.to_string() }
}

/// An API key described by the claims that a token would have.
fn key_claims(key: &ApiKey) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("iss".into(), KEY_ISSUER.into());
    claims.insert("sub".into(), key.id.to_string().into());
    claims.insert("scope".into(), key.scopes.to_string().into());
    if let Some(at) = key.expires_at {
        claims.insert("exp".into(), json!(at / 1000));
    }
    claims
}
