//! Shows how much of their budgets accounts have used: in the metrics, and in the log where one has nearly spent its own, since
//! metrics name no accounts.

use masque_store::{BudgetUse, Budgets, Owner, Store, owner_of_account};
use masque_telemetry::metrics::turns::BUDGET_USED;

/// Sets the metric, and names the accounts that have nearly spent their budgets since the last call: a key by its id, a user by the
/// pseudonym of the audit log.
pub(crate) async fn show_budget_use(budgets: &Budgets, store: &dyn Store) {
    let BudgetUse { key, user, nearly_spent } = budgets.budget_use();
    BUDGET_USED.set_fraction(&["key"], key);
    BUDGET_USED.set_fraction(&["user"], user);
    for (account, share) in nearly_spent {
        let used = format_args!("{:.0} %", share * 100.0).to_string();
        match owner_of_account(&account) {
            Some(owner) => {
                let user = pseudonym(store, &owner).await;
                tracing::warn!(user, used, "a user has nearly spent the tokens of the day");
            }
            None => {
                let key = account.strip_prefix("key:").unwrap_or("unknown");
                tracing::warn!(key, used, "an API key has nearly spent the tokens of the day");
            }
        }
    }
}

async fn pseudonym(store: &dyn Store, owner: &Owner) -> String {
    match store.installation().await {
        Ok(installation) => installation.erased_name(owner).pseudonym().to_owned(),
        Err(_away) => "unknown".to_owned(),
    }
}
