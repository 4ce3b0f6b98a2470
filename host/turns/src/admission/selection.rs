//! Which companion, models and conversation a request means. Unknown names are refused here, before anything is stored.

use std::collections::BTreeSet;
use std::sync::Arc;

use masque_companions::{ActiveSet, Companion};
use masque_problem::{Kind, Problem};
use masque_runtime::Plugin;
use masque_store::{ConversationId, Target, title_of};

use crate::failure::store_problem;
use crate::host::Host;
use crate::request::ChatRequest;

impl Host {
    /// The conversation that the turn belongs to: an existing one, or a new one with its companion and title.
    pub(super) async fn select_target(
        &self,
        request: &ChatRequest,
        set: &ActiveSet,
    ) -> Result<Target, Problem> {
        let named = request.companion.as_deref().map(|name| find_companion(set, name)).transpose()?;
        if named.is_some_and(|companion| !is_allowed(request, &companion.name)) {
            return Err(Problem::from(Kind::CompanionNotAllowed));
        }
        let Some(id) = request.conversation else {
            let companion = match named {
                Some(companion) => companion,
                None => only_companion(set, request.allowed_companions.as_ref())?,
            };
            select_models(companion, request.model.as_deref())?;
            let (companion, title) = (companion.name.clone(), title_of(&request.message));
            return Ok(Target::New { id: ConversationId::new(), companion, title });
        };
        if request.allowed_companions.is_some() {
            // Asked before the wait for the conversation, which would tell whether the conversation is busy.
            self.companion_of(request, id).await?;
        }
        if let Some(model) = &request.model {
            let companion = match named {
                Some(companion) => Arc::clone(companion),
                None => Arc::clone(find_companion(set, &self.companion_of(request, id).await?)?),
            };
            select_models(&companion, Some(model))?;
        }
        Ok(Target::Existing(id))
    }

    /// The companion of a conversation. A conversation with one that the request may not talk to is like an unknown one.
    async fn companion_of(&self, request: &ChatRequest, id: ConversationId) -> Result<String, Problem> {
        let found =
            self.store.conversation(&request.owner, id).await.map_err(|error| store_problem(&error))?;
        let companion = found.map(|conversation| conversation.companion);
        companion
            .filter(|companion| is_allowed(request, companion))
            .ok_or_else(|| Problem::from(Kind::ConversationNotFound))
    }
}

/// The companion with this name.
pub(crate) fn find_companion<'a>(set: &'a ActiveSet, name: &str) -> Result<&'a Arc<Companion>, Problem> {
    set.companions.get(name).ok_or_else(|| Problem::from(Kind::CompanionNotFound))
}

/// Whether the companion may answer the request.
pub(super) fn is_allowed(request: &ChatRequest, companion: &str) -> bool {
    request.allowed_companions.as_ref().is_none_or(|allowed| allowed.contains(companion))
}

/// Refuses an earlier turn of the same request whose companion the request may not talk to. The idempotency key belongs to
/// the user, who may have sent the request with another API key before.
pub(super) fn check_earlier(request: &ChatRequest, companion: &str) -> Result<(), Problem> {
    if is_allowed(request, companion) { Ok(()) } else { Err(beyond_companions(request)) }
}

/// The answer to a request whose turn is with a companion that the request may not talk to. With an idempotency key it is
/// an earlier turn's, and the answer is the same however that turn stands and whatever the body of its request was.
pub(super) fn beyond_companions(request: &ChatRequest) -> Problem {
    if request.idempotency.is_none() {
        return Problem::from(Kind::ConversationNotFound);
    }
    let detail =
        "The `Idempotency-Key` was used with a companion that the API key is not for; use another one.";
    Problem::new(Kind::ConversationNotFound, detail)
}

/// The names of all companions that may answer the request.
pub(super) fn allowed_names(set: &ActiveSet, request: &ChatRequest) -> Arc<BTreeSet<String>> {
    match &request.allowed_companions {
        None => Arc::clone(&set.names),
        Some(allowed) => Arc::new(set.names.intersection(allowed).cloned().collect()),
    }
}

/// The companion that a request without a name means: the only one that may answer it. `allowed` are the companions that
/// the caller may talk to; `None` for all.
pub(crate) fn only_companion<'a>(
    set: &'a ActiveSet,
    allowed: Option<&BTreeSet<String>>,
) -> Result<&'a Arc<Companion>, Problem> {
    let is_allowed = |name: &str| allowed.is_none_or(|allowed| allowed.contains(name));
    let mut companions = set.companions.values().filter(|companion| is_allowed(&companion.name));
    match (companions.next(), companions.next()) {
        (Some(companion), None) => Ok(companion),
        (None, _) if set.companions.is_empty() => Err(Problem::from(Kind::CompanionNotFound)),
        (None, _) => Err(Problem::from(Kind::CompanionNotAllowed)),
        (Some(_), Some(_)) => {
            let names = set.companions.keys().filter(|name| is_allowed(name));
            let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
            Err(Problem::new(
                Kind::CompanionNotNamed,
                format!("Name one in `companion`: {}.", names.join(", ")),
            ))
        }
    }
}

/// The name of the companion that a request means, if it is known without a question to the store. A name that the client gives
/// counts only if there is such a companion.
pub(super) fn known_companion<'a>(set: &'a ActiveSet, request: &ChatRequest) -> Option<&'a str> {
    let companion = match &request.companion {
        Some(named) => set.companions.get(named),
        None if request.conversation.is_none() => {
            only_companion(set, request.allowed_companions.as_ref()).ok()
        }
        // With one companion, an earlier conversation is with it or gone.
        None if set.companions.len() == 1 => set.companions.values().next(),
        None => None,
    };
    companion.map(|companion| companion.name.as_str())
}

/// The models to try, in this order: the chosen one alone, or the companion's first, followed by the others if fallback is
/// on.
pub(crate) fn select_models(
    companion: &Companion,
    chosen: Option<&str>,
) -> Result<Vec<Arc<Plugin>>, Problem> {
    match chosen {
        Some(name) => match companion.models.iter().find(|model| model.name() == name) {
            Some(model) => Ok(vec![Arc::clone(model)]),
            None => {
                let names: Vec<_> =
                    companion.models.iter().map(|model| format!("`{}`", model.name())).collect();
                let detail = format!("Leave `model` out, or choose of {}.", names.join(", "));
                Err(Problem::new(Kind::ModelNotOffered, detail))
            }
        },
        None if companion.fallback => Ok(companion.models.clone()),
        None => Ok(companion.models.iter().take(1).cloned().collect()),
    }
}
