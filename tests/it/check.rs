//! `huiju check` on broken files: every mistake, with the line that has to be corrected.

use std::{fs, path::Path};

use expect_test::expect;

use super::{other_feed::project, support::Huiju};

/// Replaces a text in a file; an empty one is all there is.
fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap_or_default();
    assert!(text.contains(from), "{file} has no {from}");
    let text = if from.is_empty() { to.to_owned() } else { text.replace(from, to) };
    fs::write(path, text).unwrap();
}

/// What it says, without the folder that everything is in.
fn told(folder: &Path) -> String {
    let (status, huiju) = Huiju::run(folder, &["check"], &[]);
    let said = huiju.stderr();
    assert_eq!(status.code(), Some(2), "{said}");
    said.replace("huiju: ", "").lines().map(|line| line.trim_start().to_owned() + "\n").collect()
}

const HEAD: &str = r#"owner = "照明数据组"
contract = "street_lamp_faults"
[dedup]
key = [
    "fault_no",
    "fault_nr",
    "cost",
]
across_partitions = "accept"
[metrics]
values = ["is_main_road", "fault_knd",
          "reporter_phone"]
[[sink]]
kind = "archive"
partition_by = ["ingested_on", "flags",
                "reporter_phone", "fault_kin"]
[[sink]]
kind = "kafka"
topic = "lamps.standard"
rejected = "lamps.rejected"
key = ["falt_no"]
"#;

#[test]
fn check_tells_the_line_of_a_column_that_is_no_column_or_does_not_fit() {
    let folder = project();
    edit(folder.path(), "pipelines/street_lamps/pipeline.toml", "", HEAD);
    let source = "topics = [\"lamps.raw.east\"]\nkeyed_by = [\"fault_no\",\n  \"fault_n\"]\n";
    edit(folder.path(), "pipelines/street_lamps/sources/east.toml", "", source);
    expect![[r#"
        pipelines/street_lamps/pipeline.toml:6: [dedup] key names column "fault_nr", which contract street_lamp_faults does not have: did you mean "fault_no"?
        pipelines/street_lamps/pipeline.toml:7: [dedup] key: column "cost" is decimal(12,2); a key is made of texts, integers, dates and timestamps
        pipelines/street_lamps/pipeline.toml:15: [[sink]] partition_by: column "flags" is array<string>; use a text, a date or an integer
        pipelines/street_lamps/pipeline.toml:16: [[sink]] partition_by: column "reporter_phone" holds personal data: its values would be names of folders; partition by another column
        pipelines/street_lamps/pipeline.toml:16: [[sink]] partition_by names column "fault_kin", which contract street_lamp_faults does not have: did you mean "fault_kind"?
        pipelines/street_lamps/pipeline.toml:21: [[sink]] key names column "falt_no", which contract street_lamp_faults does not have: did you mean "fault_no"?
        pipelines/street_lamps/sources/east.toml:3: keyed_by names column "fault_n", which contract street_lamp_faults does not have: did you mean "fault_no"?
        pipelines/street_lamps/pipeline.toml:11: [metrics] values names column "fault_knd", which contract street_lamp_faults does not have: did you mean "fault_kind"?
        pipelines/street_lamps/pipeline.toml:12: [metrics] values: column "reporter_phone" can hold any value: count a column with `codes`, or a boolean
        fix what is named above
    "#]].assert_eq(&told(folder.path()));
}

#[test]
fn check_tells_the_line_of_a_home_that_is_no_division() {
    let folder = project();
    let source = "topics = [\"lamps.raw.east\"]\nhome = \"360199\"\n";
    edit(folder.path(), "pipelines/street_lamps/sources/east.toml", "", source);
    expect![[r#"
        pipelines/street_lamps/sources/east.toml:2: home = "360199" is no division in codes/divisions.csv: did you mean "360100"?
        fix what is named above
    "#]].assert_eq(&told(folder.path()));
}
