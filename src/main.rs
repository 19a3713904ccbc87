//! `huiju`: see `huiju --help`.

use std::{ffi::c_char, process::ExitCode};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How the allocator begins; what MALLOC_CONF in the environment says comes after it, and wins.
///
/// Batches come and go by the megabyte, made by one thread and given back by another. One arena for all threads keeps
/// what is free in one place, where the next batch finds it; each thread has up to 256 KB of each size at hand, so they
/// do not wait for each other. What nobody has asked for within a second goes back to the kernel: at 300 ms a batch costs a
/// tenth more, for pages that the kernel clears again and again.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: Option<&'static c_char> = {
    let text = c"narenas:1,lg_tcache_max:18,dirty_decay_ms:1000";
    // SAFETY: the text is static and ends with a zero; the allocator only reads it.
    Some(unsafe { &*text.as_ptr() })
};

fn main() -> ExitCode {
    // With pages of 2 MB the kernel clears, and keeps, far more than batches need.
    // SAFETY: it takes numbers only. An older kernel refuses, which changes nothing.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    allow_descriptors();
    huiju::cli::main()
}

/// As many descriptors as we may ask for. What shells and systemd give at first (1,024) is meant for programs with
/// `select`, and what is open at once (files of partitions, brokers) can be more.
fn allow_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both take a limit that lives. A refusal changes nothing.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}
