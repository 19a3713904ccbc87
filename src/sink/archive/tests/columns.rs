//! Columns that the contract has gained.

use super::{
    faulty::{Faulty, Trick},
    *,
};
use crate::{
    error::ErrorKind,
    sink::archive::upkeep::{Upkeep, Widened},
};

const INFO: &str = r#"{"commitInfo":{"operation":"VACUUM START"}}"#;

impl Bench {
    fn add_columns_over(&self, store: Arc<dyn ObjectStore>, dry_run: bool) -> Result<Vec<Widened>> {
        let clock = Clock::from_fn(|| DateTime::from_timestamp_millis(EVENING).unwrap());
        let runtime = self.runtime.handle().clone();
        Upkeep::add_columns_over(store, &self.settings, &self.contract(), &self.schema, clock, runtime, dry_run)
    }

    /// To the rows table; that of the rejects never changes.
    fn add_columns(&self, dry_run: bool) -> Widened {
        let [rows, rejects] = self.add_columns_over(store::local(), dry_run).unwrap().try_into().unwrap();
        assert_eq!((rejects.added.len(), rejects.described, rejects.version), (0, 0, None));
        rows
    }

    /// The contract gets a column before its others and another description.
    fn grow(&mut self) {
        let about = |text: &str| [("comment".to_owned(), text.to_owned())].into_iter().collect();
        let mut fields: Vec<Field> = schema().fields().iter().map(|field| (**field).clone()).collect();
        fields[1] = fields[1].clone().with_metadata(about("设区市"));
        fields.insert(0, Field::new("note", DataType::Utf8, true).with_metadata(about("备注")));
        self.schema = Arc::new(Schema::new(fields));
    }
}

/// As [`outcome`], with a note in every row.
fn noted(bench: &Bench, from: i64, next: i64) -> Outcome {
    let mut outcome = outcome(0, from, next, &rows(from..next));
    let notes: StringArray = (from..next).map(|offset| Some(format!("note {offset}"))).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(notes)];
    columns.extend_from_slice(outcome.rows.columns());
    outcome.rows = RecordBatch::try_new(bench.schema.clone(), columns).unwrap();
    outcome
}

/// The note of each row, in the order of offsets.
fn notes(bench: &Bench) -> Vec<Option<String>> {
    let mut notes = BTreeMap::new();
    let mut each = |batch: &RecordBatch| {
        let texts = batch["note"].as_string::<i32>();
        let offsets = batch["_offset"].as_primitive::<Int64Type>();
        notes.extend(offsets.values().iter().copied().zip(texts.iter().map(|text| text.map(str::to_owned))));
        Ok(())
    };
    let partitions = [(partition(0), i64::MAX)];
    bench.try_open().unwrap().reader().keys(&["note".to_owned()], &partitions, None, &mut each).unwrap();
    notes.into_values().collect()
}

#[test]
fn columns_that_the_contract_gained_are_added() {
    let mut bench = Bench::new();
    let mut before = bench.open(&[0]);
    carry(&mut before, 0, 0, 2).unwrap();
    bench.grow();
    let refused = bench.try_open().err().expect("the table lacks a column");
    assert_eq!(refused.kind, ErrorKind::Config);
    for part in ["column `note` (string) is not in the table", "huiju archive add-columns work_orders"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }

    let all = find(bench.folder.path(), "");
    let would = bench.add_columns(true);
    assert_eq!((would.added, would.described, would.version), (vec!["note".to_owned()], 1, None));
    assert_eq!(find(bench.folder.path(), ""), all, "nothing was written");

    let version = last_version(&bench.rows()) + 1;
    let done = bench.add_columns(false);
    assert_eq!((done.added, done.described, done.version), (vec!["note".to_owned()], 1, Some(version)));
    let again = bench.add_columns(false);
    assert_eq!((again.added.len(), again.described, again.version), (0, 0, None), "it has them now");

    // What a table is remains; the new column is its last.
    let of = |version| entry(&bench.rows(), version).into_iter().find_map(|action| action.get("metaData").cloned());
    let (mut old, mut new) = (of(0).unwrap(), of(version).unwrap());
    let schema = |metadata: &mut serde_json::Value| -> serde_json::Value {
        let text = metadata["schemaString"].take();
        serde_json::from_str(text.as_str().unwrap()).unwrap()
    };
    let (old_schema, new_schema) = (schema(&mut old), schema(&mut new));
    assert_eq!(old, new);
    let last = new_schema["fields"].as_array().unwrap().last().unwrap();
    let note = serde_json::json!({
        "name": "note", "type": "string", "nullable": true, "metadata": { "comment": "备注" },
    });
    assert_eq!(*last, note);
    assert_eq!(new_schema["fields"][1]["metadata"]["comment"], "设区市");
    assert_eq!(old_schema["fields"][1]["metadata"]["comment"], "城市");

    // Who still runs with the contract of before stops, and leaves nothing.
    before.write(&with_rejects(outcome(0, 2, 4, &rows(2..3)), &[3])).unwrap();
    let refused = before.commit(&covered(0, 2, 4)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Config);
    assert!(refused.to_string().contains("column `note` (string) of the table is not in the contract"), "{refused}");
    assert!(!refused.to_string().contains("add-columns"), "{refused}");
    drop(before);
    assert_eq!((plain_rows(&bench.rows()), plain_rows(&bench.rejects())), (2, 0));

    let mut after = bench.open(&[]);
    assert_eq!(cursors(&mut after, 0), [2], "rejects had not gone first: the new contract decides about them");
    for (from, next) in [(2, 3), (3, 4)] {
        after.write(&noted(&bench, from, next)).unwrap();
        after.commit(&covered(0, from, next)).unwrap();
    }
    drop(after);
    let all = [None, None, Some("note 2".to_owned()), Some("note 3".to_owned())];
    assert_eq!(notes(&bench), all);
    bench.try_compact().unwrap();
    assert_eq!(notes(&bench), all, "files with and without it become one");
}

