//! `huiju`: see `huiju --help`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Batches come and go by the megabyte; with pages of 2 MB the kernel clears, and keeps, far more than they need.
    // SAFETY: takes numbers only. An older kernel refuses, which changes nothing.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    huiju::cli::main()
}
