//! Counts every model call, and its tokens towards the budgets of the user and the API key, whoever makes the call: a turn,
//! a plugin that asks the model, a greeting, a background job.
//!
//! Threat: calls whose end nobody sees, or that report nothing, cost the operator money and their user nothing. Policy: an
//! estimate is debited before the call begins, and corrected when it has ended, in whichever way. Accepted consequence:
//! where a model reports no usage, the estimate is what counts.
//!
//! Where the tokens come from, and how hosts share a budget, is up to [`masque_store::Budgets`].

mod budget_use;
mod call_usage;
mod meter;

pub(crate) use budget_use::show_budget_use;
pub(crate) use meter::{MeteredCall, UsageMeter};
