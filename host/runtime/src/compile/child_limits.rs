//! What a compiling child may take of the machine.
//!
//! The threat: a component that was made to take minutes or gigabytes to compile. The policy: the child sets limits on its own
//! CPU time and address space before it reads anything, and never above those that the host was started with (`ulimit -t`,
//! `ulimit -v`): raising a limit is refused to ordinary users, and what an operator set counts. When the machine's memory is
//! short, the kernel ends the child before the host.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::process::ExitStatus;

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

/// Seconds of CPU time. A Python component of 40 MB takes about 60.
const CPU_SECONDS: u64 = 300;
/// Bytes of address space. Compiling the same component took 2 GiB.
const MAX_ADDRESS_SPACE: u64 = 6 << 30;
/// Time between the signal that can be told from others, and the one that ends the process in any case.
const CPU_GRACE_SECONDS: u64 = 5;

/// The limits of a child of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChildLimits {
    cpu_seconds: u64,
    address_space: u64,
}

impl ChildLimits {
    /// The limits for a child that is started now.
    pub(crate) fn of_this_process() -> Self {
        Self::within(getrlimit(Resource::Cpu), getrlimit(Resource::As))
    }

    fn within(cpu: Rlimit, address_space: Rlimit) -> Self {
        let lowest = |own: u64, found: Rlimit| {
            [found.current, found.maximum].into_iter().flatten().fold(own, u64::min)
        };
        Self {
            cpu_seconds: lowest(CPU_SECONDS, cpu),
            address_space: lowest(MAX_ADDRESS_SPACE, address_space),
        }
    }

    /// Applies the limits to this process, which is the child.
    ///
    /// # Errors
    /// The system refuses one of them.
    pub(crate) fn apply(self) -> io::Result<()> {
        let cpu = getrlimit(Resource::Cpu);
        let maximum = lower(self.cpu_seconds.saturating_add(CPU_GRACE_SECONDS), cpu.maximum);
        // At the maximum the signal is SIGKILL, which could also mean that memory ran out.
        let current = self.cpu_seconds.min(maximum.saturating_sub(1)).max(1);
        setrlimit(Resource::Cpu, Rlimit { current: Some(current), maximum: Some(maximum) })?;
        let space = Some(self.address_space);
        setrlimit(Resource::As, Rlimit { current: space, maximum: space })?;
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
        nice(10)?;
        // Where it is not possible (no /proc), the kernel chooses by size.
        let _ = fs::write("/proc/self/oom_score_adj", "1000");
        Ok(())
    }

    /// The limits that are lower than the compiler's own, for the log. `None` if there are none.
    pub(crate) fn lowered(self) -> Option<String> {
        let mut text = String::new();
        // Writing to a string cannot fail.
        if self.cpu_seconds < CPU_SECONDS {
            let _ = write!(text, "{} s of CPU time (`ulimit -t`)", self.cpu_seconds);
        }
        if self.address_space < MAX_ADDRESS_SPACE {
            let separator = if text.is_empty() { "" } else { " and " };
            let _ = write!(text, "{separator}{} bytes of address space (`ulimit -v`)", self.address_space);
        }
        (!text.is_empty()).then_some(text)
    }

    /// Why a child with these limits ended, as far as the way it ended tells.
    pub(crate) fn explain(self, end: ChildEnd) -> String {
        match end {
            ChildEnd::CpuTime => format!(
                "it took more than {} s of CPU time; the lower one of {CPU_SECONDS} s and `ulimit -t` is the limit",
                self.cpu_seconds
            ),
            ChildEnd::OutOfMemory => format!(
                "memory ran out; the compiler may take {} bytes of address space (`ulimit -v` can lower that), and the \
                 machine or the control group must have the memory",
                self.address_space
            ),
            ChildEnd::Other(status) => format!("the compiler ended with {status}"),
        }
    }
}

/// The way in which a child ended that gave no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChildEnd {
    CpuTime,
    /// Killed by the kernel for want of memory, or ended by itself because it was refused some.
    OutOfMemory,
    Other(ExitStatus),
}

impl ChildEnd {
    pub(crate) fn of(status: ExitStatus, error_text: &str) -> Self {
        use std::os::unix::process::ExitStatusExt;
        /// Signal numbers of Linux (`signal(7)`).
        const SIGABRT: i32 = 6;
        const SIGKILL: i32 = 9;
        const SIGXCPU: i32 = 24;
        let ran_out = ["memory allocation of", "Cannot allocate memory", "Resource temporarily unavailable"];
        match status.signal() {
            Some(SIGXCPU) => Self::CpuTime,
            // Rust aborts when an allocation fails. The host itself kills only children that it no longer waits for.
            Some(SIGABRT | SIGKILL) => Self::OutOfMemory,
            _ if ran_out.iter().any(|words| error_text.contains(words)) => Self::OutOfMemory,
            _ => Self::Other(status),
        }
    }
}

fn lower(own: u64, other: Option<u64>) -> u64 {
    other.map_or(own, |other| own.min(other))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn limit(current: Option<u64>, maximum: Option<u64>) -> Rlimit {
        Rlimit { current, maximum }
    }

    #[test]
    fn a_lower_limit_of_the_host_is_taken_and_named() {
        let none = limit(None, None);
        let own = ChildLimits::within(none, none);
        assert_eq!(own, ChildLimits { cpu_seconds: CPU_SECONDS, address_space: MAX_ADDRESS_SPACE });
        assert_eq!(own.lowered(), None);

        let lowered = ChildLimits::within(limit(Some(120), Some(120)), limit(Some(4_096_000_000), None));
        assert_eq!(lowered, ChildLimits { cpu_seconds: 120, address_space: 4_096_000_000 });
        assert_eq!(
            lowered.lowered().unwrap(),
            "120 s of CPU time (`ulimit -t`) and 4096000000 bytes of address space (`ulimit -v`)"
        );
        let soft = ChildLimits::within(limit(Some(100), Some(1000)), limit(Some(1 << 40), Some(1 << 41)));
        assert_eq!(soft, ChildLimits { cpu_seconds: 100, address_space: MAX_ADDRESS_SPACE });
    }

    #[test]
    fn a_child_without_memory_is_told_from_one_that_took_too_long_and_one_that_refused() {
        for (raw, text, expected) in [
            (24, "", ChildEnd::CpuTime),
            (9, "", ChildEnd::OutOfMemory),
            (6, "memory allocation of 12 bytes failed", ChildEnd::OutOfMemory),
            (256, "mmap failed: Cannot allocate memory (os error 12)", ChildEnd::OutOfMemory),
            (256, "unknown import", ChildEnd::Other(ExitStatus::from_raw(256))),
            (11, "", ChildEnd::Other(ExitStatus::from_raw(11))),
        ] {
            assert_eq!(ChildEnd::of(ExitStatus::from_raw(raw), text), expected, "{raw} {text}");
        }
    }
}
