//! The owner of stored data. Every operation on the data of a user takes an [`Owner`], so that an implementation can't
//! forget to check it.

/// A tenant and a user in it; a user is an issuer and a subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The tenant, `default` where there is only one.
    pub tenant: String,
    /// The issuer that authenticated the subject.
    pub issuer: String,
    /// The user's name with that issuer.
    pub subject: String,
}
