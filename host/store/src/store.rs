//! The handles that callers hold: the whole store, and the part for the command line.

use crate::audit::AuditLog;
use crate::connection::StoreConnection;
use crate::conversations::Conversations;
use crate::jobs::Jobs;
use crate::keys::ApiKeys;
use crate::parked_jobs::ParkedJobs;
use crate::recorded_turn::TurnRecords;
use crate::revocations::Revocations;
use crate::spending::Spending;
use crate::state::PluginState;
use crate::turns::Turns;
use crate::user_data::UserData;

/// The whole store behind one handle: `Arc<dyn Store>`.
pub trait Store:
    Turns
    + Conversations
    + Jobs
    + ParkedJobs
    + PluginState
    + ApiKeys
    + Revocations
    + AuditLog
    + Spending
    + UserData
    + TurnRecords
    + StoreConnection
{
}

impl<S> Store for S where
    S: Turns
        + Conversations
        + Jobs
        + ParkedJobs
        + PluginState
        + ApiKeys
        + Revocations
        + AuditLog
        + Spending
        + UserData
        + TurnRecords
        + StoreConnection
{
}

/// API keys and revocations for the command line, before the first start of a host and while one runs.
pub trait KeyRing: ApiKeys + Revocations + StoreConnection {}

impl<S> KeyRing for S where S: ApiKeys + Revocations + StoreConnection {}

/// Turns and their records for the command line, while hosts run.
pub trait ExplainedTurns:
    Turns + Conversations + TurnRecords + UserData + AuditLog + StoreConnection
{
}

impl<S> ExplainedTurns for S where
    S: Turns + Conversations + TurnRecords + UserData + AuditLog + StoreConnection
{
}

/// The data of users for the command line, while hosts run.
pub trait UserRecords: UserData + StoreConnection {}

impl<S> UserRecords for S where S: UserData + StoreConnection {}