/// Readers must not look for bounds that a file has not.
#[test]
fn only_columns_with_bounds_in_every_file_are_listed() {
    let list = |bench: &Bench| {
        let all = (0..=last_version(&bench.rows())).rev().flat_map(|version| entry(&bench.rows(), version));
        let metadata = all.into_iter().find_map(|action| action.get("metaData").cloned()).unwrap();
        metadata["configuration"]["delta.dataSkippingStatsColumns"].as_str().unwrap_or("none").to_owned()
    };
    let mut bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 2).unwrap();
    let all = list(&bench);
    bench.grow();
    bench.add_columns(false);
    assert_eq!(list(&bench), all, "files that are there have no bounds of the new column");
    bench.personal = Some("city");
    let refused = bench.try_open().err().expect("readers would miss rows").to_string();
    assert!(refused.contains("lists city") && refused.contains("`huiju archive add-columns"), "{refused}");
    assert!(bench.add_columns(true).bounds);
    let done = bench.add_columns(false);
    assert!(done.bounds && done.version.is_some(), "{done:?}");
    assert_eq!(list(&bench), all.replace(",city", ""), "files to come have none of it any more");
    let again = bench.add_columns(false);
    assert_eq!((again.bounds, again.version), (false, None));

    // A table that has no list, as other versions and programs make it.
    let forget = |bench: &Bench| {
        let version = last_version(&bench.rows()) + 1;
        let all = (0..version).rev().flat_map(|version| entry(&bench.rows(), version));
        let mut metadata = all.into_iter().find(|action| action.get("metaData").is_some()).unwrap();
        metadata["metaData"]["configuration"] = serde_json::json!({});
        let text = format!("{INFO}\n{metadata}\n");
        fs::write(bench.rows().join(format!("_delta_log/{version:020}.json")), text).unwrap();
        assert_eq!((list(bench), bench.offsets()), ("none".to_owned(), vec![0, 1]), "it can be opened");
    };
    forget(&bench);
    assert!(bench.add_columns(false).bounds);
    assert_eq!(list(&bench), format!("note,{}", all.replace(",city", "")));

    // And gets a list and a column at once.
    let mut bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 2).unwrap();
    forget(&bench);
    bench.grow();
    assert_eq!(bench.add_columns(false).added, ["note"]);
    assert_eq!(list(&bench), all, "files that are there have no bounds of the new column");
}

#[test]
fn a_column_that_is_gone_or_of_another_type_is_refused() {
    let mut bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 2).unwrap();
    bench.grow();
    let mut fields: Vec<Field> = bench.schema.fields().iter().map(|field| (**field).clone()).collect();
    fields[3] = Field::new("count", DataType::Int64, true);
    fields.remove(4);
    bench.schema = Arc::new(Schema::new(fields));
    let all = find(bench.folder.path(), "");
    let refused = bench.add_columns_over(store::local(), false).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Config);
    for part in ["`count` is integer in the table, long in the contract", "`seconds` (long) of the table is not in"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    for part in ["`note`", "add-columns"] {
        assert!(!refused.to_string().contains(part), "it names what nobody can add: {refused}");
    }
    let refused = bench.try_open().err().unwrap().to_string();
    assert!(refused.contains("`note` (string) is not in the table") && !refused.contains("add-columns"), "{refused}");
    assert_eq!(find(bench.folder.path(), ""), all, "nothing was touched");
}

