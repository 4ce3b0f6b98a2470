//! Reports of what hosts spent, and of the blocks that they want.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use masque_store::{
    BlockRequest, DebitTime, ReportAnswer, SpendingDay, SpendingReport, Store, StoreError, UsedTokens,
};
use uuid::Uuid;

/// A report whose days count from the day on which it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) host: Uuid,
    pub(crate) revision: u64,
    pub(crate) lease: Duration,
    /// Whether it was sent, and its tokens were debited, before everything else.
    pub(crate) is_late: bool,
    /// Account, day, tokens of input and of output.
    pub(crate) used: Vec<(String, i64, i64, i64)>,
    pub(crate) blocks: Vec<BlockRequest>,
}

pub(crate) async fn report(store: &Arc<dyn Store>, report: Report) -> Result<ReportAnswer, StoreError> {
    let Report { host, revision, lease, is_late, used, blocks } = report;
    let sent_at = if is_late { 0 } else { i64::MAX };
    let today = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86400) as i64;
    let used = used.into_iter().map(|(account, day, input_tokens, output_tokens)| UsedTokens {
        account,
        day: SpendingDay(today + day),
        debited_at: DebitTime(sent_at),
        input_tokens,
        output_tokens,
    });
    store
        .report_spending(SpendingReport { host, revision, lease, sent_at, used: used.collect(), blocks })
        .await
}
