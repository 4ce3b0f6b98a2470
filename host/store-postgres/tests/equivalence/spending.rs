//! Reports of what hosts spent, and of the blocks that they want.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use masque_store::{BlockRequest, ReportAnswer, SpendingDay, SpendingReport, Store, StoreError, UsedTokens};
use uuid::Uuid;

/// A report whose days count from the day on which it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) host: Uuid,
    pub(crate) revision: u64,
    pub(crate) lease: Duration,
    /// Account, day, tokens of input and of output.
    pub(crate) used: Vec<(String, i64, i64, i64)>,
    pub(crate) blocks: Vec<BlockRequest>,
}

pub(crate) async fn report(store: &Arc<dyn Store>, report: Report) -> Result<ReportAnswer, StoreError> {
    let Report { host, revision, lease, used, blocks } = report;
    let today = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86400) as i64;
    let used = used.into_iter().map(|(account, day, input_tokens, output_tokens)| UsedTokens {
        account,
        day: SpendingDay(today + day),
        input_tokens,
        output_tokens,
    });
    store.report_spending(SpendingReport { host, revision, lease, used: used.collect(), blocks }).await
}
