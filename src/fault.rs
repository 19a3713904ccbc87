//! Named points at which a test may kill the process.
//!
//! `HUIJU_FAULT=kafka.after_produce:3` ends the process, as `kill -9` would, the third time that point is passed.
//! Release builds have no such points.

/// Passes the point `name`, or dies there.
#[inline(always)]
pub fn point(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::point(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };

    struct Fault {
        name: String,
        left: AtomicU64,
    }

    static FAULT: LazyLock<Option<Fault>> = LazyLock::new(|| {
        let text = std::env::var("HUIJU_FAULT").ok()?;
        let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
        Some(Fault { name: name.to_owned(), left: AtomicU64::new(times.parse().ok()?) })
    });

    pub fn point(name: &'static str) {
        let Some(fault) = &*FAULT else { return };
        if fault.name == name && fault.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // SAFETY: ends this process at once, without destructors or buffers: that is the point.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            loop {
                std::hint::spin_loop();
            }
        }
    }
}
