//! How many instances this machine has room for.
//!
//! The pool is laid out at start. If it were larger than a limit of the machine, calls would fail under load, so the limits are
//! read first. The constants of this file state what is left for the rest of the process.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use super::address_space;
use super::config::MemoryReservation;

/// Address space of one pooled memory and its guard: wasmtime reserves it so that compiled code needs no bounds checks.
const MEMORY_ADDRESS_SPACE: u64 = (4 << 30) + (32 << 20);
/// The address space that x86-64 and AArch64 give a process.
const TOTAL_ADDRESS_SPACE: u64 = 1 << 47;
/// The same of an instance with a small reservation: a memory of a few megabytes, stacks and tables.
const SMALL_ADDRESS_SPACE: u64 = 64 << 20;
/// Mappings of one running instance: its memory (image, heap, rest of the reservation), its tables, and up to four stacks with
/// a guard each. An open stream of a Rust component has 3, as the example `fairness` counts them; a component with several
/// memories and stacks has more.
const MAPS_PER_INSTANCE: u64 = 16;
/// Mappings of the process itself: libraries, threads, allocator, compiled code.
const OTHER_MAPS: u64 = 4_000;
/// One for the client's connection, one for an upstream, and one to spare.
const DESCRIPTORS_PER_INSTANCE: u64 = 3;
/// Descriptors of listeners, the database and files that are being read.
const OTHER_DESCRIPTORS: u64 = 128;
/// Resident memory of one running instance. An open stream of a Rust component has 132 KiB (example `fairness`); an instance
/// may grow to the plugin's `memory` limit.
const RESIDENT_PER_INSTANCE: u64 = 1 << 20;
/// Resident memory of the host itself.
const OTHER_RESIDENT: u64 = 64 << 20;
/// A smaller pool is not worth its reservation: a turn of three plugins and a nested call takes four instances.
pub(crate) const MIN_POOLED_INSTANCES: u64 = 8;

/// The machine's limits on the pool. `None` means that there is no limit, or that it can't be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MachineLimits {
    /// Bytes of address space that the process may still take.
    pub(crate) address_space: Option<u64>,
    /// `vm.max_map_count`.
    pub(crate) maps: Option<u64>,
    /// Files that the process may have open.
    pub(crate) descriptors: Option<u64>,
    /// Bytes of memory: the control group's or the machine's, whichever is less.
    pub(crate) memory: Option<u64>,
}

/// How many instances there are, and where they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolPlan {
    /// Calls that may hold an instance at the same time, at least one.
    pub(crate) instances: u32,
    /// Whether a pool is reserved for them; otherwise each call maps memory of its own.
    pub(crate) pooled: bool,
    /// The address space of each memory.
    pub(crate) reservation: MemoryReservation,
    /// The resource that the wanted number of instances would have exhausted first.
    pub(crate) scarce: Option<ScarceResource>,
}

/// A resource that limits the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScarceResource {
    AddressSpace,
    Maps,
    Descriptors,
    Memory,
}

impl fmt::Display for ScarceResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddressSpace => "address space (`ulimit -v`, or what processor and kernel give)",
            Self::Maps => "memory mappings (`vm.max_map_count`)",
            Self::Descriptors => "file descriptors (`ulimit -n`)",
            Self::Memory => "memory (the control group's limit, or the machine's)",
        })
    }
}

/// Plans at most `wanted` instances, and no more than every limit has room for.
pub(crate) fn plan_pool(machine: &MachineLimits, wanted: u32) -> PoolPlan {
    let space = machine.address_space.unwrap_or(TOTAL_ADDRESS_SPACE).min(TOTAL_ADDRESS_SPACE);
    // The other half is for threads, compiled code and the allocator, which reserve large pieces too.
    let half = space / 2;
    // With too few full reservations a turn could not take the instances that it needs.
    let enough = MIN_POOLED_INSTANCES.min(wanted.into());
    let (reservation, space) = match half / MEMORY_ADDRESS_SPACE {
        full if full >= enough => (MemoryReservation::Full, full),
        _ => (MemoryReservation::Small, half / SMALL_ADDRESS_SPACE),
    };
    let others = [
        (ScarceResource::Maps, machine.maps.map(|maps| maps.saturating_sub(OTHER_MAPS) / MAPS_PER_INSTANCE)),
        (
            ScarceResource::Descriptors,
            machine.descriptors.map(|all| all.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS_PER_INSTANCE),
        ),
        // The other half is for growing plugins and the page cache.
        (
            ScarceResource::Memory,
            machine.memory.map(|all| all.saturating_sub(OTHER_RESIDENT) / 2 / RESIDENT_PER_INSTANCE),
        ),
    ];
    let limits = others.into_iter().filter_map(|(scarce, room)| Some((room?, scarce)));
    let tightest = limits.chain([(space, ScarceResource::AddressSpace)]).min_by_key(|(room, _)| *room);
    let room = tightest.map_or(u64::from(wanted), |(room, _)| room);
    let scarce = tightest.filter(|(room, _)| *room < u64::from(wanted)).map(|(_, scarce)| scarce);
    let instances = u32::try_from(room).unwrap_or(u32::MAX).min(wanted).max(1);
    let pooled = reservation == MemoryReservation::Full && room >= MIN_POOLED_INSTANCES;
    // The reservation is named also where there are small ones for all.
    let scarce = match reservation {
        MemoryReservation::Full => scarce,
        MemoryReservation::Small => scarce.or(Some(ScarceResource::AddressSpace)),
    };
    PoolPlan { instances, pooled, reservation, scarce }
}

