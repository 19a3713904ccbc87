//! The command line as people use it: slips in files and flags are told, and nobody has to read what it says.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    other_feed::{account, project},
    support::Huiju,
};

/// Exit code, standard output and standard error.
pub fn huiju(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let (status, huiju) = Huiju::run(folder, arguments, &[]);
    (status.code().expect("an exit code"), huiju.stdout(), huiju.stderr())
}

/// It ends with 2 and says all of this.
#[track_caller]
pub fn refused(folder: &Path, arguments: &[&str], words: &[&str]) {
    let (code, out, said) = huiju(folder, arguments);
    assert_eq!(code, 2, "{arguments:?}: {out}{said}");
    for word in words {
        assert!(said.contains(word) || out.contains(word), "{arguments:?}: no \"{word}\" in {out}{said}");
    }
}

#[track_caller]
pub fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Ten lines that go through, in the topic of the fixture, on the second of June and on the days after it.
pub fn lamps(folder: &Path, days: u32) {
    let topic = folder.join("topics/lamps.raw.east");
    fs::create_dir_all(&topic).unwrap();
    let lamp = |number: u32| {
        format!(
            "{{\"id\":\"LD{number:06}\",\"at\":\"2026-06-01 21:05:00\",\"what\":\"K1\",\"pole\":{{\"state\":\"1\",\"lamps\":{{\"out\":1}}}}}}\n"
        )
    };
    for day in 0..days {
        let lines: String = (day * 10..day * 10 + 10).map(lamp).collect();
        fs::write(topic.join(format!("2026-06-{:02}.jsonl", day + 2)), lines).unwrap();
    }
}

const OUTPUT: &str = "pipelines/street_lamps/tests/one_of_each/output.jsonl";
const CASE: &str = "pipelines/street_lamps/tests/one_of_each/input.jsonl";

#[test]
fn nobody_has_to_read_what_it_says() {
    let folder = project();
    let folder = folder.path();
    lamps(folder, 1);
    let end = |arguments: &[&str], out: Stdio, err: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_huiju"));
        command.args(arguments).current_dir(folder).env_remove("HUIJU_LOG").stdin(Stdio::null());
        command.stdout(out).stderr(err).spawn().unwrap()
    };
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let run = ["run", "--until-end", "--format", "json"];
    for arguments in [&["test"][..], &["check"], &["docs"], &run, &["archive", "history"], &["archive", "compact"]] {
        let done = end(arguments, closed(), Stdio::piped()).wait_with_output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("huiju:"), "{arguments:?}: {said}");
        let done = end(arguments, full(), Stdio::piped()).wait_with_output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(3), "{arguments:?}: {said}");
        assert!(said.contains("huiju: write to standard output: No space left"), "{arguments:?}: {said}");
        for broken in [closed, full] {
            let done = end(arguments, full(), broken()).wait().unwrap();
            assert_eq!(done.code(), Some(3), "{arguments:?}, standard error gone too");
        }
    }
    let done = end(&["check", "--config", "nowhere.toml"], closed(), closed()).wait().unwrap();
    assert_eq!(done.code(), Some(2));
    let (_, out, _) = huiju(folder, &run);
    assert_eq!(account(&out)["in"], 0, "all of it was carried when nobody read");
}

#[test]
fn only_a_run_could_have_changed_anything() {
    let folder = project();
    fs::write(folder.path().join("pipelines/street_lamps/1_standard.sql"), "SELECT").unwrap();
    for (arguments, again) in [(&["run"][..], true), (&["check"], false), (&["test"], false), (&["docs"], false)] {
        let (code, _, said) = huiju(folder.path(), arguments);
        assert_eq!((code, said.contains("it goes on where it was")), (2, again), "{arguments:?}: {said}");
    }
}

#[test]
fn flags_with_slips_are_refused() {
    let folder = project();
    refused(folder.path(), &["check", "--log", "debgu"], &["\"debgu\" is no level: did you mean \"debug\"?", "warn"]);
    refused(folder.path(), &["check", "--log", "info,huiju::source=loud"], &["\"loud\" is no level"]);
    for good in ["debug", "WARN", "off", "huiju=debug,librdkafka=info", "info,huiju::source=debug", "huiju::source"] {
        let (code, _, said) = huiju(folder.path(), &["check", "--log", good]);
        assert_eq!(code, 0, "{good}: {said}");
    }
    let nowhere = tempfile::tempdir().unwrap();
    refused(nowhere.path(), &["check"], &["--config FILE", "huiju.example.toml", "huiju demo"]);
}

