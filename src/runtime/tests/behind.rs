//! A sink that fails or hangs is left behind, and comes back.

use super::*;

#[test]
fn t23_a_sink_that_fails_pins_its_own_cursor_and_comes_back() {
    let permit = Permit::default();
    let ((well, well_told), (ill, ill_told)) = (place("kafka", &[0], &permit), place("archive", &[0], &permit));
    let mut line = line(vec![well, ill], PATIENCE);
    line.take_over(&[partition()]).unwrap();
    line.statuses.set(&"test".into(), State::Running, None, chrono::DateTime::UNIX_EPOCH);
    ill_told.broken.store(true, Ordering::SeqCst);
    for number in 0..20 {
        line.hand_out(outcome(number, number + 1)).unwrap();
        assert!(!line.look_after_sinks().unwrap());
    }
    line.let_go(&[]).unwrap();
    let status = line.statuses.all()["test"].clone();
    assert_eq!(status.state, State::Running, "it is, with what it has");
    assert_eq!(status.reason.as_deref(), Some("the archive sink is left behind: disk full"));
    assert_eq!(intervals(&well_told.committed).last().unwrap().1, 20, "the others go on");
    assert!(intervals(&ill_told.committed).is_empty(), "what was not taken is not acknowledged");
    assert!(line.take_over(&[partition()]).is_err(), "new partitions need every sink");
    ill_told.broken.store(false, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !line.look_after_sinks().unwrap() {
        assert!(Instant::now() < deadline, "it never came back");
    }
}

/// Who builds the line anew waits for what the sink has in hand, and the others with it.
#[test]
fn a_sink_that_still_hangs_does_not_come_back() {
    let permit = Permit::default();
    let ((well, well_told), (ill, ill_told)) = (place("kafka", &[0], &permit), place("archive", &[0], &permit));
    let mut line = line(vec![well, ill], Duration::from_secs(4));
    let _released = Released(ill_told.clone());
    line.take_over(&[partition()]).unwrap();
    ill_told.stuck.store(true, Ordering::SeqCst);
    for number in 0..20 {
        line.hand_out(outcome(number, number + 1)).unwrap();
        well_told.has_written(number);
    }
    assert!(line.outlets[1].behind.is_some(), "nobody noticed");
    // Time enough for whoever asks whether it could be opened: it could.
    for _ in 0..100 {
        assert!(!line.look_after_sinks().unwrap());
        std::thread::park_timeout(Duration::from_millis(1));
    }
    ill_told.stuck.store(false, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !line.look_after_sinks().unwrap() {
        assert!(Instant::now() < deadline, "it never came back");
    }
}

#[test]
fn the_only_sink_is_not_left_behind() {
    let permit = Permit::default();
    let (only, told) = place("archive", &[0], &permit);
    let mut line = line(vec![only], PATIENCE);
    line.take_over(&[partition()]).unwrap();
    told.broken.store(true, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(20);
    let error = loop {
        match line.hand_out(outcome(0, 1)).and_then(|()| line.look_after_sinks()) {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < deadline, "nobody noticed"),
        }
    };
    assert_eq!(error.kind, ErrorKind::Unavailable);
}

/// T22 in small: a sink that takes nothing holds the others up for the patience, not longer.
#[test]
fn t22_a_sink_that_is_stuck_delays_the_others_by_the_patience_at_most() {
    let permit = Permit::default();
    let ((well, well_told), (ill, ill_told)) = (place("kafka", &[0], &permit), place("archive", &[0], &permit));
    // Large against what a busy machine may add.
    let patience = Duration::from_secs(4);
    let mut line = line(vec![well, ill], patience);
    let _released = Released(ill_told.clone());
    line.take_over(&[partition()]).unwrap();
    ill_told.stuck.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    for number in 0..20 {
        line.hand_out(outcome(number, number + 1)).unwrap();
        assert!(begun.elapsed() < 2 * patience, "batch {number} was handed out after {:?}", begun.elapsed());
        well_told.has_written(number);
    }
    assert!(begun.elapsed() >= patience, "it was left behind after {:?}", begun.elapsed());
    line.let_go(&[]).unwrap();
    assert_eq!(intervals(&well_told.committed).last().unwrap().1, 20);
}
