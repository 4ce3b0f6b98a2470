//! How many instances this machine has room for.
//!
//! The pool is laid out at start, and what it reserves then or maps later runs into limits that show themselves as failing
//! calls under load: so they are read first. Nothing is reserved for the rest of the process beyond what is stated here.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// Address space of one pooled memory: what wasmtime reserves so that compiled code needs no bounds checks, and its guard.
const ADDRESS_SPACE: u64 = (4 << 30) + (32 << 20);
/// What x86-64 and AArch64 give a process, and the part of it that the pool may take.
const ALL_ADDRESS_SPACE: u64 = 1 << 47;
/// Mappings of one running instance: its memory (image, heap, what is left of the reservation), its tables, and up to four
/// stacks with a guard each. An open stream of a Rust component has 3, as the example `fairness` counts them; a component
/// with several memories and stacks has more.
const MAPS: u64 = 16;
/// Mappings of the process itself: libraries, threads, allocator, compiled code.
const OTHER_MAPS: u64 = 4_000;
/// A client's connection, one to an upstream, and one to spare.
const DESCRIPTORS: u64 = 3;
/// Listeners, the database, files that are being read.
const OTHER_DESCRIPTORS: u64 = 128;
/// Resident memory of one running instance. An open stream of a Rust component has 132 KiB (the example `fairness`); a
/// plugin's `memory` limit is what it may grow to.
const RESIDENT: u64 = 1 << 20;
/// The host itself.
const OTHER_RESIDENT: u64 = 64 << 20;
/// Below this a pool is not worth its reservation: a turn of three plugins and a question takes four.
const SMALLEST_POOL: u64 = 8;

/// Limits that bear on the pool; `None` where there is none or it can't be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Bytes of address space that the process may still take.
    pub(crate) address_space: Option<u64>,
    /// `vm.max_map_count`.
    pub(crate) maps: Option<u64>,
    pub(crate) descriptors: Option<u64>,
    /// Bytes of memory, the control group's or the machine's.
    pub(crate) memory: Option<u64>,
}

/// What comes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Calls that may hold an instance at the same time, at least one.
    pub(crate) instances: u32,
    /// Whether a pool is reserved for them; otherwise each call maps memory of its own.
    pub(crate) pooled: bool,
    /// What there would have been too little of for the number that was wanted.
    pub(crate) scarce: Option<Scarce>,
}

/// A limit of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scarce {
    AddressSpace,
    Maps,
    Descriptors,
    Memory,
}

impl fmt::Display for Scarce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddressSpace => "address space (`ulimit -v`)",
            Self::Maps => "memory mappings (`vm.max_map_count`)",
            Self::Descriptors => "file descriptors (`ulimit -n`)",
            Self::Memory => "memory (the control group's limit, or the machine's)",
        })
    }
}

/// At most `wanted` instances, and no more than every limit has room for.
pub(crate) fn plan(machine: &Machine, wanted: u32) -> Plan {
    let space = machine.address_space.unwrap_or(ALL_ADDRESS_SPACE).min(ALL_ADDRESS_SPACE);
    // Half of it: threads, compiled code and the allocator reserve in large pieces too.
    let space = space / 2 / ADDRESS_SPACE;
    let others = [
        (Scarce::Maps, machine.maps.map(|maps| maps.saturating_sub(OTHER_MAPS) / MAPS)),
        (
            Scarce::Descriptors,
            machine.descriptors.map(|all| all.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS),
        ),
        // Half of it: the other half is for what plugins grow to, and for the page cache.
        (Scarce::Memory, machine.memory.map(|all| all.saturating_sub(OTHER_RESIDENT) / 2 / RESIDENT)),
    ];
    let limits = others.into_iter().filter_map(|(scarce, room)| Some((room?, scarce)));
    let tightest = limits.chain([(space, Scarce::AddressSpace)]).min_by_key(|(room, _)| *room);
    let room = tightest.map_or(u64::from(wanted), |(room, _)| room);
    let scarce = tightest.filter(|(room, _)| *room < u64::from(wanted)).map(|(_, scarce)| scarce);
    let instances = u32::try_from(room).unwrap_or(u32::MAX).min(wanted).max(1);
    Plan { instances, pooled: room >= SMALLEST_POOL, scarce }
}

