//! Random operations on what is kept of users, and random reports of what hosts spent.

use std::collections::BTreeSet;

use masque_store::BlockRequest;
use masque_store::conformance::fixtures::{LONG, OVER};
use uuid::Uuid;

use crate::basics::{hosts, names, owners};
use crate::operation::Operation;
use crate::spending::Report;
use crate::user_data::UserDataOperation;
use crate::world::World;

impl World {
    pub(crate) fn of_user_data(&mut self) -> Operation {
        use UserDataOperation::*;
        let receipt = match self.receipts.last() {
            Some(newest) if self.rng.u8(..8) > 0 => *newest,
            _ => Uuid::now_v7(),
        };
        Operation::UserData(match self.rng.u8(..16) {
            0..3 => {
                let (owner, receipt) = (self.owner(), Uuid::now_v7());
                self.receipts.push(receipt);
                Begin(owner, receipt)
            }
            3..7 => Erase(receipt),
            7..10 => Finish(receipt),
            10 => Receipt(receipt),
            11 => Running,
            12 | 13 => Export(self.owner()),
            14 => Users(self.pick(&[1, 2, 1000])),
            _ => WrongCursor(self.owner()),
        })
    }

    /// Operations that read what is kept of users, and then end all erasures.
    pub(crate) fn reads_of_user_data(&self) -> Vec<Operation> {
        use UserDataOperation::*;
        let mut reads = vec![Users(2), Running];
        reads.extend(owners().map(Export));
        for receipt in &self.receipts {
            reads.extend([Erase(*receipt), Finish(*receipt), Receipt(*receipt)]);
        }
        reads.push(Users(2));
        reads.extend(owners().map(Export));
        reads.into_iter().map(Operation::UserData).collect()
    }
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
        let (lease, is_late) = (self.pick(&[LONG, LONG, OVER]), self.rng.u8(..4) == 0);
        Operation::Report(Report { host, revision, lease, is_late, used, blocks })
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
            is_late: false,
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
