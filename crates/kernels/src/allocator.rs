//! Keeping memory between steps.
//!
//! A training step asks for the same large blocks as the one before. An allocator that gives freed blocks back to the
//! system takes them again a moment later, a page fault a page; measured, that is a third of a step
//! (`PERFORMANCE.md`). The program uses mimalloc and tells it here to keep what it has.

use libmimalloc_sys::{mi_option_get, mi_option_set, mi_process_info};

/// `mi_option_purge_delay` of mimalloc's `mi_option_e`, the same in its versions 2 and 3; the crate does not name it.
const PURGE_DELAY: i32 = 15;

/// Keeps freed blocks with this process instead of giving them back to the system. It has an effect where mimalloc is
/// the global allocator; a delay that the user set with `MIMALLOC_PURGE_DELAY` stands.
pub fn keep_freed_memory() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: the option exists in the linked mimalloc and may be set at any time; -1 turns purging off.
        unsafe { mi_option_set(PURGE_DELAY, -1) };
    }
}

/// Milliseconds after which mimalloc gives freed memory back; −1 for never.
pub fn purge_delay() -> std::ffi::c_long {
    // SAFETY: reads an option that exists in the linked mimalloc.
    unsafe { mi_option_get(PURGE_DELAY) }
}

/// Memory of this process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Most that was resident at one time since the process began.
    pub peak_resident: u64,
    /// What the allocator has taken from the system so far; 0 where it is not mimalloc.
    pub taken: u64,
}

/// What the process uses now.
pub fn memory() -> Memory {
    let (mut elapsed, mut user, mut system, mut resident) = (0, 0, 0, 0);
    let (mut peak_resident, mut committed, mut peak_committed, mut faults) = (0, 0, 0, 0);
    // SAFETY: writes to the eight numbers that it is given.
    unsafe {
        mi_process_info(
            &raw mut elapsed,
            &raw mut user,
            &raw mut system,
            &raw mut resident,
            &raw mut peak_resident,
            &raw mut committed,
            &raw mut peak_committed,
            &raw mut faults,
        );
    }
    Memory { peak_resident: peak_resident as u64, taken: peak_committed as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_that_is_meant() {
        if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
            // Its default, and no other option's: a change of the enumeration shows here.
            assert!(purge_delay() > 1, "the purge delay was {}", purge_delay());
            keep_freed_memory();
            assert_eq!(purge_delay(), -1);
        }
    }
}