impl Machine {
    /// Reads what there is; a limit that can't be read counts as none.
    pub(crate) fn read() -> Self {
        Self {
            address_space: getrlimit(Resource::As).current,
            maps: number(Path::new("/proc/sys/vm/max_map_count")),
            descriptors: getrlimit(Resource::Nofile).current,
            memory: [group_memory(), machine_memory()].into_iter().flatten().min(),
        }
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The tightest limit of the process's control group and of those above it.
fn group_memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    group_files(&groups).iter().filter_map(|file| number(file)).min()
}

/// Where the limits stand, in either version of control groups (Linux, `cgroups(7)`).
fn group_files(groups: &str) -> Vec<PathBuf> {
    let file = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            v1 if v1.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // In a container the group's own path may lead nowhere, and its limit stand at the root.
        let ancestors = Path::new(group.trim_start_matches('/')).ancestors();
        Some(ancestors.map(|group| Path::new(root).join(group).join(name)).collect::<Vec<_>>())
    };
    groups.lines().filter_map(file).flatten().collect()
}

fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const USUAL: Machine =
        Machine { address_space: None, maps: Some(65_530), descriptors: Some(20_000), memory: Some(8 * GIB) };

    #[test]
    fn the_tightest_limit_decides_and_is_named() {
        let pooled = |instances, scarce| Plan { instances, pooled: true, scarce };
        let on_demand = |instances, scarce| Plan { instances, pooled: false, scarce: Some(scarce) };
        for (machine, wanted, expected) in [
            (USUAL, 1000, pooled(1000, None)),
            (USUAL, 8, pooled(8, None)),
            (USUAL, 1, pooled(1, None)),
            (Machine::default(), 1000, pooled(1000, None)),
            (Machine::default(), 100_000, pooled(16_256, Some(Scarce::AddressSpace))),
            (USUAL, 100_000, pooled(3_845, Some(Scarce::Maps))),
            (Machine { descriptors: Some(1024), ..USUAL }, 1000, pooled(298, Some(Scarce::Descriptors))),
            (Machine { memory: Some(512 << 20), ..USUAL }, 1000, pooled(224, Some(Scarce::Memory))),
            (Machine { memory: Some(512 << 20), ..USUAL }, 200, pooled(200, None)),
            (
                Machine { address_space: Some(128 * GIB), ..USUAL },
                1000,
                pooled(15, Some(Scarce::AddressSpace)),
            ),
            (Machine { address_space: Some(16 * GIB), ..USUAL }, 1000, on_demand(1, Scarce::AddressSpace)),
            (Machine { maps: Some(1_000), ..USUAL }, 1000, on_demand(1, Scarce::Maps)),
            (Machine { descriptors: Some(140), ..USUAL }, 1000, on_demand(4, Scarce::Descriptors)),
            (Machine { memory: Some(0), ..USUAL }, 1000, on_demand(1, Scarce::Memory)),
        ] {
            assert_eq!(plan(&machine, wanted), expected, "{wanted} on {machine:?}");
        }
    }

    #[test]
    fn a_groups_limit_is_looked_for_in_the_group_and_above_it() {
        let files = |groups| {
            let files = group_files(groups);
            files.iter().map(|file| file.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            files("0::/a/b\n"),
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"]
        );
        assert_eq!(
            files("9:name=systemd:/\n4:memory:/a\n3:cpuset:/\n"),
            ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        assert!(files("nonsense\n\n").is_empty());
    }

    #[test]
    fn this_machine_has_room_for_a_call() {
        assert!(plan(&Machine::read(), 1000).instances >= 1);
    }
}