#[test]
fn an_archive_without_a_table_is_said_to_have_none() {
    let folder = project();
    for verb in ["history", "compact", "vacuum"] {
        refused(folder.path(), &["archive", verb], &["street_lamps: there is no table under", "--config FILE"]);
    }
    lamps(folder.path(), 1);
    assert_eq!(huiju(folder.path(), &["run", "--until-end"]).0, 0);
    for verb in ["history", "compact", "vacuum"] {
        assert_eq!(huiju(folder.path(), &["archive", verb]).0, 0, "{verb}");
    }
}

#[test]
fn a_sample_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::write(
        folder.path().join("huiju.toml"),
        format!(
            "pipelines = \"{0}/pipelines\"\nschemas = \"{0}/schemas\"\n[files]\nfolder = \"topics\"\n",
            root.display()
        ),
    )
    .unwrap();
    let sample = ["sample", "work_orders", "--source", "nanchang", "--messages", "20"];
    assert_eq!(huiju(folder.path(), &sample).0, 0);
    refused(folder.path(), &sample, &["2026-06-01.jsonl is there already", "--to", "--start"]);
    let twice = [&sample[..4], &["--source", "nanchang", "--to", "twice"]].concat();
    refused(folder.path(), &twice, &["--source nanchang is there twice"]);
    fs::write(folder.path().join("file"), "").unwrap();
    refused(folder.path(), &[&sample[..], &["--to", "file"]].concat(), &["create file/hotline.raw"]);
    for (flag, value) in [("--size", "16777217"), ("--size", "-1"), ("--partitions", "0")] {
        refused(folder.path(), &[&sample[..], &["--to", "large", &format!("{flag}={value}")]].concat(), &[flag]);
    }
    let largest = ["sample", "work_orders", "--messages", "3", "--to", "large", "--size", "16777216"];
    assert_eq!(huiju(folder.path(), &largest).0, 0);
    let later = [&sample[..], &["--start", "2027-01-01T00:00:00+08:00"]].concat();
    let (code, _, said) = huiju(folder.path(), &later);
    assert_eq!(code, 0, "{said}");
}

/// The binary, after a script of the shell.
pub fn shell(folder: &Path, script: &str, arguments: &[&str]) -> Command {
    let binary = std::env::var_os("HUIJU_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_huiju").into());
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("{script}; exec \"$0\" \"$@\"")).arg(binary).args(arguments);
    command.current_dir(folder).env_remove("HUIJU_LOG").stdin(Stdio::null());
    command
}

/// Two classes in texts that differ, as JSON Lines.
fn labelled(folder: &Path) {
    let words = [("城建", ["路灯", "井盖", "停水", "物业"]), ("教育", ["老师", "学校", "补课", "学费"])];
    let text = |number: usize| {
        let (class, words) = words[number % 2];
        let odd: String =
            (0..20).map(|at| char::from_u32(0x5000 + ((number * 37 + at * 11) % 900) as u32).unwrap()).collect();
        format!(
            "{{\"title\":\"\",\"content\":\"{odd}{}{}\",\"label\":\"{class}\"}}\n",
            words[number / 2 % 4],
            words[number / 3 % 4]
        )
    };
    fs::write(folder.join("texts.jsonl"), (0..60).map(text).collect::<String>()).unwrap();
}

const TRAIN: [&str; 4] = ["train", "texts.jsonl", "--to", "weights/w.weights"];

