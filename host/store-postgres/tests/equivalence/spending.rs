//! Random reports of what hosts spent, and of the blocks that they want.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use masque_store::conformance::fixtures::{LONG, OVER};
use masque_store::{
    BlockRequest, ReportAnswer, SpendingDay, SpendingReport, Store, StoreError, UsedTokens, user_account,
};
use uuid::Uuid;

use crate::operation::{Operation, hosts};
use crate::world::{World, owners};

/// A report whose days count from the day on which it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) host: Uuid,
    revision: u64,
    lease: Duration,
    /// Account, day, tokens of input and of output.
    used: Vec<(String, i64, i64, i64)>,
    blocks: Vec<BlockRequest>,
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

/// What accounts may be called.
fn names() -> Vec<String> {
    let users = owners().iter().map(user_account).collect::<Vec<_>>();
    [users, vec!["key".into(), "é".into()]].concat()
}

impl World {
    pub(crate) fn of_spending(&mut self) -> Operation {
        if self.rng.u8(..4) == 0 {
            return Operation::Spent(self.pick(&names()));
        }
        let host = self.pick(&hosts());
        // Mostly the next one; seldom one that was sent before, or an earlier one.
        let revision = match self.rng.u8(..8) {
            0 => self.revision(host),
            1 => self.revision(host).saturating_sub(1),
            _ => self.next_revision(host),
        };
        let count = self.pick(&[0, 1, 2]);
        let used = (0..count).map(|day| {
            let tokens = [5, 40, -20, 0, i64::MIN, i64::MAX / 2];
            // Each account and day once at most.
            (self.pick(&names()), -day, self.pick(&tokens), self.pick(&tokens))
        });
        let used = used.collect();
        let accounts: BTreeSet<String> = (0..self.pick(&[0, 1, 2, 3])).map(|_| self.pick(&names())).collect();
        let mut blocks: Vec<BlockRequest> = accounts.into_iter().map(|account| self.block(account)).collect();
        self.rng.shuffle(&mut blocks);
        Operation::Report(Report { host, revision, lease: self.pick(&[LONG, LONG, OVER]), used, blocks })
    }

    fn block(&mut self, account: String) -> BlockRequest {
        if self.rng.u8(..4) == 0 {
            return BlockRequest::Return { account };
        }
        let budget = self.pick(&[0, 100, 1000, 1000, 1000, 5000, i64::MAX / 4]);
        BlockRequest::Hold { account, budget, wanted: self.pick(&[0, 1, 1, 90, 2000]) }
    }

    /// Reports that return all blocks of the other hosts.
    pub(crate) fn returns_of_others(&mut self, host: Uuid) -> Vec<Report> {
        let others = hosts().into_iter().filter(|other| *other != host);
        let returned = others.map(|host| Report {
            host,
            revision: self.next_revision(host),
            lease: LONG,
            used: Vec::new(),
            blocks: names().into_iter().map(|account| BlockRequest::Return { account }).collect(),
        });
        returned.collect()
    }

    pub(crate) fn reads_of_spending(&self) -> Vec<Operation> {
        names().into_iter().map(Operation::Spent).collect()
    }

    fn revision(&self, host: Uuid) -> u64 {
        self.revisions.get(&host).copied().unwrap_or_default()
    }

    fn next_revision(&mut self, host: Uuid) -> u64 {
        let revision = self.revision(host) + 1;
        self.revisions.insert(host, revision);
        revision
    }
}
