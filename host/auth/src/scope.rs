//! Scopes: what a principal may do, as its key or token says.

use std::fmt;
use std::str::FromStr;

/// One permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Talk to companions, and read and change one's own conversations.
    Chat,
    /// Read what operators read.
    AdminRead,
    /// Change what operators change.
    AdminWrite,
    /// Read what users have said and what is kept of them: export their data, and see what a turn was made of.
    ContentRead,
    /// Read the metrics and the details of health checks of the host, and nothing else.
    MetricsRead,
    /// Mint tokens for users.
    TokensMint,
    /// Act as a user, named by `On-Behalf-Of`.
    UsersAct,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 7] = [
        Self::Chat,
        Self::AdminRead,
        Self::AdminWrite,
        Self::ContentRead,
        Self::MetricsRead,
        Self::TokensMint,
        Self::UsersAct,
    ];

    /// The word for it in tokens, keys and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::AdminRead => "admin:read",
            Self::AdminWrite => "admin:write",
            Self::ContentRead => "content:read",
            Self::MetricsRead => "metrics:read",
            Self::TokensMint => "tokens:mint",
            Self::UsersAct => "users:act",
        }
    }

    /// Whether a token that this host mints may have it. Scopes that affect other users stay with API keys, which
    /// operators make and can list; nobody can list the tokens that were given away.
    pub fn can_be_minted(self) -> bool {
        matches!(self, Self::Chat)
    }

    /// Whether it reaches into every tenant, not only the one that it was given in.
    pub fn spans_tenants(self) -> bool {
        matches!(self, Self::AdminRead | Self::AdminWrite | Self::ContentRead | Self::MetricsRead)
    }
}

/// The word is no scope of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "scopes are `chat`, `admin:read`, `admin:write`, `content:read`, `metrics:read`, `tokens:mint` and `users:act`"
)]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word).ok_or(UnknownScope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// The words that are scopes of this host; others are ignored, because identity providers add scopes of their own.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        words.into_iter().filter_map(|word| word.parse().ok()).collect()
    }

    /// Whether the set contains the scope.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }

    /// The scopes that are in both sets.
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The scopes in the set, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }
}

fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | bit(scope)))
    }
}

/// Separated by spaces (RFC 6749, section 3.3).
impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            if index > 0 {
                formatter.write_str(" ")?;
            }
            scope.fmt(formatter)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_the_scopes_it_was_made_of_and_no_others() {
        for scope in Scope::ALL {
            let set: Scopes = [scope].into_iter().collect();
            let held: Vec<_> = Scope::ALL.into_iter().filter(|other| set.has(*other)).collect();
            assert_eq!(held, [scope]);
        }
        assert!(!Scopes::default().has(Scope::Chat));
    }

    #[test]
    fn words_that_are_no_scopes_are_ignored() {
        let set = Scopes::from_words(["openid", "chat", "CHAT", "admin:read ", "admin", "tokens:mint"]);
        assert_eq!(set.to_string(), "chat tokens:mint");
    }

    #[test]
    fn a_minted_token_can_have_no_scope_but_chat() {
        let minted: Vec<_> = Scope::ALL.into_iter().filter(|scope| scope.can_be_minted()).collect();
        assert_eq!(minted, [Scope::Chat]);
    }
}
