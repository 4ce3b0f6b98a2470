//! Random writes of state, and API keys.

use masque_store::conformance::fixtures::{LONG, OVER};
use masque_store::{KeyId, StateChange, StateFence, StateKey, StateScope, StateSpace, StateWrite};

use crate::world::{PLUGINS, TurnOf, World};

const STATE_KEYS: [&str; 6] = ["a", "ab", "b", "é", "B", "a/b"];

impl World {
    pub(crate) fn space(&mut self) -> StateSpace {
        let plugin = self.pick(&PLUGINS).into();
        let (owner, conversation) = self.conversation();
        let scope = match self.rng.u8(..5) {
            0 | 1 => StateScope::Conversation(conversation),
            2 => StateScope::Shared,
            _ => StateScope::User(owner.clone()),
        };
        let tenant = if self.rng.u8(..20) == 0 { "other".into() } else { owner.tenant };
        StateSpace { tenant, plugin, scope }
    }

    pub(crate) fn state_key(&mut self) -> StateKey {
        StateKey { space: self.space(), key: self.pick(&STATE_KEYS).into() }
    }

    pub(crate) fn write(&mut self, key: Option<StateKey>) -> StateWrite {
        let if_version = self.pick(&[None, None, Some(0), Some(1), Some(2)]);
        let values: [&[u8]; 6] = [b"", b"5", b"-9223372036854775808", b" 5", b"+07", b"\0\xff"];
        let change = match self.rng.u8(..4) {
            0 => StateChange::Delete { if_version },
            1 => StateChange::Add { amount: self.pick(&[1, -1, i64::MAX, i64::MIN]) },
            _ => StateChange::Set {
                value: self.pick(&values).to_vec(),
                if_version,
                ttl: self.pick(&[None, Some(LONG), Some(OVER)]),
            },
        };
        let key = key.unwrap_or_else(|| self.state_key());
        StateWrite { key, change, quota: self.pick(&[None, None, Some(1000), Some(150)]) }
    }

    pub(crate) fn writes(&mut self) -> Vec<StateWrite> {
        let key = self.state_key();
        let count = self.pick(&[1, 1, 2, 3]);
        (0..count)
            .map(|_| if self.rng.bool() { self.write(Some(key.clone())) } else { self.write(None) })
            .collect()
    }

    pub(crate) fn fence(&mut self) -> Option<StateFence> {
        match self.rng.u8(..4) {
            0 | 1 => None,
            2 => {
                let TurnOf { turn, epoch, .. } = self.turn();
                Some(StateFence::Turn { turn, epoch })
            }
            _ => {
                let (job, epoch) = self.job();
                Some(StateFence::Job { job, epoch })
            }
        }
    }

    pub(crate) fn key_id(&mut self) -> KeyId {
        KeyId::from_bytes([self.rng.u8(..=self.keys); 8])
    }
}
