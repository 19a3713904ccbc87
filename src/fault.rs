//! Named points at which a test may kill the process, hold it up, or make it panic.
//!
//! `HUIJU_FAULT=kafka.after_produce:3` ends the process, as `kill -9` would, the third time that point is passed.
//! `HUIJU_FAULT=kafka.after_produce:3:1500` lets the thread stand still there for 1500 ms, and says so in the log, so that
//! something can be done to the process in the middle of it. `HUIJU_FAULT=kafka.after_produce:3:panic` makes the thread
//! panic there, with words that could be of the data. Release builds have no such points.

/// Passes the point `name`, dies there, stands still, or panics.
#[inline(always)]
pub fn point(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::point(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::{
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    struct Fault {
        name: String,
        left: AtomicU64,
        what: What,
    }

    enum What {
        Die,
        StandStill(Duration),
        Panic,
    }

    static FAULT: LazyLock<Option<Fault>> = LazyLock::new(|| {
        let text = std::env::var("HUIJU_FAULT").ok()?;
        let mut parts = text.split(':');
        let name = parts.next()?.to_owned();
        let left = AtomicU64::new(parts.next().unwrap_or("1").parse().ok()?);
        let what = match parts.next() {
            None => What::Die,
            Some("panic") => What::Panic,
            Some(hold) => What::StandStill(Duration::from_millis(hold.parse().ok()?)),
        };
        Some(Fault { name, left, what })
    });

    pub fn point(name: &'static str) {
        let Some(fault) = &*FAULT else { return };
        if fault.name == name && fault.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            match fault.what {
                What::Die => {}
                What::StandStill(hold) => {
                    tracing::warn!("standing still at {name}");
                    return std::thread::sleep(hold);
                }
                What::Panic => panic!("{name}: 欧阳建国 13870012345"),
            }
            // SAFETY: ends this process at once, without destructors or buffers: that is the point.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            loop {
                std::hint::spin_loop();
            }
        }
    }
}
