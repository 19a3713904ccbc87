//! Processes that a test starts. None outlives the tests, not even when the test process is killed.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus},
    sync::{Mutex, OnceLock, mpsc},
    time::Duration,
};

/// A running process; dropping it kills it.
pub struct Process {
    child: Child,
    /// Becomes readable when the process ends, so that waiting for that can have a limit.
    pidfd: OwnedFd,
}

impl Process {
    pub fn spawn(command: Command) -> io::Result<Process> {
        let child = spawn_from_a_thread_that_stays(command)?;
        // SAFETY: opens a descriptor for a child that has not been waited for; nobody else owns it.
        let pidfd = unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, child.id(), 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd as i32)
        };
        Ok(Process { child, pidfd })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, for instance [`libc::SIGTERM`], `SIGSTOP` or `SIGCONT`.
    pub fn signal(&mut self, signal: i32) {
        // A child that has been waited for has no number any more; a zombie takes signals in silence.
        if let Ok(None) = self.child.try_wait() {
            // SAFETY: the child runs or is a zombie of ours, so the number is still its own.
            unsafe { libc::kill(self.child.id() as i32, signal) };
        }
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) -> ExitStatus {
        self.signal(libc::SIGKILL);
        self.child.wait().expect("a child can be waited for")
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended, or none when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut poll = libc::pollfd { fd: self.pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one descriptor, which we own.
        unsafe { libc::poll(&mut poll, 1, millis) };
        self.child.try_wait().expect("a child can be waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// The kernel kills a child with `PR_SET_PDEATHSIG` when the *thread* that started it ends, and every test has its own
/// thread; so one thread that stays starts them all.
fn spawn_from_a_thread_that_stays(mut command: Command) -> io::Result<Child> {
    static JOBS: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    let parent = std::process::id() as i32;
    // SAFETY: between fork and exec only calls that are allowed there.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // Whoever runs the tests under nohup does not mean the programs in them.
            libc::signal(libc::SIGHUP, libc::SIG_DFL);
            // The parent may have gone before the line above.
            if libc::getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
    let jobs = JOBS.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in jobs {
                // Nobody waits for the answer of a test that has ended.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (sender, answer) = mpsc::channel();
    jobs.lock().unwrap().send((command, sender)).expect("the thread stays");
    answer.recv().expect("the thread stays")
}
