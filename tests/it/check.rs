//! `huiju check` on broken files: every mistake, with the line that has to be corrected.

use std::{fs, path::Path, time::Duration};

use expect_test::expect;

use super::{
    other_feed::project,
    support::{Huiju, eventually},
};

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

/// Whoever checks may be where no broker is.
#[test]
fn properties_that_a_client_is_refused_for_are_told_and_no_broker_is_asked() {
    let folder = project();
    let broker = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    broker.set_nonblocking(true).unwrap();
    let kafka = format!("[kafka]\nbrokers = \"{}\"\n[kafka.properties]", broker.local_addr().unwrap());
    edit(folder.path(), "huiju.toml", "[files]\nfolder = \"topics\"\n", &format!("{kafka}\nretries = 0\n"));
    let said = told(folder.path());
    assert!(
        said.contains("huiju.toml:7: [kafka.properties]: ") && said.contains("`retries` must be set >= 1"),
        "{said}"
    );
    edit(folder.path(), "huiju.toml", "retries = 0", "retries = 1");
    let (status, huiju) = Huiju::run(folder.path(), &["check"], &[]);
    assert!(status.success() && !huiju.stdout().contains("warning"), "{}{}", huiju.stdout(), huiju.stderr());
    let clear = "security.protocol = \"SASL_PLAINTEXT\"\nsasl.mechanism = \"PLAIN\"";
    edit(folder.path(), "huiju.toml", "retries = 1", clear);
    let (status, huiju) = Huiju::run(folder.path(), &["check"], &[]);
    let said = huiju.stdout();
    assert!(status.success() && said.contains("huiju.toml:7: [kafka.properties]: security.protocol: "), "{said}");
    assert_eq!(broker.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let huiju = Huiju::start(folder.path(), &["run"], &[]);
    let warned = || huiju.stderr().contains("WARN [kafka.properties]: security.protocol: ").then_some(());
    eventually("whoever runs is warned as well", Duration::from_secs(60), warned);
}

const HEAD: &str = r#"owner = "照明数据组"
contract = "street_lamp_faults"
[dedup]
key = [
    "fault_no",
    "fault_nr",
    "cost",
    "fault_kind",
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
        pipelines/street_lamps/pipeline.toml:16: [[sink]] partition_by: column "flags" is array<string>; use a string, a date or an int
        pipelines/street_lamps/pipeline.toml:17: [[sink]] partition_by: column "reporter_phone" holds personal data: its values would be names of folders; partition by another column
        pipelines/street_lamps/pipeline.toml:17: [[sink]] partition_by names column "fault_kin", which contract street_lamp_faults does not have: did you mean "fault_kind"?
        pipelines/street_lamps/pipeline.toml:22: [[sink]] key names column "falt_no", which contract street_lamp_faults does not have: did you mean "fault_no"?
        pipelines/street_lamps/sources/east.toml:3: keyed_by names column "fault_n", which contract street_lamp_faults does not have: did you mean "fault_no"?
        pipelines/street_lamps/pipeline.toml:8: [dedup] key: column "fault_kind" has no value where its table does not know the word, and keys without a value count as equal: name its raw text too, "fault_kind_raw", or make such a word an error (unknown: error)
        pipelines/street_lamps/pipeline.toml:12: [metrics] values names column "fault_knd", which contract street_lamp_faults does not have: did you mean "fault_kind"?
        pipelines/street_lamps/pipeline.toml:13: [metrics] values: column "reporter_phone" can hold any value: count a column with `codes`, or a boolean
        fix what is named above
    "#]].assert_eq(&told(folder.path()));
}

/// In place of Kafka: there is no end to begin at, and a folder has one writer.
#[test]
fn check_tells_what_files_cannot_do() {
    let folder = project();
    let pipeline = "pipelines/street_lamps/pipeline.toml";
    edit(folder.path(), pipeline, "owner", "start = \"end\"\nowner");
    let copied = folder.path().join("pipelines/more_lamps");
    crate::support::project::copy(&folder.path().join("pipelines/street_lamps"), &copied);
    edit(folder.path(), "pipelines/more_lamps/pipeline.toml", "topic = \"", "topic = \"more.");
    edit(folder.path(), "pipelines/more_lamps/pipeline.toml", "start = \"end\"\n", "");
    expect![[r#"
        pipelines/street_lamps/pipeline.toml:18: the pipeline more_lamps writes to the table "lamps" already
        pipelines/street_lamps/pipeline.toml:18: the pipeline more_lamps writes to the table "lamps_rejects" already
        pipelines/street_lamps/pipeline.toml:1: start = "end" is for Kafka: of files, move away what is not to be read
        pipelines/street_lamps/pipeline.toml:13: rejected "lamps.rejected" is that of the pipeline more_lamps too: in Kafka they can share it, of files each wants its own
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

const STAGE: &str = "pipelines/street_lamps/1_standard.sql";
const CONTRACT: &str = "schemas/street_lamp_faults.odcs.yaml";
const CODES: &str = "pipelines/street_lamps/sources/east.codes.csv";

/// None of them hangs on another.
#[test]
fn check_tells_mistakes_of_stages_codes_rules_and_keys_together() {
    let folder = project();
    edit(folder.path(), STAGE, "given(", "givven(");
    edit(folder.path(), CODES, "K1,01", "K1,77");
    edit(folder.path(), "pipelines/street_lamps/sources/east.toml", "title", "home = \"999999\"\ntitle");
    edit(
        folder.path(),
        CONTRACT,
        "char_length(reporter_phone) >= 7",
        "|\n              char_length(reporter_phon) > 7",
    );
    edit(folder.path(), CONTRACT, "repaired_on >= CAST(reported_at AS DATE)", "max(cost) > < 7");
    edit(
        folder.path(),
        "pipelines/street_lamps/pipeline.toml",
        "key = [\"fault_no\"]\nwithin",
        "key = [\"no\"]\nwithin",
    );
    expect![[r#"
        pipelines/street_lamps/pipeline.toml:5: [dedup] key names column "no", which contract street_lamp_faults does not have
        pipelines/street_lamps/sources/east.codes.csv:2: code table "fault_kind" has no code "77"; it has 01, 02, 03, 09
        pipelines/street_lamps/sources/east.toml:1: home = "999999" is no division in codes/divisions.csv
        pipelines/street_lamps/1_standard.sql:2: Invalid function 'givven': did you mean "given"? (for source east)
        schemas/street_lamp_faults.odcs.yaml:138: rule reporter_phone_short: No field named reporter_phon. Did you mean 'reporter_phone'?
        schemas/street_lamp_faults.odcs.yaml:154: rule repaired_before_reported: this is not SQL: Expected: an expression, found: <
        fix what is named above
    "#]].assert_eq(&told(folder.path()));
}

#[test]
fn check_tells_mistakes_of_stages_beside_those_of_a_contract() {
    let folder = project();
    edit(folder.path(), STAGE, "given(", "givven(");
    edit(folder.path(), CONTRACT, "logicalType: date\n", "logicalType: dat\n");
    expect![[r#"
        schemas/street_lamp_faults.odcs.yaml:73: logicalType `dat` of column `repaired_on` is not one that huiju has: did you mean `date`?
        pipelines/street_lamps/1_standard.sql:2: Invalid function 'givven': did you mean "given"? (for source east)
        fix what is named above
    "#]].assert_eq(&told(folder.path()));
    let folder = project();
    edit(folder.path(), STAGE, "FROM raw", "FROM raw\nWHERE lng > 1");
    edit(folder.path(), "pipelines/street_lamps/pipeline.toml", "lamp_faults\"", "lamp_fault\"");
    expect![[r#"
        pipelines/street_lamps/pipeline.toml:2: there is no contract `street_lamp_fault`: did you mean `street_lamp_faults`?
        pipelines/street_lamps/1_standard.sql:16: WHERE is not allowed in a stage: to refuse rows write a quality rule in the contract
        fix what is named above
    "#]].assert_eq(&told(folder.path()));
}

/// What of the SQL hangs on tables is not known then, and not told.
#[test]
fn check_tells_mistakes_of_stages_beside_those_of_tables() {
    let folder = project();
    edit(folder.path(), "schemas/codes/fault_kind.csv", "code,label", "kode,label");
    edit(folder.path(), "schemas/codes/divisions.csv", "city", "town");
    let alone = told(folder.path());
    assert!(!alone.contains(".sql") && !alone.contains(".odcs") && !alone.contains("sources"), "{alone}");
    edit(folder.path(), STAGE, "given(", "givven(");
    edit(folder.path(), STAGE, "phone                           AS", "fone AS");
    edit(folder.path(), STAGE, "'pole_state'", "'no_state'");
    edit(folder.path(), CONTRACT, "logicalType: date\n", "logicalType: dat\n");
    expect![[r#"
        schemas/codes/fault_kind.csv:1: the header has `kode`: did you mean `code`? The header is `code,label,aliases,valid_from,valid_to`
        schemas/codes/divisions.csv:1: the header has `town_code`: remove it. The header is `code,name,level,city_code,city_name,tel_area_code`
        schemas/street_lamp_faults.odcs.yaml:73: logicalType `dat` of column `repaired_on` is not one that huiju has: did you mean `date`?
        pipelines/street_lamps/1_standard.sql:2: Invalid function 'givven': did you mean "given"? (for source east)
        pipelines/street_lamps/1_standard.sql:14: No field named reporter_fone. Did you mean 'raw.reporter_phone'? (for source east)
        fix what is named above
    "#]].assert_eq(&told(folder.path()));
}

#[test]
fn check_tells_the_line_of_columns_that_the_contract_does_not_have_or_misses() {
    let folder = project();
    edit(folder.path(), STAGE, "AS lng,", "AS cost_of_lng,");
    edit(folder.path(), STAGE, "AS cost,", "AS costs,");
    edit(folder.path(), STAGE, "AS fault_no,", "AS fault_no, -- cost");
    edit(folder.path(), STAGE, "SELECT", "-- cost, costs\nSELECT");
    edit(folder.path(), STAGE, "AS is_main_road,", "AS flags,");
    edit(folder.path(), STAGE, "TRY_CAST(lng", "'flags' || TRY_CAST(lng");
    expect![[r#"
        pipelines/street_lamps/1_standard.sql:12: column "cost_of_lng" is not in contract street_lamp_faults
        pipelines/street_lamps/1_standard.sql:13: column "costs" is not in contract street_lamp_faults: did you mean "cost"?
        pipelines/street_lamps/1_standard.sql:14: column "flags" is filled by the checks; leave it out
        pipelines/street_lamps/1_standard.sql:2: column "lng" of contract street_lamp_faults (schemas/street_lamp_faults.odcs.yaml:115) is missing
        pipelines/street_lamps/1_standard.sql:2: column "is_main_road" of contract street_lamp_faults (schemas/street_lamp_faults.odcs.yaml:125) is missing
        fix what is named above
    "#]].assert_eq(&told(folder.path()));
}

#[test]
fn check_tells_mistakes_of_stages_beside_those_of_sources_and_sinks() {
    let folder = project();
    edit(folder.path(), STAGE, "given(", "givven(");
    edit(folder.path(), "pipelines/street_lamps/sources/east.toml", "title", "titel");
    fs::write(folder.path().join("pipelines/street_lamps/sources/west.sql"), "SELECT").unwrap();
    expect![[r#"
        pipelines/street_lamps/sources/east.toml:1: unknown key "titel": did you mean "title"?
        pipelines/street_lamps/sources/west.sql: belongs to no source: west.toml is missing
        pipelines/street_lamps/1_standard.sql:2: Invalid function 'givven': did you mean "given"? (for source east)
        fix what is named above
    "#]]
    .assert_eq(&told(folder.path()));
    for (from, to) in
        [("topic = \"lamps.standard\"", "topic = 5"), ("within = ", "key2 = 1\nmax_keys = "), ("owner", "ovner")]
    {
        let folder = project();
        edit(folder.path(), STAGE, "given(", "givven(");
        edit(folder.path(), "pipelines/street_lamps/pipeline.toml", from, to);
        let said = told(folder.path());
        assert!(said.contains("givven") && said.contains("pipeline.toml:"), "{said}");
        assert!(!said.contains("[dedup] without"), "{said}");
    }
}

#[test]
fn check_tells_the_line_where_a_contract_is_no_text() {
    let folder = project();
    let path = folder.path().join(CONTRACT);
    let mut bytes = fs::read(&path).unwrap();
    bytes.splice(300..301, [0xff]);
    fs::write(path, bytes).unwrap();
    expect![[r#"
        schemas/street_lamp_faults.odcs.yaml:11: this is not UTF-8: save the file as UTF-8
        fix what is named above
    "#]]
    .assert_eq(&told(folder.path()));
}

/// Two teams may share a folder.
#[test]
fn mistakes_of_other_pipelines_and_contracts_without_one_are_told_by_check_alone() {
    let folder = project();
    fs::create_dir(folder.path().join("pipelines/other")).unwrap();
    edit(folder.path(), "pipelines/other/pipeline.toml", "", "owner = ");
    edit(folder.path(), "schemas/spare.odcs.yaml", "", "x: 1\n");
    let (status, huiju) = Huiju::run(folder.path(), &["test", "street_lamps"], &[]);
    assert!(status.success(), "{}", huiju.stderr());
    assert!(huiju.stderr().contains("this pipeline has mistakes"), "{}", huiju.stderr());
    assert!(told(folder.path()).contains("pipelines/other/pipeline.toml:1"));
    fs::remove_dir_all(folder.path().join("pipelines/other")).unwrap();
    assert!(told(folder.path()).contains("schemas/spare.odcs.yaml"));
}

#[test]
fn check_tells_what_names_a_folder_that_is_not_there() {
    let folder = project();
    edit(folder.path(), "huiju.toml", "pipelines = \"pipelines\"", "pipelines = \"nope\"");
    expect![[r#"
        huiju.toml:2: pipelines: nope: cannot be read: No such file or directory (os error 2): name the folder in which the pipelines lie
        fix what is named above
    "#]]
    .assert_eq(&told(folder.path()));
    fs::create_dir(folder.path().join("nope")).unwrap();
    expect![[r#"
        huiju.toml:2: pipelines: nope: no pipelines: a pipeline is a folder in here with a pipeline.toml in it
        fix what is named above
    "#]]
    .assert_eq(&told(folder.path()));
    fs::create_dir(folder.path().join("nope/lamps")).unwrap();
    expect![[r#"
        nope/lamps/pipeline.toml: cannot be read: No such file or directory (os error 2): each folder in here is a pipeline: write it, or take the folder away
        nope/lamps/sources: cannot be read: No such file or directory (os error 2): a pipeline has its sources in it, for instance nanchang.toml with nanchang.sql
        fix what is named above
    "#]]
    .assert_eq(&told(folder.path()));
}

#[test]
fn the_day_a_row_came_is_a_column_that_may_be_meant() {
    let folder = project();
    let days = HEAD
        .replace("\"ingested_on\", \"flags\"", "\"ingested_at\"")
        .replace(",\n                \"reporter_phone\", \"fault_kin\"", "");
    edit(folder.path(), "pipelines/street_lamps/pipeline.toml", "", &days);
    let said = told(folder.path());
    expect![[r#"pipelines/street_lamps/pipeline.toml:16: [[sink]] partition_by names column "ingested_at", which contract street_lamp_faults does not have: did you mean "ingested_on"?"#]].assert_eq(said.lines().find(|line| line.contains("partition_by")).unwrap_or_default());
}

/// Each in a folder of its own.
#[test]
fn check_tells_slips_that_would_be_passed_over_or_blamed_on_others() {
    let pipeline = "pipelines/street_lamps/pipeline.toml";
    let mut all = String::new();
    let mut with = |slip: &str, edit_it: &dyn Fn(&Path)| {
        let folder = project();
        edit_it(folder.path());
        let said = told(folder.path());
        all += &format!("{slip}:\n{}", said.replace("fix what is named above\n", ""));
    };
    let write = |folder: &Path, file: &str| {
        let path = folder.join("pipelines/street_lamps").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "SELECT 1").unwrap();
    };
    for file in ["2_mask.sql.txt", "2_mask.sq", "stages/2_mask.sql", "sources/west.tml", "sources/west.sql.txt"] {
        with(file, &|folder| write(folder, file));
    }
    with("an array that does not end", &|folder| {
        edit(folder, pipeline, "key = [\"fault_no\"]\nwithin", "key = [\"fault_no\"\nwithin")
    });
    with("a decimal in braces", &|folder| {
        edit(
            folder,
            CONTRACT,
            "      - name: lng\n",
            "      - { name: fee, logicalType: number, physicalType: decimal(8,1), description: 费用 }\n      - name: lng\n",
        );
    });
    with("a word for personal", &|folder| {
        edit(folder, CONTRACT, "classification: personal", "classification: 个人信息")
    });
    with("a row that is too short", &|folder| edit(folder, "schemas/codes/fault_kind.csv", "09,", "09,x\n10,"));
    expect![[r#"
        2_mask.sql.txt:
        pipelines/street_lamps/2_mask.sql.txt: nobody reads it: a stage is NUMBER_NAME.sql, in the pipeline's folder itself, or take it away
        2_mask.sq:
        pipelines/street_lamps/2_mask.sq: nobody reads it: a stage is NUMBER_NAME.sql, in the pipeline's folder itself, or take it away
        stages/2_mask.sql:
        pipelines/street_lamps/stages: nobody reads it: a stage is NUMBER_NAME.sql, in the pipeline's folder itself, or take it away
        sources/west.tml:
        pipelines/street_lamps/sources/west.tml: nobody reads it: the files of a source are NAME.toml, NAME.sql and NAME.codes.csv, or take it away
        sources/west.sql.txt:
        pipelines/street_lamps/sources/west.sql.txt: nobody reads it: the files of a source are NAME.toml, NAME.sql and NAME.codes.csv, or take it away
        an array that does not end:
        pipelines/street_lamps/pipeline.toml:5: not TOML: this array does not end: its ], or a comma in it, is missing
        a decimal in braces:
        schemas/street_lamp_faults.odcs.yaml:115: column `fee` cannot have the key `1)`: in braces a comma ends a value, put it in quotes: `physicalType: "decimal(8,1)"`
        schemas/street_lamp_faults.odcs.yaml:115: physicalType `decimal(8` of column `fee` is not a decimal: write `decimal(precision, scale)` with 1 to 38 digits, such as `"decimal(18,2)"`, in quotes
        a word for personal:
        schemas/street_lamp_faults.odcs.yaml:131: classification `个人信息` of column `reporter_phone` does not protect anybody: did you mean `personal`?
        a row that is too short:
        schemas/codes/fault_kind.csv:5: the row `09` has 2 values, the header 5: an empty value has its comma too, `code,label,aliases,valid_from,valid_to`
        schemas/codes/fault_kind.csv:7: the row `09` has 2 values, the header 5: an empty value has its comma too, `code,label,aliases,valid_from,valid_to`
    "#]].assert_eq(&all);
    let folder = project();
    for fine in
        ["README.md", "notes.txt", "docs/figure.png", "sources/.west.toml.swp", "sources/west.toml~", "1_old.sql.bak"]
    {
        write(folder.path(), fine);
    }
    let (status, huiju) = Huiju::run(folder.path(), &["check"], &[]);
    assert!(status.success(), "{}", huiju.stderr());
}
