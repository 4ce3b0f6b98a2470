//! What a turn costs its accounts.

use masque_store::Charge;

use crate::draft::ReplyDraft;
use crate::usage::reported_or_estimated;

/// The charge for a turn: the tokens that the model reported, or an estimate where it reported none. Without the estimate
/// a client that leaves before the end would pay nothing.
pub(super) fn charge(accounts: &[String], draft: &ReplyDraft) -> Charge {
    Charge { accounts: accounts.to_vec(), usage: reported_or_estimated(draft) }
}
