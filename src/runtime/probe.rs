//! Whether a sink that was left behind could be opened now.
//!
//! Why a thread of its own asks: what was too slow for the line, or hung, may be so again when it is asked, and the line
//! must neither wait for it nor leave partitions waiting that the group wants back.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, TryRecvError},
    },
    thread,
};

use crate::error::{Context, Error, Result};

type Attempt = Box<dyn FnMut() -> Result<()> + Send>;

/// Asks one thing, again and again, never twice at once.
pub struct Probe {
    attempt: Arc<Mutex<Attempt>>,
    answer: Option<Receiver<Result<()>>>,
}

impl Probe {
    pub fn new(attempt: impl FnMut() -> Result<()> + Send + 'static) -> Probe {
        Probe { attempt: Arc::new(Mutex::new(Box::new(attempt))), answer: None }
    }

    /// Begins to ask; `None` until there is an answer.
    pub fn look(&mut self) -> Option<Result<()>> {
        let Some(answer) = &self.answer else {
            return self.ask().err().map(Err);
        };
        let answered = match answer.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(Error::bug("asking whether a sink can be opened panicked")),
            Ok(answered) => answered,
        };
        self.answer = None;
        Some(answered)
    }

    fn ask(&mut self) -> Result<()> {
        let (tell, answer) = mpsc::sync_channel(1);
        let attempt = self.attempt.clone();
        let body = move || {
            let mut attempt = attempt.lock().unwrap_or_else(PoisonError::into_inner);
            // A panic has been said by the hook, and is an answer that never comes.
            let Ok(answered) = catch_unwind(AssertUnwindSafe(&mut *attempt)) else { return };
            // The line may have gone meanwhile.
            let _ = tell.send(answered);
        };
        thread::Builder::new().name("probe".into()).spawn(body).or_unavailable("start a thread")?;
        self.answer = Some(answer);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn answered(probe: &mut Probe) -> Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(answer) = probe.look() {
                return answer;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "no answer");
            thread::yield_now();
        }
    }

    #[test]
    fn it_is_asked_again_and_again_and_a_panic_is_an_answer() {
        let mut answers = vec![Ok(()), Err(Error::unavailable("disk full"))].into_iter();
        let mut probe = Probe::new(move || answers.next().expect("asked twice"));
        assert!(answered(&mut probe).is_ok());
        assert_eq!(answered(&mut probe).unwrap_err().to_string(), "disk full");
        let panicked = answered(&mut probe).unwrap_err();
        assert_eq!(panicked.kind, crate::error::ErrorKind::Bug);
    }

    #[test]
    fn one_that_hangs_is_not_waited_for_and_not_asked_twice() {
        let (release, hangs) = mpsc::channel::<()>();
        let mut asked = 0;
        let mut probe = Probe::new(move || {
            asked += 1;
            assert_eq!(asked, 1);
            let _ = hangs.recv();
            Ok(())
        });
        let begun = Instant::now();
        assert!((0..100).all(|_| probe.look().is_none()));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        release.send(()).unwrap();
        assert!(answered(&mut probe).is_ok());
    }
}