#[test]
fn a_full_disk_leaves_what_was_there() {
    let folder = project();
    let folder = folder.path();
    labelled(folder);
    assert_eq!(huiju(folder, &TRAIN).0, 0);
    assert_eq!(huiju(folder, &["docs"]).0, 0);
    fs::write(folder.join(OUTPUT), "{}\n").unwrap();
    // Files stay below 2048 bytes, or one.
    for (arguments, kept, most) in [
        (&TRAIN[..], "weights/w.weights", "2"),
        (&["docs"], "docs/functions.md", "1"),
        (&["test", "--update"], OUTPUT, "0"),
    ] {
        let before = fs::read(folder.join(kept)).unwrap();
        let mut command = shell(folder, &format!("ulimit -f {most}; trap '' XFSZ"), arguments);
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(3), "{arguments:?}: {said}");
        assert!(said.contains("huiju: write ") && said.contains(kept.split('/').next_back().unwrap()), "{said}");
        assert!(fs::read(folder.join(kept)).unwrap() == before, "{kept} was touched");
    }
}

#[test]
fn where_weights_go_is_looked_at_before_learning() {
    let folder = tempfile::tempdir().unwrap();
    labelled(folder.path());
    fs::write(folder.path().join("file"), "").unwrap();
    for (to, words) in [
        ("file/w.weights", "file"),
        (".", "it is no file"),
        ("texts.jsonl", "--to texts.jsonl: this is texts.jsonl itself"),
    ] {
        refused(folder.path(), &["train", "texts.jsonl", "--to", to], &[words]);
    }
    labelled(folder.path());
    assert_eq!(huiju(folder.path(), &TRAIN).0, 0);
}

#[test]
fn data_that_teach_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = |label: &str| format!("{{\"content\":\"一样\",\"label\":\"{label}\"}}\n");
    fs::write(folder.join("same.jsonl"), [line("x"), line("y")].concat().repeat(3)).unwrap();
    let words = ["same.jsonl: no text has a feature", "another fold"];
    refused(folder, &["train", "same.jsonl", "--to", "w"], &words);
    refused(folder, &["evaluate", "same.jsonl", "--folds", "2", "--compare"], &words);
    labelled(folder);
    let long = "x".repeat(65);
    for release in ["", " ", "1\u{1b}[2J", &long] {
        refused(folder, &[&TRAIN[..], &["--release", release]].concat(), &["huiju: --release "]);
    }
    let (code, out, said) = huiju(folder, &[&TRAIN[..], &["--format", "json"]].concat());
    assert_eq!(code, 0, "{said}");
    assert!(out.contains("\"reached\":true") && said.is_empty(), "{out}{said}");
    let (code, _, said) = huiju(folder, &[&TRAIN[..], &["--precision", "0.99"]].concat());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("verdicts at most, a precision of 0.99 wants 300: do not trust it"), "{said}");
    // Labels that nothing in the texts tells.
    let text = fs::read_to_string(folder.join("texts.jsonl")).unwrap();
    let label = |at: usize| ["城建", "教育"][at.count_ones() as usize % 2];
    let line = |(at, line): (usize, &str)| line.replace("城建", label(at)).replace("教育", label(at)) + "\n";
    let lines: String = text.lines().enumerate().map(line).collect();
    fs::write(folder.join("texts.jsonl"), lines).unwrap();
    let (code, out, said) = huiju(folder, &[&TRAIN[..], &["--format", "json", "--precision", "1"]].concat());
    assert_eq!(code, 0, "{said}");
    assert!(out.contains("\"reached\":false") && out.contains("\"threshold\":null"), "{out}");
    assert!(said.contains("no threshold has a precision of 1: no verdict is certain"), "{said}");
    let (_, out, _) = huiju(folder, &["classify", "texts.jsonl", "--weights", "weights/w.weights", "--format", "json"]);
    assert!(out.contains("\"certain\":false") && !out.contains("\"certain\":true"), "{out}");
}