/// The entry that adds columns is ours: whoever looks back from it must not find less than before.
#[test]
fn what_run_would_refuse_is_not_hidden_behind_new_columns() {
    let mut bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 2).unwrap();
    let version = last_version(&bench.rows()) + 1;
    let text = INFO.replace("VACUUM START", "RESTORE");
    fs::write(bench.rows().join(format!("_delta_log/{version:020}.json")), format!("{text}\n")).unwrap();
    bench.grow();
    for dry_run in [true, false] {
        let refused = bench.add_columns_over(store::local(), dry_run).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Config);
        assert!(refused.to_string().contains("operation RESTORE"), "{refused}");
    }
    assert_eq!(last_version(&bench.rows()), version);
    bench.settings.accept_foreign_writes = true;
    assert_eq!(bench.add_columns(false).version, Some(version + 1), "who says that he knows may");
}

#[test]
fn a_table_that_is_not_there_is_not_made() {
    let bench = Bench::new();
    assert_eq!(bench.add_columns_over(store::local(), false).unwrap(), []);
    assert!(!bench.rows().exists());
}

#[test]
fn who_is_overtaken_takes_the_next_version() {
    let mut bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 2).unwrap();
    bench.grow();
    let version = last_version(&bench.rows());
    let done = bench.add_columns_over(Faulty::new("_delta_log", Trick::Overtaken(INFO), 3), false).unwrap();
    assert_eq!(done[0].version, Some(version + 4));
    assert_eq!(cursors(&mut bench.open(&[]), 0), [2]);
}

#[test]
fn an_answer_that_is_lost_leaves_the_columns_there() {
    let mut bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 2).unwrap();
    bench.grow();
    let lost = bench.add_columns_over(Faulty::new("_delta_log", Trick::LandsButFails, 1), false).unwrap_err();
    assert_eq!(lost.kind, ErrorKind::Unavailable);
    assert_eq!(bench.add_columns(false).version, None, "they are there");
    assert_eq!(cursors(&mut bench.open(&[]), 0), [2]);
}

/// Two programs have added a column each while we were away: what the columns were in between is nobody's mistake.
#[test]
fn columns_that_others_added_one_by_one_are_taken() {
    let mut bench = Bench::new();
    carry(&mut bench.open(&[0]), 0, 0, 2).unwrap();
    let mut metadata = entry(&bench.rows(), 0).into_iter().find(|action| action.get("metaData").is_some()).unwrap();
    let mut fields: Vec<Field> = schema().fields().iter().map(|field| (**field).clone()).collect();
    for name in ["one", "two"] {
        let text = metadata["metaData"]["schemaString"].as_str().unwrap();
        let mut schema: serde_json::Value = serde_json::from_str(text).unwrap();
        let field = serde_json::json!({ "name": name, "type": "string", "nullable": true, "metadata": {} });
        schema["fields"].as_array_mut().unwrap().push(field);
        metadata["metaData"]["schemaString"] = schema.to_string().into();
        let version = last_version(&bench.rows()) + 1;
        let text = format!("{}\n{metadata}\n", INFO.replace("VACUUM START", "ADD COLUMNS"));
        fs::write(bench.rows().join(format!("_delta_log/{version:020}.json")), text).unwrap();
        fields.push(Field::new(name, DataType::Utf8, true));
    }
    bench.schema = Arc::new(Schema::new(fields));
    assert_eq!(cursors(&mut bench.open(&[]), 0), [2]);
}

/// It slept between its look and its put, and others have cleaned up: nobody reads what it has put.
#[test]
fn columns_that_are_added_among_what_was_cleaned_up_are_not_called_added() {
    let mut bench = Bench::in_memory();
    (0..12).for_each(|offset| carry(&mut bench.open(&[0]), 0, offset, offset + 1).unwrap());
    bench.grow();
    let log = bench.rows().join("_delta_log");
    let entries = move || {
        let old = find(&log, ".json").into_iter().map(|name| log.join(name));
        old.for_each(|path| fs::remove_file(path).unwrap());
    };
    let slept = bench.add_columns_over(Faulty::meanwhile("orders/_delta_log/", Trick::Meanwhile, entries), false);
    let refused = slept.unwrap_err();
    assert!(refused.kind == ErrorKind::Unavailable && refused.to_string().contains("run it again"), "{refused}");
}
