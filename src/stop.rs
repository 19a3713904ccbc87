//! The stop signal, handed to everything that waits.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often a wait looks whether the parent was asked.
const LOOK: Duration = Duration::from_millis(50);

/// Asks everyone who holds a clone or a child to finish what is in flight and return.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    own: Arc<(Mutex<bool>, Condvar)>,
    parent: Option<Arc<Stop>>,
}

impl Stop {
    pub fn new() -> Stop {
        Stop::default()
    }

    /// A signal that is asked when this one is, and can be asked alone.
    pub fn child(&self) -> Stop {
        Stop { own: Arc::default(), parent: Some(Arc::new(self.clone())) }
    }

    pub fn ask(&self) {
        *self.own.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.own.1.notify_all();
    }

    pub fn asked(&self) -> bool {
        *self.own.0.lock().unwrap_or_else(PoisonError::into_inner)
            || self.parent.as_ref().is_some_and(|parent| parent.asked())
    }

    /// Whether it was asked from above, and not this child alone: then nobody comes back.
    pub fn for_good(&self) -> bool {
        self.parent.as_ref().map_or_else(|| self.asked(), |parent| parent.asked())
    }

    /// Waits for `patience` or until asked to stop; tells whether asked.
    pub fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            if self.asked() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let asked = self.own.0.lock().unwrap_or_else(PoisonError::into_inner);
            let slice = if self.parent.is_some() { left.min(LOOK) } else { left };
            drop(self.own.1.wait_timeout_while(asked, slice, |asked| !*asked));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_is_asked_alone_comes_back() {
        let above = Stop::new();
        let child = above.child();
        child.ask();
        assert!(child.asked() && !child.for_good() && !above.asked());
        above.ask();
        assert!(child.for_good() && above.for_good());
    }
}
