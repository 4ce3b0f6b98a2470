//! The instance pool: who may hold an instance, for how long a call waits for one, and the ticker that makes guests yield.

mod instances;
mod slot;
mod ticker;

pub(crate) use self::instances::{InstancePool, PoolOptions, WarmInstances};
pub(crate) use self::slot::{PoolShare, PoolSlot};
