//! Shows how much of their budgets accounts have used: in the metrics, and in the log where one has nearly spent its own, since
//! metrics name no accounts.

use masque_store::{BudgetUse, Budgets, Store, StoreError, owner_of_account};
use masque_telemetry::metrics::turns::BUDGET_USED;

/// Sets the metric, and names the accounts that have nearly spent their budgets since the last call.
pub(crate) async fn show_budget_use(budgets: &Budgets, store: &dyn Store) {
    let BudgetUse { key, user, nearly_spent } = budgets.budget_use();
    BUDGET_USED.set_fraction(&["key"], key);
    BUDGET_USED.set_fraction(&["user"], user);
    for (account, share) in nearly_spent {
        let used = format!("{:.0} %", share * 100.0);
        match name_of(&account, store).await {
            Ok(account) => tracing::warn!(account, used, "an account has nearly spent the tokens of the day"),
            Err(error) => tracing::warn!(%error, used, "a user has nearly spent the tokens of the day"),
        }
    }
}

/// The account as the log and the audit log may name it: a key by its id, a user by a pseudonym.
async fn name_of(account: &str, store: &dyn Store) -> Result<String, StoreError> {
    if let Some(owner) = owner_of_account(account) {
        return Ok(format!("user:{}", store.installation().await?.erased_name(&owner).pseudonym()));
    }
    // What is neither is not shown, since it may have the identity of a user in it.
    Ok(if account.starts_with("key:") { account.to_owned() } else { "unknown".to_owned() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use masque_store::{Owner, user_account};
    use masque_store_sqlite::SqliteStore;

    use super::*;

    #[tokio::test]
    async fn the_log_names_a_key_by_its_id_and_a_user_by_the_pseudonym_of_the_audit_log() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
        let ada =
            Owner { tenant: "default".into(), issuer: "masque".into(), subject: "ada@example.com".into() };
        let pseudonym = store.installation().await.unwrap().erased_name(&ada).pseudonym().to_owned();
        assert_eq!(name_of(&user_account(&ada), &*store).await.unwrap(), format!("user:{pseudonym}"));
        assert_eq!(name_of("key:1", &*store).await.unwrap(), "key:1");
        assert_eq!(name_of("user:ada@example.com", &*store).await.unwrap(), "unknown");
    }
}
