//! `masque users id`: the host's id of a user, from the name that operators know. `masque erase` and the paths below `/users/`
//! take the id, which is made with the first thing that is stored for the user and can't be computed from the name.

use anyhow::{anyhow, ensure};
use masque_auth::{DEFAULT_TENANT, KEY_ISSUER, LOCAL_ISSUER, is_subject};
use masque_config::StateConfig;
use masque_store::Owner;

use crate::store::open_user_records;

/// How an operator names a user.
#[derive(Debug)]
pub(crate) struct UserName {
    /// The name with the issuer.
    pub(crate) subject: String,
    /// `None` for the host's own.
    pub(crate) issuer: Option<String>,
    /// `None` for [`DEFAULT_TENANT`].
    pub(crate) tenant: Option<String>,
}

/// The id of a user. `own_issuer` is the issuer of the host's own tokens.
///
/// # Errors
/// Nothing is stored for the user, or the store can't be read.
pub(crate) async fn id(state: &StateConfig, own_issuer: String, name: UserName) -> anyhow::Result<String> {
    let UserName { subject, issuer, tenant } = name;
    ensure!(
        is_subject(&subject),
        "the name of a user has 1 to 255 characters, none of them a control character"
    );
    let owner = Owner {
        tenant: tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
        issuer: issuer.unwrap_or(own_issuer),
        subject,
    };
    let store = open_user_records(state).await?;
    let found = store.user_id(&owner).await;
    store.close().await;
    found?.map(|id| id.to_string()).ok_or_else(|| not_found(&owner))
}

fn not_found(owner: &Owner) -> anyhow::Error {
    let [subject, issuer, tenant] =
        [&owner.subject, &owner.issuer, &owner.tenant].map(|part| part.escape_debug());
    anyhow!(
        "nothing is stored for a user `{subject}` of the issuer `{issuer}` in the tenant `{tenant}`: the user was erased, has never \
         come, or has another issuer (--issuer; `{LOCAL_ISSUER}` without authentication, `{KEY_ISSUER}` for an API key) or tenant \
         (--tenant)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_user_in_full_and_prints_no_control_characters() {
        let owner = Owner { tenant: "default".into(), issuer: "https://id\n".into(), subject: "ana".into() };
        let error = not_found(&owner).to_string();
        for part in ["`ana`", "`https://id\\n`", "`default`", "--issuer", "--tenant", "`local`", "`api-key`"]
        {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }
}
