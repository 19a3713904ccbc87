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

/// Runs them side by side to their ends: what they cost together. One that does not end well is an error.
pub fn run(commands: Vec<Command>) -> Result<Cost> {
    let begun = Instant::now();
    let mut running = Vec::new();
    let mut whole = Cost { user: 0.0, system: 0.0, wall: 0.0, peak: 0 };
    for mut command in commands {
        running.push(Running(Some(command.spawn()?.id()), 0));
    }
    while running.iter().any(|process| process.0.is_some()) {
        std::thread::sleep(LOOK);
        for Running(process, peak) in &mut running {
            let Some(id) = *process else { continue };
            // Not `ru_maxrss`: a child inherits that from us.
            *peak = peak_of(id).unwrap_or(*peak).max(*peak);
            let mut status = 0;
            // SAFETY: plain data, for which zeros are values.
            let mut usage: libc::rusage = unsafe { mem::zeroed() };
            // SAFETY: both pointers are to locals; the child is ours, and nobody else waits for it.
            match unsafe { libc::wait4(id as i32, &mut status, libc::WNOHANG, &mut usage) } {
                0 => continue,
                ended if ended < 0 => return Err(io::Error::last_os_error().into()),
                _ => *process = None,
            }
            if !libc::WIFEXITED(status) {
                return Err(format!("was ended by signal {}", libc::WTERMSIG(status)).into());
            }
            if libc::WEXITSTATUS(status) != 0 {
                return Err(format!("ended with {}", libc::WEXITSTATUS(status)).into());
            }
            whole.user += seconds(usage.ru_utime);
            whole.system += seconds(usage.ru_stime);
        }
    }
    whole.wall = begun.elapsed().as_secs_f64();
    whole.peak = running.iter().map(|process| process.1).sum();
    Ok(whole)
}

/// A process that has not been waited for, and the most memory it was seen with.
struct Running(Option<u32>, u64);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            // SAFETY: takes numbers; the child has not been waited for, so the number is still its own.
            unsafe { libc::kill(id as i32, libc::SIGKILL) };
        }
    }
}

/// CPU seconds a process has used so far.
pub fn used(id: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // Behind the name, which may hold anything: state is field 3, user and system time are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = fields.get(11..13).ok_or("/proc: no times")?.iter().map(|field| field.parse::<u64>());
    let ticks: u64 = ticks.sum::<std::result::Result<u64, _>>()?;
    // SAFETY: takes a number.
    Ok(ticks as f64 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64)
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

pub fn peak_of(id: u32) -> Option<u64> {
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
