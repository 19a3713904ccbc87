use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::data::{self, Fields, Text, TextFields};

fn fields() -> Fields {
    let texts = TextFields { title: "title".into(), content: "content".into() };
    Fields { texts, label: "label".into() }
}

fn file(name: &str, bytes: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn refused(name: &str, bytes: impl AsRef<[u8]>) -> String {
    let (_folder, path) = file(name, bytes);
    data::labelled(&path, &fields()).unwrap_err().to_string()
}

const LINE: &str = r#"{"title":"路灯","content":"不亮","label":"城建"}"#;

#[test]
fn json_lines_and_csv_say_the_same() {
    let lines = format!("\u{feff}{LINE}\n\n{}\n", LINE.replace("城建", "教育")).repeat(2).replace("\n\u{feff}", "\n");
    let table = "label,title,content,other\n城建,路灯,不亮,1\n教育,路灯,不亮,2\n城建,路灯,不亮,3\n教育,路灯,不亮,4\n";
    let (_one, lines) = file("a.jsonl", lines);
    let (_two, table) = file("a.csv", table);
    let (lines, table) = (data::labelled(&lines, &fields()).unwrap(), data::labelled(&table, &fields()).unwrap());
    assert_eq!(lines.classes, ["城建", "教育"].map(str::to_owned));
    assert_eq!(lines.classes, table.classes);
    assert_eq!(lines.examples, table.examples);
    assert_eq!(lines.examples.len(), 4);
}

#[test]
fn wrong_data_are_refused_with_their_line_and_without_their_text() {
    for (bytes, says) in [
        (String::new(), "has no column `label`"),
        (format!("{LINE}\n{{\"title\":\"秘密\""), "a.jsonl:2: this is no JSON object"),
        (format!("{LINE}\n{{\"title\":\"秘密\",\"content\":\"\"}}"), "a.jsonl:2: there is no field `label`"),
        (format!("{LINE}\n{{\"title\":7,\"label\":\"a\"}}"), "a.jsonl:2: field `title` is no text"),
        (format!("{LINE}\n{{\"label\":\"a\"}}"), "a.jsonl:2: there is no field `content`"),
        (format!("{LINE}\n{LINE}"), "have 1 labels"),
        (format!("{LINE}\n{}", LINE.replace("城建", "秘密")), "a.jsonl:1: the label of this text has no other text"),
        (LINE.replace("城建", " \\t"), "a.jsonl:1: the label is empty"),
        (LINE.replace("城建", "秘密\\u001b[2J"), "a.jsonl:1: the label has a control character in it"),
        (LINE.replace("城建", &"秘密".repeat(33)), "a.jsonl:1: the label is longer than 64 characters"),
        (
            format!("{LINE}\n{LINE}\n{}", LINE.replace("城建", "教育")),
            "a.jsonl:3: the label of this text has no other text",
        ),
        ("label,title,content\n\na,\"秘密,c\n".to_owned(), "a.jsonl:3: a quote is opened here and never closed"),
        ("label,title\n\n\na,秘密,c\n".to_owned(), "a.jsonl:4: this row has more or fewer values"),
        ("label,title,content\n\n\n ,秘密,c\n".to_owned(), "a.jsonl:4: the label is empty"),
        ("label,title\na,秘密,c\n".to_owned(), "a.jsonl:2: this row has more or fewer values"),
        ("label,title\na,秘密\nb,秘密\n".to_owned(), "a.jsonl: no text has a field `content`: say which field it is"),
        (LINE.replace("content", "contnet"), "a.jsonl: no text has a field `content`"),
        ("label,title,content,title\na,b,秘密,c\n".to_owned(), "a.jsonl:1: column 4 of the header has the name"),
    ] {
        let error = refused("a.jsonl", bytes);
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("秘密"), "{error}");
    }
    assert!(refused("a.jsonl", [LINE.as_bytes(), b"\n\xff\xfe"].concat()).contains("a.jsonl:2: this is not UTF-8"));
}

#[test]
fn a_label_that_the_weights_do_not_have_is_not_repeated() {
    let (_folder, path) = file("a.jsonl", LINE);
    let error = data::labelled_as(&path, &fields(), &["教育".to_owned(), "卫生".to_owned()]).unwrap_err().to_string();
    assert!(error.contains(":1: the label is no class of the weights, which have 教育, 卫生"), "{error}");
    assert!(error.contains("--label") && !error.contains("城建"), "{error}");
}

#[test]
fn data_are_files() {
    let error = data::labelled("/dev/zero".as_ref(), &fields()).unwrap_err();
    assert_eq!(error.to_string(), "read /dev/zero: it is no file");
}

fn texts(path: &Path) -> Result<Vec<Text>, String> {
    let mut texts = Vec::new();
    let done = data::each(Some(path), &fields().texts, |text, _| {
        texts.push(text.clone());
        true
    });
    done.map(|_| texts).map_err(|error| error.to_string())
}

#[test]
fn plain_lines_are_contents() {
    let (_folder, path) = file("a.txt", "路灯不亮\n\n学费太高");
    let content = |content: &str| Text { title: String::new(), content: content.to_owned() };
    assert_eq!(texts(&path), Ok(vec![content("路灯不亮"), content(""), content("学费太高")]));
    let (_folder, path) = file("a.txt", "\u{feff}\r\n \n路灯{\r\n");
    assert_eq!(texts(&path), Ok(vec![content(""), content(""), content("路灯{")]));
    let (_folder, path) = file("a.txt", "\n\n");
    assert_eq!(texts(&path), Ok(vec![content(""), content("")]));
    let (_folder, path) = file("a.jsonl", "\n{\"title\":\"a\"}\n\n{\"content\":\"b\",\"title\":null}\n");
    let found = texts(&path).unwrap();
    assert_eq!((found.len(), found[0].title.as_str(), found[1].content.as_str()), (2, "a", "b"));
    for name in ["a.csv", "a.CSV"] {
        let (_folder, path) = file(name, "title,content\n路灯,不亮\n");
        assert_eq!(texts(&path), Ok(vec![Text { title: "路灯".to_owned(), content: "不亮".to_owned() }]), "{name}");
    }
    let (_folder, path) = file("a.jsonl", "{\"title\":\"a\"}\n路灯\n");
    assert!(texts(&path).unwrap_err().contains("a.jsonl:2: this is no JSON object"));
    assert!(texts("/dev/zero".as_ref()).unwrap_err().contains("/dev/zero:1: the line is longer than 16 MiB"));
}
