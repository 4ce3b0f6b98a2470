//! How much address space the process can still reserve.
//!
//! It depends on the processor and the kernel's configuration (47 bits are usual, 39 and 38 exist), on `ulimit -v`, and on what
//! is mapped already. No interface names it, so it is measured: a reservation without access takes no memory, and the kernel
//! grants or refuses it at once.

use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Steps between a size that was granted and the double of it that was refused.
const REFINEMENTS: u32 = 4;

/// The largest reservation, up to `wanted` bytes, to within a sixteenth. `None` if the process can have all of it.
pub(crate) fn measure(wanted: u64) -> Option<u64> {
    largest(wanted, can_reserve)
}

fn largest(wanted: u64, can_reserve: impl Fn(u64) -> bool) -> Option<u64> {
    if can_reserve(wanted) {
        return None;
    }
    let (mut granted, mut refused) = (wanted / 2, wanted);
    while granted > 0 && !can_reserve(granted) {
        refused = granted;
        granted /= 2;
    }
    for _ in 0..REFINEMENTS {
        let middle = granted + (refused - granted) / 2;
        if can_reserve(middle) { granted = middle } else { refused = middle }
    }
    Some(granted)
}

#[allow(unsafe_code, reason = "mapping memory is unsafe")]
fn can_reserve(bytes: u64) -> bool {
    let Ok(bytes) = usize::try_from(bytes) else { return false };
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: the kernel chooses an address where nothing is mapped, and nothing can access the mapping.
    let Ok(address) = (unsafe { mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::empty(), flags) }) else {
        return false;
    };
    // SAFETY: it is the mapping that was just made, whole, and nothing refers to it.
    unsafe { munmap(address, bytes) }.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_reservation_is_measured_to_within_a_sixteenth() {
        for limit in [1_u64 << 38, 3 << 37, (1 << 39) - 1, 5_000_000_000] {
            let measured = largest(1 << 43, |bytes| bytes <= limit).unwrap();
            assert!(measured <= limit && measured >= limit - limit / 8, "{measured} of {limit}");
        }
        assert_eq!(largest(1 << 43, |_| true), None);
        assert_eq!(largest(1 << 43, |_| false).map(|measured| measured < 16), Some(true));
    }

    #[test]
    fn this_process_can_reserve_a_little_and_not_more_than_there_are_addresses() {
        assert_eq!(measure(1 << 20), None);
        assert!(measure(1 << 62).is_some_and(|bytes| bytes > 1 << 20));
    }
}