impl MachineLimits {
    /// Reads the limits. One that can't be read counts as none. Address space is only measured as far as `wanted` instances
    /// need it.
    pub(crate) fn read(wanted: u32) -> Self {
        let space = u64::from(wanted).saturating_mul(2 * MEMORY_ADDRESS_SPACE).min(TOTAL_ADDRESS_SPACE / 2);
        Self {
            address_space: [getrlimit(Resource::As).current, address_space::measure(space)]
                .into_iter()
                .flatten()
                .min(),
            maps: read_number(Path::new("/proc/sys/vm/max_map_count")),
            descriptors: getrlimit(Resource::Nofile).current,
            memory: [cgroup_memory(), total_memory()].into_iter().flatten().min(),
        }
    }
}

/// The seconds of CPU time after which the kernel ends this process, if there is such a limit.
pub(crate) fn cpu_time_limit() -> Option<u64> {
    getrlimit(Resource::Cpu).current
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The tightest limit of the process's control group and of those above it.
fn cgroup_memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    cgroup_files(&groups).iter().filter_map(|file| read_number(file)).min()
}

/// The files that hold the limits, in either version of control groups (Linux, `cgroups(7)`).
fn cgroup_files(groups: &str) -> Vec<PathBuf> {
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
        // In a container the group's own path may not exist while its limit is found at the root.
        let ancestors = Path::new(group.trim_start_matches('/')).ancestors();
        Some(ancestors.map(|group| Path::new(root).join(group).join(name)).collect::<Vec<_>>())
    };
    groups.lines().filter_map(file).flatten().collect()
}

fn total_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const USUAL: MachineLimits = MachineLimits {
        address_space: None,
        maps: Some(65_530),
        descriptors: Some(20_000),
        memory: Some(8 * GIB),
    };

    #[test]
    fn the_tightest_limit_decides_and_is_named() {
        let full = MemoryReservation::Full;
        let pooled = |instances, scarce| PoolPlan { instances, pooled: true, reservation: full, scarce };
        let on_demand = |instances, scarce| PoolPlan {
            instances,
            pooled: false,
            reservation: full,
            scarce: Some(scarce),
        };
        let small = |instances, scarce| PoolPlan {
            reservation: MemoryReservation::Small,
            ..on_demand(instances, scarce)
        };
        for (machine, wanted, expected) in [
            (USUAL, 1000, pooled(1000, None)),
            (USUAL, 8, pooled(8, None)),
            (USUAL, 1, pooled(1, None)),
            (MachineLimits::default(), 1000, pooled(1000, None)),
            (MachineLimits::default(), 100_000, pooled(16_256, Some(ScarceResource::AddressSpace))),
            (USUAL, 100_000, pooled(3_845, Some(ScarceResource::Maps))),
            (
                MachineLimits { descriptors: Some(1024), ..USUAL },
                1000,
                pooled(298, Some(ScarceResource::Descriptors)),
            ),
            (
                MachineLimits { memory: Some(512 << 20), ..USUAL },
                1000,
                pooled(224, Some(ScarceResource::Memory)),
            ),
            (MachineLimits { memory: Some(512 << 20), ..USUAL }, 200, pooled(200, None)),
            (
                MachineLimits { address_space: Some(128 * GIB), ..USUAL },
                1000,
                pooled(15, Some(ScarceResource::AddressSpace)),
            ),
            (
                MachineLimits { address_space: Some(16 * GIB), ..USUAL },
                1000,
                small(128, ScarceResource::AddressSpace),
            ),
            // `ulimit -v 4000000`.
            (
                MachineLimits { address_space: Some(4_096_000_000), ..USUAL },
                1000,
                small(30, ScarceResource::AddressSpace),
            ),
            (
                MachineLimits { address_space: Some(4_096_000_000), ..USUAL },
                8,
                small(8, ScarceResource::AddressSpace),
            ),
            (
                MachineLimits { address_space: Some(1 << 20), ..USUAL },
                8,
                small(1, ScarceResource::AddressSpace),
            ),
            // 39 and 38 bits.
            (
                MachineLimits { address_space: Some(1 << 39), ..USUAL },
                1000,
                pooled(63, Some(ScarceResource::AddressSpace)),
            ),
            (
                MachineLimits { address_space: Some(1 << 38), ..USUAL },
                1000,
                pooled(31, Some(ScarceResource::AddressSpace)),
            ),
            (MachineLimits { maps: Some(1_000), ..USUAL }, 1000, on_demand(1, ScarceResource::Maps)),
            (
                MachineLimits { descriptors: Some(140), ..USUAL },
                1000,
                on_demand(4, ScarceResource::Descriptors),
            ),
            (MachineLimits { memory: Some(0), ..USUAL }, 1000, on_demand(1, ScarceResource::Memory)),
        ] {
            assert_eq!(plan_pool(&machine, wanted), expected, "{wanted} on {machine:?}");
        }
    }

    #[test]
    fn the_memory_limit_is_read_from_the_control_group_and_those_above_it() {
        let files = |groups| {
            let files = cgroup_files(groups);
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
    fn the_test_machine_has_room_for_a_call() {
        assert!(plan_pool(&MachineLimits::read(1000), 1000).instances >= 1);
    }
}
