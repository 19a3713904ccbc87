//! What a child process costs.

use std::{
    fs, io, mem,
    process::Command,
    time::{Duration, Instant},
};

use crate::Result;

/// How often its memory is looked at.
const LOOK: Duration = Duration::from_millis(10);

pub struct Cost {
    pub user: f64,
    pub system: f64,
    pub wall: f64,
    /// Bytes.
    pub peak: u64,
}

impl Cost {
    pub fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// Runs it to its end. One that does not end well is an error.
pub fn run(mut command: Command) -> Result<Cost> {
    let begun = Instant::now();
    let child = command.spawn()?;
    let id = child.id();
    let mut peak = 0;
    loop {
        // Not `ru_maxrss`: a child inherits that from us.
        peak = peak_of(id).unwrap_or(peak).max(peak);
        let mut status = 0;
        // SAFETY: plain data, for which zeros are values.
        let mut usage: libc::rusage = unsafe { mem::zeroed() };
        // SAFETY: both pointers are to locals; the child is ours, and nobody else waits for it.
        match unsafe { libc::wait4(id as i32, &mut status, libc::WNOHANG, &mut usage) } {
            0 => std::thread::sleep(LOOK),
            ended if ended < 0 => return Err(io::Error::last_os_error().into()),
            _ if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 => {
                let wall = begun.elapsed().as_secs_f64();
                return Ok(Cost { user: seconds(usage.ru_utime), system: seconds(usage.ru_stime), wall, peak });
            }
            _ if libc::WIFEXITED(status) => return Err(format!("ended with {}", libc::WEXITSTATUS(status)).into()),
            _ => return Err(format!("was ended by signal {}", libc::WTERMSIG(status)).into()),
        }
    }
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

fn peak_of(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Keeps this thread, and what it starts from now on, on one of its cores; tells which they were.
pub fn stand_on_one_core() -> libc::cpu_set_t {
    // SAFETY: plain data, for which zeros are values.
    let mut all: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the set is a local, and its size is right. 0 is this thread.
    unsafe { libc::sched_getaffinity(0, mem::size_of_val(&all), &mut all) };
    // SAFETY: reads a set.
    if let Some(core) = (0..libc::CPU_SETSIZE as usize).find(|core| unsafe { libc::CPU_ISSET(*core, &all) }) {
        // SAFETY: as above; the core is within the set's size.
        let mut one: libc::cpu_set_t = unsafe { mem::zeroed() };
        unsafe { libc::CPU_SET(core, &mut one) };
        stand_on(&one);
    }
    all
}

pub fn stand_on(cores: &libc::cpu_set_t) {
    // SAFETY: the set outlives the call. When it is refused we stay where we are, which costs precision only.
    unsafe { libc::sched_setaffinity(0, mem::size_of_val(cores), cores) };
}
