//! What stays behind of partitions that come and go: in the sinks, and in dedup.

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};

use super::*;
use crate::{clock::Clock, config};

#[test]
fn what_was_let_go_is_not_taken_any_more() {
    let permit = Permit::default();
    let (only, told) = place("kafka", &[0], &permit);
    let mut line = line(vec![only], PATIENCE);
    line.take_over(&[partition()]).unwrap();
    line.hand_out(outcome(0, 1)).unwrap();
    line.let_go(&[partition()]).unwrap();
    assert_eq!(intervals(&told.committed), [(0, 1)]);
    assert_eq!(*told.released.lock().unwrap(), [partition()]);
    line.hand_out(outcome(1, 2)).unwrap();
    let error = line.let_go(&[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Bug);
    assert!(error.to_string().contains("not assigned"), "{error}");
    assert_eq!(intervals(&told.committed), [(0, 1)]);
}

/// A row of the archive, as dedup learns it.
fn archived() -> RecordBatch {
    let columns: [(&str, ArrayRef); 6] = [
        ("id", Arc::new(StringArray::from(vec!["a"]))),
        ("_topic", Arc::new(StringArray::from(vec!["orders"]))),
        ("_partition", Arc::new(Int32Array::from(vec![0]))),
        ("_offset", Arc::new(Int64Array::from(vec![3]))),
        ("_row", Arc::new(Int32Array::from(vec![0]))),
        ("_ingested_at", Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC"))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// What is read again is judged by what stands before it: below the smallest cursor, whosever that is.
#[test]
fn dedup_learns_below_the_smallest_cursor_and_forgets_with_the_partition() {
    let permit = Permit::default();
    let ((kafka, _), (archive, _)) = (place("kafka", &[30], &permit), place("archive", &[10, 20], &permit));
    let mut line = line(vec![kafka, archive], PATIENCE);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = asked.clone();
    let keys: Keys = Box::new(move |before, _, each| {
        told.lock().unwrap().extend_from_slice(before);
        each(&archived())
    });
    let within = Duration::from_secs(60);
    let config = config::Dedup { key: vec!["id".into()], within, per_partition: false, max_keys: 10 };
    line.dedup = Some((Dedup::new(&config, Clock::system()), keys));
    line.take_over(&[partition()]).unwrap();
    assert_eq!(*asked.lock().unwrap(), [(partition(), 10)]);
    let keys = line.metrics.dedup_keys.with_label_values(&["test"]);
    assert_eq!(keys.get(), 1);
    line.let_go(&[partition()]).unwrap();
    assert_eq!(keys.get(), 0);
}
