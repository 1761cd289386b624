//! The process's memory comes from mimalloc.
//!
//! The crate `mimalloc` asks for every block with its alignment spelled out, for which mimalloc goes a longer way
//! than for one that is aligned as all its blocks are: about a thousand instructions of each forwarded request.
//!
//! Its feature `no_thp` keeps the process from having huge pages: they doubled its memory at rest, made nothing faster
//! that could be measured, and would turn the few pages that a plugin instance dirties into a few megabytes.

use std::{
    alloc::{GlobalAlloc, Layout},
    ffi::c_long,
};

use libmimalloc_sys::{
    mi_collect, mi_free, mi_malloc, mi_malloc_aligned, mi_option_set, mi_option_t, mi_realloc, mi_realloc_aligned,
    mi_zalloc, mi_zalloc_aligned,
};

/// Every block of at least this size is aligned to this (`MI_MAX_ALIGN_SIZE` in mimalloc's types.h).
const ALIGNED: usize = 16;

/// mimalloc, which suits workers that share nothing: each thread allocates from pages of its own.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Gives back to the system what this thread has freed. Each thread keeps that for itself otherwise, which is what
/// makes a worker fast; but a thread that has read a large configuration may not need as much for days.
pub(crate) fn give_back() {
    // SAFETY: it may be called at any time.
    unsafe { mi_collect(true) };
}

/// `mi_option_purge_delay`, for which the crate has no name: how long free pages are kept, in milliseconds.
const PURGE_DELAY: mi_option_t = 15;
const USUAL_DELAY: c_long = 1000;

/// While it lives, memory that is not used any more goes back to the system at once. Loading frees as much as it keeps,
/// in threads that may have nothing more to do, where nobody would come by to see that a delay has passed.
pub(crate) struct Frugal(());

impl Frugal {
    pub(crate) fn begin() -> Self {
        // SAFETY: an option may be set at any time.
        unsafe { mi_option_set(PURGE_DELAY, 0) };
        Self(())
    }
}

impl Drop for Frugal {
    fn drop(&mut self) {
        give_back();
        // SAFETY: as above.
        unsafe { mi_option_set(PURGE_DELAY, USUAL_DELAY) };
    }
}

/// Whether a block of this layout is aligned well enough without asking: mimalloc aligns a small one to its size,
/// rounded down to a power of two, and a larger one to `ALIGNED`.
const fn is_aligned_anyway(layout: Layout) -> bool {
    layout.align() <= ALIGNED && layout.align() <= layout.size()
}

// SAFETY: the functions of mimalloc keep the contract of `malloc` and `aligned_alloc`, and its `free` and `realloc`
// take blocks of either.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_aligned_anyway(layout) {
            // SAFETY: any size may be asked for.
            return unsafe { mi_malloc(layout.size()) }.cast();
        }
        // SAFETY: a layout's alignment is a power of two.
        unsafe { mi_malloc_aligned(layout.size(), layout.align()) }.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_aligned_anyway(layout) {
            // SAFETY: as above.
            return unsafe { mi_zalloc(layout.size()) }.cast();
        }
        // SAFETY: as above.
        unsafe { mi_zalloc_aligned(layout.size(), layout.align()) }.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller got the block from here.
        unsafe { mi_free(block.cast()) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= ALIGNED && layout.align() <= size {
            // SAFETY: the caller got the block from here.
            return unsafe { mi_realloc(block.cast(), size) }.cast();
        }
        // SAFETY: as above, and a layout's alignment is a power of two.
        unsafe { mi_realloc_aligned(block.cast(), size, layout.align()) }.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_aligned_as_asked_also_when_it_has_grown() {
        for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
            for size in [1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 40, 48, 56, 100, 1000, 1024, 1025, 5000, 100_000] {
                let layout = Layout::from_size_align(size, align).expect("a layout");
                let larger = Layout::from_size_align(size * 3, align).expect("a layout");
                // SAFETY: the sizes are not zero, and each block is given back with its last layout.
                unsafe {
                    let block = Allocator.alloc(layout);
                    assert_eq!(block.addr() % align, 0, "{layout:?}");
                    let block = Allocator.realloc(block, layout, larger.size());
                    assert_eq!(block.addr() % align, 0, "{layout:?}, grown");
                    Allocator.dealloc(block, larger);
                    let block = Allocator.alloc_zeroed(layout);
                    assert_eq!(block.addr() % align, 0, "{layout:?}, zeroed");
                    assert!(std::slice::from_raw_parts(block, size).iter().all(|&byte| byte == 0));
                    Allocator.dealloc(block, layout);
                }
            }
        }
    }
}
