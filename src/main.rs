//! `huiju`: see `huiju --help`.

use std::{
    ffi::{c_int, c_long},
    process::ExitCode,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// Of the allocator that is linked in anyway; its crate has no name for the option.
unsafe extern "C" {
    fn mi_option_get(option: c_int) -> c_long;
    fn mi_option_set(option: c_int, value: c_long);
}

/// `mi_option_purge_delay` of mimalloc 2: how many milliseconds freed memory is kept for the next that asks.
const PURGE_DELAY: c_int = 15;

fn main() -> ExitCode {
    // Batches come and go by the megabyte. With pages of 2 MB the kernel clears, and keeps, far more than they need.
    // A batch takes some 30 ms: what the last one gave back is what the next one wants, so it is kept a little longer
    // than that, which saves the kernel from giving every page again, cleared. Whoever sets MIMALLOC_PURGE_DELAY is obeyed.
    // SAFETY: all of them take numbers only. An older kernel refuses the first, which changes nothing.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
        if mi_option_get(PURGE_DELAY) == 10 {
            mi_option_set(PURGE_DELAY, 50);
        }
    }
    huiju::cli::main()
}
