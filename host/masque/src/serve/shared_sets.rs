//! The active set that the hosts of one database share, as this host takes part in it.

use std::sync::Arc;

use masque_companions::SharedSets;
use masque_config::Config;
use masque_runtime::Sandbox;
use masque_store::{ActiveSets, SetHost};
use uuid::Uuid;

use crate::builtins;

/// The part of the host `id`. Logs what operators of other hosts see of it.
pub(super) fn open(
    store: Arc<dyn ActiveSets>,
    id: Uuid,
    config: &Arc<Config>,
    sandbox: &Arc<Sandbox>,
) -> SharedSets {
    let host = SetHost { id, name: machine_name() };
    tracing::info!(name = host.name, %id, "this host shares the active set of its database");
    let data = &config.data.folder;
    SharedSets::new(store, host, Arc::clone(config), data, Arc::clone(sandbox), builtins::component)
}

/// The name of this machine, which is that of the pod or container in one.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "a host without a name".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_name_on_one_line() {
        let name = machine_name();
        assert!(!name.is_empty() && !name.contains('\n'), "{name:?}");
    }
}
