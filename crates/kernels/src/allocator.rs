//! Keeping memory between steps.
//!
//! A training step asks for the same large blocks as the one before. An allocator that gives freed blocks back to the
//! system takes them again a moment later, a page fault a page; measured, that is a third of a step
//! (`PERFORMANCE.md`). The program uses mimalloc and tells it here to keep what it has.

use libmimalloc_sys::{mi_option_get, mi_option_set};

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
