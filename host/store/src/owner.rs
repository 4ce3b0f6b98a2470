//! Who owns what is kept. Every operation on a user's things takes an [`Owner`], so that a query that forgets to check
//! does not compile.

/// A tenant and a user in it; a user is an issuer and a subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The tenant, `default` where there is only one.
    pub tenant: String,
    /// Who vouches for the subject.
    pub issuer: String,
    /// The user's name with that issuer.
    pub subject: String,
}
