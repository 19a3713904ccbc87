//! When a pipeline is well again, and what is told of it meanwhile.

use super::*;

/// Reading everything may take longer than that; a sink that then refuses it all is no better for it.
#[test]
fn a_bounded_run_that_carries_nothing_gives_up_however_long_it_reads() {
    let (long, short) = (RECOVERED + Duration::from_secs(10), Duration::from_secs(10));
    let gives_up = |bounded, rows, long| {
        let mut trouble = Trouble::default();
        let mut lasting = Duration::ZERO;
        (0..10).any(|_| {
            trouble.lived(long, bounded, rows);
            lasting = if trouble.since.is_some() { lasting + long } else { Duration::ZERO };
            trouble.since.get_or_insert_with(Instant::now);
            !trouble.may_pass(ErrorKind::Unavailable, bounded, lasting)
        })
    };
    assert!(gives_up(true, 0, long));
    assert!(!gives_up(true, 1, long), "it gets on");
    assert!(!gives_up(true, 1, short), "it gets on, with a failure now and then");
    assert!(gives_up(true, 0, short));
    assert!(!gives_up(false, 0, long), "it may have had nothing to do");
}

/// Its sinks may be waited for, and one of them may hang.
#[test]
fn a_pipeline_whose_line_has_failed_does_not_run() {
    let (pipeline, statuses, now) = (Arc::from("orders"), Statuses::default(), DateTime::UNIX_EPOCH);
    let state = |statuses: &Statuses| {
        let status = statuses.all().remove("orders").unwrap();
        (status.state, status.reason.unwrap_or_default())
    };
    statuses.set(&pipeline, State::Running, None, now);
    assert!(statuses.falter("orders", "the first".into(), now));
    assert_eq!(state(&statuses), (State::Waiting, "the first".into()));
    assert!(!statuses.falter("orders", "an echo of it".into(), now));
    assert_eq!(state(&statuses), (State::Waiting, "the first".into()));
    statuses.set(&pipeline, State::Stopped, None, now);
    assert!(!statuses.falter("orders", "too late".into(), now));
    assert_eq!(state(&statuses).0, State::Stopped);
}

#[test]
fn only_a_pipeline_that_runs_is_said_to_run() {
    let told = Told {
        pipeline: "orders".into(),
        statuses: Arc::default(),
        metrics: Metrics::new(),
        clock: Clock::system(),
        dead: Arc::default(),
    };
    let runs = || told.metrics.running.with_label_values(&["orders"]).get();
    for (state, running) in
        [(State::Waiting, 0), (State::Running, 1), (State::Finished, 0), (State::Running, 1), (State::Stopped, 0)]
    {
        told.set(state, None);
        assert_eq!(runs(), running, "{state:?}");
        assert_eq!(told.statuses.all()["orders"].state, state);
    }
    told.begun();
    assert_eq!(runs(), 1);
    told.falters(&Error::unavailable("disk full"));
    // Its source does not know yet.
    told.interrupt(Some(&Error::unavailable("away")));
    told.interrupt(None);
    told.begun();
    assert_eq!((runs(), told.statuses.all()["orders"].state), (0, State::Waiting));
}

#[test]
fn only_what_runs_is_said_to_lack_something_and_not_longer_than_it_does() {
    let (statuses, orders, now) = (Statuses::default(), "orders".into(), DateTime::UNIX_EPOCH);
    let reason = || statuses.all()["orders"].reason.clone();
    statuses.remark("orders", "disk full".to_owned());
    assert!(statuses.all().is_empty());
    for (state, told) in [(State::Waiting, "starting"), (State::Running, "disk full"), (State::Stopped, "starting")] {
        statuses.set(&orders, state, Some("starting".to_owned()), now);
        statuses.remark("orders", "disk full".to_owned());
        assert_eq!(reason().as_deref(), Some(told), "{state:?}");
    }
    statuses.set(&orders, State::Running, None, now);
    assert_eq!(reason(), None);
}

#[test]
fn what_a_pipeline_lacks_is_told_again_when_what_it_reads_from_answers() {
    let (statuses, orders, now) = (Statuses::default(), "orders".into(), DateTime::UNIX_EPOCH);
    let told = || (statuses.all()["orders"].state, statuses.all()["orders"].reason.clone().unwrap_or_default());
    statuses.set(&orders, State::Running, None, now);
    assert_eq!(statuses.interrupt("orders", Some("away".to_owned()), now), Some(false));
    assert_eq!(told(), (State::Waiting, "away".to_owned()));
    statuses.remark("orders", "disk full".to_owned());
    assert_eq!(told(), (State::Waiting, "away".to_owned()));
    assert_eq!(statuses.interrupt("orders", None, now), Some(true));
    assert_eq!(told(), (State::Running, "disk full".to_owned()));
    statuses.set(&orders, State::Stopped, None, now);
    assert_eq!(statuses.interrupt("orders", None, now), None);
    assert_eq!(told(), (State::Stopped, String::new()));
}

#[test]
fn a_sink_that_fails_again_at_once_is_left_behind_for_longer_each_time() {
    let second = Duration::from_secs(1);
    let mut pause = BEHIND[0];
    let pauses: Vec<u64> = std::iter::repeat_with(|| {
        pause = left_behind_next(pause, pause + second);
        pause.as_secs()
    })
    .take(10)
    .collect();
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(left_behind_next(pause, pause + RECOVERED + second), BEHIND[0]);
}
