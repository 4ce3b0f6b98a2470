//! What a principal may do, as its key or token says.

use std::fmt;
use std::str::FromStr;

/// One ability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scope {
    /// To talk, and everything about one's own conversations.
    Chat,
    AdminRead,
    AdminWrite,
    /// To make tokens for users.
    TokensMint,
    /// To act as a user.
    UsersAct,
}

impl Scope {
    pub(crate) const ALL: [Self; 5] =
        [Self::Chat, Self::AdminRead, Self::AdminWrite, Self::TokensMint, Self::UsersAct];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::AdminRead => "admin:read",
            Self::AdminWrite => "admin:write",
            Self::TokensMint => "tokens:mint",
            Self::UsersAct => "users:act",
        }
    }

    /// Whether a token that this host mints may have it. What rules over others stays with keys, which an operator made
    /// and can list; a token is out of sight once it is given away.
    pub(crate) fn can_be_minted(self) -> bool {
        matches!(self, Self::Chat)
    }

    /// Whether it reaches past the tenant that it was given in.
    pub(crate) fn rules_the_host(self) -> bool {
        matches!(self, Self::AdminRead | Self::AdminWrite)
    }
}

/// A word that is no scope of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scopes are `chat`, `admin:read`, `admin:write`, `tokens:mint` and `users:act`")]
pub(crate) struct UnknownScope;

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
pub(crate) struct Scopes(u8);

impl Scopes {
    /// Those of these words that are scopes of this host; identity providers send others of their own along.
    pub(crate) fn known<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        words.into_iter().filter_map(|word| word.parse().ok()).collect()
    }

    pub(crate) fn has(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }

    /// What is in both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Scope> {
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

/// Separated by spaces, as RFC 6749, section 3.3 writes them.
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
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        for scope in Scope::ALL {
            let set: Scopes = [scope].into_iter().collect();
            let held: Vec<_> = Scope::ALL.into_iter().filter(|other| set.has(*other)).collect();
            assert_eq!(held, [scope]);
        }
        assert!(!Scopes::default().has(Scope::Chat));
    }

    #[test]
    fn words_that_are_no_scopes_are_left_out() {
        let set = Scopes::known(["openid", "chat", "CHAT", "admin:read ", "admin", "tokens:mint"]);
        assert_eq!(set.to_string(), "chat tokens:mint");
    }

    #[test]
    fn no_minted_token_rules_over_anyone() {
        let minted: Vec<_> = Scope::ALL.into_iter().filter(|scope| scope.can_be_minted()).collect();
        assert_eq!(minted, [Scope::Chat]);
    }
}
