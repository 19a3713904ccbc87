use arrow::datatypes::Schema;

use super::*;
use crate::error::ErrorKind;

#[test]
fn what_is_split_off_has_what_belongs_to_it() {
    let cover = |topic: &str, from, next| Interval { partition: Partition::new(topic, 0), from, next };
    let mut all = Fetched {
        covers: vec![cover("a", 0, 10), cover("b", 5, 9), cover("c", 7, 8), cover("d", 1, 4)],
        gaps: vec![
            Gap { lost: cover("a", 2, 3), code: "x", timestamp: None },
            Gap { lost: cover("a", 8, 9), code: "x", timestamp: None },
        ],
        held: Some(Budget::new(100).hold(6)),
        ..Fetched::default()
    };
    for (cover, offset) in [(0, 1), (1, 6), (0, 5), (3, 2), (1, 8)] {
        let payload = Some(all.store(format!("{cover}.{offset}").as_bytes()));
        all.messages.push(Message { cover, offset, timestamp: None, key: None, payload });
    }
    let rest = all.split_off(2);
    let told = |fetched: &Fetched| {
        let of = |message: &Message| {
            let text = std::str::from_utf8(fetched.payload(message).unwrap()).unwrap();
            format!("{} {text}", fetched.partition(message).topic)
        };
        let covers: Vec<String> =
            fetched.covers.iter().map(|it| format!("{} {}..{}", it.partition.topic, it.from, it.next)).collect();
        let gaps: Vec<i64> = fetched.gaps.iter().map(|gap| gap.lost.from).collect();
        (covers.join(", "), fetched.messages.iter().map(of).collect::<Vec<_>>().join(", "), gaps)
    };
    assert_eq!(told(&all), ("a 0..5, b 5..8, c 7..8".into(), "a 0.1, b 1.6".into(), vec![2]));
    assert_eq!(told(&rest), ("a 5..10, b 8..9, d 1..4".into(), "a 0.5, d 3.2, b 1.8".into(), vec![8]));
    assert_eq!(all.held.unwrap().bytes() + rest.held.unwrap().bytes(), 6);
}

#[test]
fn what_is_there_already_is_held_whether_or_not_there_is_room() {
    let budget = Budget::new(10);
    let mut held = budget.hold(6);
    held.at_least(5);
    assert_eq!(budget.used(), 6);
    held.at_least(50);
    assert_eq!((budget.used(), held.bytes()), (50, 50));
    drop(held);
    assert_eq!(budget.used(), 0);
}

/// Rows without columns, of which the first so many go on.
fn checked(rows: usize, alive: usize, duplicates: u64, input: u64) -> Checked {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let origin = |at: usize| Origin { cover: 0, row: 0, offset: at as i64, timestamp: None };
    Checked {
        source: "nanchang".into(),
        covers: Vec::new(),
        rows: RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).unwrap(),
        origins: (0..rows).map(origin).collect(),
        alive: (0..rows).map(|at| at < alive).collect(),
        duplicates,
        rejects: Vec::new(),
        input,
        flagged: None,
        flags: BTreeMap::new(),
        held: None,
    }
}

/// T36: from the fetch until the last sink has let go of the rows.
#[test]
fn a_batch_holds_its_bytes_until_nobody_has_its_rows() {
    let gauge = IntGauge::new("shown", "to a test").unwrap();
    let budget = Budget::shown(100, gauge.clone());
    assert!(budget.wait(Duration::ZERO), "nothing is held");
    let held = [60, 40].map(|bytes| budget.hold(bytes));
    assert_eq!((budget.used(), gauge.get()), (100, 100));
    assert!(!budget.wait(Duration::ZERO) && !budget.wait(Duration::from_millis(1)), "it is full");
    let [first, second] = held;
    let batch = Checked { held: Some(first), ..checked(1, 1, 0, 1) };
    let outcome = Arc::new(batch.finish(&Arc::new(Schema::empty())).unwrap());
    let other = outcome.clone();
    drop(outcome);
    assert_eq!((budget.used(), gauge.get()), (100, 100), "another sink still has the rows");
    drop(other);
    assert_eq!((budget.used(), gauge.get()), (40, 40));
    assert!(budget.wait(Duration::ZERO), "there is room again");
    drop(second);
    assert_eq!((budget.used(), gauge.get()), (0, 0));
}

/// T32: a row that is neither written nor rejected nor a copy stops the pipeline before any sink is given the batch.
#[test]
fn a_batch_that_does_not_add_up_is_our_mistake() {
    let schema = Arc::new(Schema::empty());
    let outcome = checked(5, 3, 2, 5).finish(&schema).unwrap();
    assert_eq!((outcome.rows.num_rows(), outcome.origins.len(), outcome.tally.duplicate), (3, 3, 2));
    for (alive, duplicates, input) in [(3, 1, 5), (3, 3, 5), (5, 0, 6), (4, 0, 5)] {
        let error = checked(5, alive, duplicates, input).finish(&schema).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Bug);
        assert!(error.to_string().contains("source nanchang does not add up"), "{error}");
    }
}