#[test]
fn a_text_is_classified_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, texts) in
        [(&["classify"][..], ["路灯不亮", "学费太高"]), (&["classify", "-"], [r#"{"title":"a"}"#; 2])]
    {
        let mut command = shell(folder.path(), ":", arguments);
        let mut huiju = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut ask, answers) = (huiju.stdin.take().unwrap(), BufReader::new(huiju.stdout.take().unwrap()));
        let (hear, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || answers.lines().try_for_each(|line| hear.send(line.unwrap())));
        for text in texts {
            writeln!(ask, "{text}").unwrap();
            let answer = heard.recv_timeout(Duration::from_secs(60));
            assert!(answer.is_ok_and(|answer| answer.contains('\t')), "no answer to {text} before the next");
        }
        drop(ask);
        assert_eq!(huiju.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_log_in_json_is_json_to_its_end() {
    let folder = project();
    lamps(folder.path(), 1);
    let panic = [("HUIJU_FAULT", "line.after_decode:1:panic")];
    for (arguments, variables, code, kind) in [
        (&["check", "--config", "nowhere.toml"][..], &[][..], 2, "config"),
        (&["run", "--until-end"], &panic, 70, "bug"),
        (&["demo", "--messages", "1000"], &[], 0, ""),
    ] {
        let arguments = [arguments, &["--log-format", "json"]].concat();
        let (status, huiju) = Huiju::run(folder.path(), &arguments, variables);
        let said = huiju.stderr();
        assert_eq!(status.code(), Some(code), "{said}");
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{arguments:?}: {line}"));
        let lines: Vec<serde_json::Value> = said.lines().map(parse).collect();
        let whole =
            |line: &serde_json::Value| ["timestamp", "level", "message"].iter().all(|key| line[key].is_string());
        assert!(lines.iter().all(whole), "{said}");
        if code > 0 {
            let last = lines.last().unwrap();
            assert_eq!((&last["exit_code"], &last["kind"]), (&code.into(), &kind.into()), "{said}");
        }
    }
}

#[test]
fn texts_to_classify_are_utf_8() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("texts.txt"),
        [b"\xe8\xb7\xaf\xe7\x81\xaf\n".as_slice(), b"\xc2\xb7\xb5\xc6\n"].concat(),
    )
    .unwrap();
    refused(folder.path(), &["classify", "texts.txt"], &["texts.txt:2: this is not UTF-8"]);
}

#[test]
fn a_case_that_tests_nothing_fails() {
    let folder = project();
    let folder = folder.path();
    let tests = folder.join("pipelines/street_lamps/tests");
    fs::create_dir(tests.join("hollow")).unwrap();
    refused(folder, &["test"], &["FAIL  street_lamps/hollow", "hollow/input.jsonl is not there", "1 passed, 1 failed"]);
    fs::write(tests.join("hollow/input.jsonl"), "\n").unwrap();
    refused(folder, &["test"], &["hollow/input.jsonl has no message"]);
    fs::remove_dir_all(tests.join("hollow")).unwrap();
    refused(folder, &["test", "--case", "nope"], &["no case has \"nope\" in its name", "street_lamps/one_of_each"]);
}

#[test]
fn slips_in_the_input_of_a_case_are_told() {
    let folder = project();
    let folder = folder.path();
    let input = folder.join(CASE);
    let good = fs::read_to_string(&input).unwrap();
    for (from, to, words) in [
        ("\"at\"", "\"att\"", &["input.jsonl:1: there is no key \"att\": did you mean \"at\"?", "source, at, key"][..]),
        ("\"text\"", "\"textt\"", &["input.jsonl:6: there is no key \"textt\": did you mean \"text\"?"]),
        ("+08:00", "", &["input.jsonl:1: at \"2026-06-02T08:00:00\"", "write 2026-06-01T08:00:00+08:00"]),
        ("\"east\"", "\"eats\"", &["input.jsonl:1: there is no source \"eats\": did you mean \"east\"?"]),
        ("\"source\":\"east\",", "", &["input.jsonl:1: has no source: the sources are east"]),
        ("\"source\"", "\"key\":7,\"source\"", &["input.jsonl:1: key is 7: write a text"]),
        ("\"source\"", "\"source\":\"east\",\"source\"", &["input.jsonl:1: \"source\" is there twice"]),
    ] {
        fs::write(&input, good.replacen(from, to, 1)).unwrap();
        refused(folder, &["test"], words);
    }
    fs::write(&input, format!("\u{feff}{good}")).unwrap();
    let (code, out, said) = huiju(folder, &["test"]);
    assert_eq!(code, 0, "a byte order mark is no slip: {out}{said}");
}

/// Nor does it keep the cases after it from being run.
#[test]
fn a_malformed_file_fails_its_case_alone() {
    let folder = project();
    let folder = folder.path();
    let tests = folder.join("pipelines/street_lamps/tests");
    let case = |name: &str, output: &str| {
        fs::create_dir(tests.join(name)).unwrap();
        let good = fs::read_to_string(folder.join(CASE)).unwrap();
        fs::write(tests.join(name).join("input.jsonl"), format!("\n{good}")).unwrap();
        let rows = fs::read_to_string(tests.join("one_of_each/output.jsonl")).unwrap();
        fs::write(tests.join(name).join("output.jsonl"), rows.replacen('{', output, 1)).unwrap();
    };
    case("a_cut", "{,");
    case("b_twice", "{\"lamps_out\":2,");
    case("c_no_column", "{\"nonsense\":null,");
    case("d_first_is_missing", "{}\n{");
    case("e_digits", "{");
    edit(&tests.join("e_digits/output.jsonl"), "120.5", "120.500000000000000001");
    edit(&tests.join("e_digits/input.jsonl"), "\n", "{\"source\":\"east\",\"text\":\n");
    refused(
        folder,
        &["test"],
        &[
            "a_cut/output.jsonl:1: key must be a string (column 2)",
            "b_twice/output.jsonl:1: \"lamps_out\" is there twice: keep one",
            "c_no_column/output.jsonl:1: there is no column \"nonsense\"",
            "FAIL  street_lamps/d_first_is_missing\n        row 1: missing: {}\n        reject 1: not expected: ",
            "\"line\":4,\"row\":0", // the third message, after an empty line
            "e_digits/input.jsonl:1: the JSON is cut short",
            "ok    street_lamps/one_of_each",
            "1 passed, 5 failed",
        ],
    );
    fs::remove_file(tests.join("e_digits/input.jsonl")).unwrap();
    fs::copy(folder.join(CASE), tests.join("e_digits/input.jsonl")).unwrap();
    refused(folder, &["test", "--case", "e_digits"], &["cost: expected 120.500000000000000001, got 120.50"]);
}

#[test]
fn a_message_reaches_the_decoder_as_it_is_written_and_an_update_says_what_it_wrote() {
    let folder = project();
    let folder = folder.path();
    edit(&folder.join("pipelines/street_lamps/1_standard.sql"), "given(fault_no) ", "'LD123456' ");
    edit(
        &folder.join("pipelines/street_lamps/1_standard.sql"),
        "reporter_phone                           AS",
        "fault_no AS",
    );
    edit(&folder.join(CASE), "\"id\":\"LD20260601001\"", "\"id\":1.780243200123e12");
    let (code, out, said) = huiju(folder, &["test", "--update"]);
    assert_eq!(code, 0, "{out}{said}");
    let wrote = |name: &str| out.contains(&format!("wrote pipelines/street_lamps/tests/one_of_each/{name}"));
    assert!(wrote("output.jsonl") && wrote("rejects.jsonl"), "{out}");
    let rows = fs::read_to_string(folder.join("pipelines/street_lamps/tests/one_of_each/output.jsonl")).unwrap();
    assert!(rows.contains("\"1.780243200123e12\""), "{rows}");
    let (_, out, _) = huiju(folder, &["test", "--update"]);
    assert!(!out.contains("wrote"), "nothing to write: {out}");
    let (output, elsewhere) =
        (folder.join("pipelines/street_lamps/tests/one_of_each/output.jsonl"), folder.join("mine"));
    fs::remove_file(&output).unwrap();
    fs::write(&elsewhere, "{}").unwrap();
    std::os::unix::fs::symlink(&elsewhere, &output).unwrap();
    refused(folder, &["test", "--update"], &["output.jsonl is a link, which --update leaves alone"]);
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "{}");
}

#[test]
fn personal_data_stays_out_of_the_names_of_folders() {
    let folder = project();
    let folder = folder.path();
    edit(
        &folder.join("pipelines/street_lamps/pipeline.toml"),
        "[\"fault_kind\"]",
        "[\"fault_kind\", \"reporter_phone\"]",
    );
    for verb in ["check", "run"] {
        refused(
            folder,
            &[verb],
            &["pipeline.toml:18: [[sink]] partition_by: column \"reporter_phone\" holds personal data"],
        );
    }
}

#[test]
fn rules_of_others_are_counted() {
    let folder = project();
    let (code, out, _) = huiju(folder.path(), &["check"]);
    assert_eq!(code, 0);
    assert!(out.contains("7 rules; 3 rules of other engines are not run"), "{out}");
}
