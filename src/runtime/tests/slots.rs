use std::fs::File;

use crate::runtime::build::Slot;

#[test]
fn a_slot_is_taken_by_one_and_its_folder_passed_over_by_who_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("huiju-0");
    let take = || Slot::take_in(&folder, "host").unwrap();
    let (first, second) = (take(), take());
    assert_eq!([first.name(), second.name()], ["host.0", "host.1"]);
    let cleaner = File::open(&folder).unwrap();
    assert!(cleaner.try_lock().is_err());
    drop(first);
    assert!(cleaner.try_lock().is_err(), "the other is there still");
    assert_eq!(take().name(), "host.0");
    drop(second);
    cleaner.try_lock().unwrap();
    assert_eq!(take().name(), "host.0", "a cleaner keeps nobody from starting");
}
