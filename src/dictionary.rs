//! `huiju docs`: the contract as a data dictionary in Chinese, for people who will never open a YAML file.
//!
//! Pure text from contract and code tables; the reject codes that huiju itself gives are listed here too, so that
//! whoever gets a receipt finds every code on one page.

use std::fmt::Write;

use crate::contract::{
    Column, Contract, Kind, Rule, Severity,
    codes::{CodeTable, CodeTables},
};

/// Codes that huiju gives by itself; the names of the contract's rules come on top.
const REJECT_CODES: &[(&str, &str)] = &[
    ("decode.empty", "报文为空"),
    ("decode.tombstone", "报文只有键、没有内容（删除标记）"),
    ("decode.encoding", "报文不符合约定的字符编码"),
    ("decode.syntax", "报文不是合法的 JSON，例如被截断"),
    ("decode.trailing", "一条报文之后还有多余内容"),
    ("decode.not_an_object", "报文不是 JSON 对象"),
    ("decode.duplicate_key", "同一对象中字段重复"),
    ("decode.too_deep", "嵌套层数过多"),
    ("decode.too_large", "报文过大，未读取"),
    ("decode.no_rows", "报文中没有约定的数据数组，或数组为空"),
    ("sql.failed", "映射或清洗语句无法处理该行"),
    ("missing", "必填字段缺失或为空"),
    ("unreadable", "值无法按字段类型读取，例如日期不存在"),
    ("unknown_code", "值不在代码表中"),
    ("out_of_range", "日期或时刻不在公元 1 至 9999 年之内"),
    ("too_long", "文本超过长度上限"),
    ("too_large", "整行超过一条消息的容量"),
    ("gap.retention", "报文在读取之前已过保留期"),
    ("gap.truncated", "文件被截短或改写过，该行不完整"),
];

/// The whole dictionary as Markdown.
pub fn dictionary(contract: &Contract, codes: &CodeTables) -> String {
    let mut text = String::new();
    head(&mut text, contract);
    columns(&mut text, contract);
    rules(&mut text, contract);
    code_tables(&mut text, contract, codes);
    reject_codes(&mut text);
    text
}

// Writing to a String cannot fail.
macro_rules! line {
    ($text:expr) => { $text.push('\n') };
    ($text:expr, $($arg:tt)*) => { let _ = writeln!($text, $($arg)*); };
}

fn head(text: &mut String, contract: &Contract) {
    line!(text, "# {}数据字典", contract.title);
    line!(text);
    line!(text, "契约 `{}`，版本 {}。", contract.name, contract.version);
    if contract.assumed {
        line!(text);
        line!(text, "> 本契约为建议稿：字段、代码和长度均为假定，以正式发布的标准为准。");
    }
    if !contract.description.is_empty() {
        line!(text);
        line!(text, "{}", contract.description);
    }
}

fn columns(text: &mut String, contract: &Contract) {
    line!(text);
    line!(text, "## 字段");
    line!(text);
    line!(text, "| 字段 | 名称 | 类型 | 必填 | 代码表 | 含义 | 分类 | 校验 |");
    line!(text, "| --- | --- | --- | --- | --- | --- | --- | --- |");
    for column in &contract.columns {
        let title = if *column.title == *column.name { "" } else { &column.title };
        let codes = column.codes.as_ref().map_or(String::new(), |table| format!("`{table}`"));
        line!(
            text,
            "| `{}` | {} | {} | {} | {codes} | {} | {} | {} |",
            column.name,
            cell(title),
            type_of(column),
            if column.required { "是" } else { "" },
            cell(&meaning(column, contract)),
            cell(class(column)),
            cell(&checks(column, contract)),
        );
    }
}

fn type_of(column: &Column) -> String {
    let name = match &column.kind {
        Kind::Text => "文本".to_owned(),
        Kind::Integer => "整数（32 位）".to_owned(),
        Kind::Long => "整数（64 位）".to_owned(),
        Kind::Double => "浮点数".to_owned(),
        Kind::Decimal { precision, scale } => format!("小数（共 {precision} 位，小数点后 {scale} 位）"),
        Kind::Boolean => "是/否".to_owned(),
        Kind::Timestamp => "时间（UTC，微秒）".to_owned(),
        Kind::Date => "日期".to_owned(),
        Kind::Texts => "文本列表".to_owned(),
    };
    match column.max_length {
        Some(max) => format!("{name} ≤{max}"),
        None => name,
    }
}

/// What the contract calls the column in view of who may see it.
fn class(column: &Column) -> &str {
    if column.personal { "个人信息" } else { column.classification.as_deref().unwrap_or_default() }
}

fn meaning(column: &Column, contract: &Contract) -> String {
    let mut text = column.description.clone();
    if let Some(raw) = &column.raw {
        text.push_str(&format!("（原文见 `{raw}`）"));
    }
    if contract.flags.as_ref() == Some(&column.name) {
        text.push_str("（每项为“字段:代码”）");
    }
    text
}

/// What happens to a value that is not as it should be.
fn checks(column: &Column, contract: &Contract) -> String {
    let mut parts = Vec::new();
    if column.codes.is_some() || column.raw.is_some() {
        let code = if column.codes.is_some() { "unknown_code" } else { "unreadable" };
        parts.push(format!("`{code}`：{}", consequence(column.unread())));
    }
    if column.max_length.is_some() {
        parts.push(format!("`too_long`：{}", consequence(column.unknown)));
    }
    let own = contract.rules.iter().filter(|rule| rule.column.as_ref() == Some(&column.name));
    parts.extend(own.map(|rule| format!("`{}`：{}", rule.name, consequence(rule.severity))));
    parts.join("；")
}

fn consequence(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "拒收",
        Severity::Warning => "保留并标记",
    }
}

fn rules(text: &mut String, contract: &Contract) {
    if contract.rules.is_empty() {
        return;
    }
    line!(text);
    line!(text, "## 质量规则");
    line!(text);
    line!(
        text,
        "条件为假时规则不通过；条件无法判断（为空）时视为通过；条件无法计算（如除以零）时，标记类规则视为不通过，拒收类规则按 `sql.failed` 拒收。"
    );
    line!(text);
    line!(text, "| 代码 | 字段 | 不通过的原因 | 处理 | 条件 |");
    line!(text, "| --- | --- | --- | --- | --- |");
    for Rule { name, column, predicate, severity, description, .. } in &contract.rules {
        let column = column.as_ref().map_or(String::new(), |column| format!("`{column}`"));
        let (reason, condition) = (cell(description), cell(predicate));
        line!(text, "| `{name}` | {column} | {reason} | {} | `{condition}` |", consequence(*severity));
    }
}

/// The tables that the contract uses, in the order of their first use.
fn code_tables(text: &mut String, contract: &Contract, codes: &CodeTables) {
    let mut used: Vec<&str> = Vec::new();
    for table in contract.columns.iter().filter_map(|column| column.codes.as_deref()) {
        if !used.contains(&table) {
            used.push(table);
        }
    }
    if used.is_empty() {
        return;
    }
    line!(text);
    line!(text, "## 代码表");
    for name in used {
        line!(text);
        line!(text, "### `{name}`");
        line!(text);
        match codes.get(name) {
            Some(table) => code_table(text, table),
            None => {
                line!(text, "见 `codes/{name}.csv`。");
            }
        }
    }
}

fn code_table(text: &mut String, table: &CodeTable) {
    line!(text, "| 代码 | 名称 | 别名 | 有效期 |");
    line!(text, "| --- | --- | --- | --- |");
    for code in &table.codes {
        let validity = match (code.valid_from, code.valid_to) {
            (None, None) => String::new(),
            (Some(from), None) => format!("{from} 起"),
            (None, Some(to)) => format!("至 {to}"),
            (Some(from), Some(to)) => format!("{from} 至 {to}"),
        };
        line!(text, "| `{}` | {} | {} | {validity} |", code.code, cell(&code.label), cell(&code.aliases.join(" ｜ ")));
    }
}

fn reject_codes(text: &mut String) {
    line!(text);
    line!(text, "## 拒收代码");
    line!(text);
    line!(
        text,
        "除上面的质量规则外，数据可能因以下原因被拒收；`unknown_code`、`unreadable`、`too_long` 也可能只作标记，见各字段的校验。"
    );
    line!(text);
    line!(text, "| 代码 | 含义 |");
    line!(text, "| --- | --- |");
    for (code, meaning) in REJECT_CODES {
        line!(text, "| `{code}` | {meaning} |");
    }
}

/// A text as it can stand in a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect_file;

    use super::*;
    use crate::contract::odcs;

    #[test]
    fn dictionary_of_a_contract() {
        let folder = Path::new("tests/fixtures/street_lamps/schemas");
        let contract = odcs::read(folder, "street_lamp_faults").expect("a good contract");
        let codes = CodeTables::read(folder).expect("good tables");
        let expected = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/street_lamps/dictionary.md");
        expect_file![expected].assert_eq(&dictionary(&contract, &codes));
    }

    /// `missing` and `unreadable` reject such a row, so nothing may promise that it comes.
    #[test]
    fn a_required_text_that_cannot_be_read_is_rejected_and_said_to_be() {
        let fixture = Path::new("tests/fixtures/street_lamps/schemas");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("codes")).expect("a folder");
        for table in ["codes/fault_kind.csv", "codes/pole_state.csv"] {
            std::fs::copy(fixture.join(table), folder.path().join(table)).expect("a table");
        }
        let text = std::fs::read_to_string(fixture.join("street_lamp_faults.odcs.yaml")).expect("the fixture");
        let text = text.replace("          - { property: codes, value: fault_kind }\n", "");
        let read = |text: &str| {
            std::fs::write(folder.path().join("street_lamp_faults.odcs.yaml"), text).expect("a file");
            odcs::read(folder.path(), "street_lamp_faults")
        };
        let refused = read(&text).expect_err("it cannot be a warning");
        assert_eq!(
            refused[0].what,
            "column `fault_kind` is required, so a value that cannot be read is an error: remove `unknown`, or make the column not required"
        );
        let contract = read(&text.replace("          - { property: unknown, value: warning }\n", "")).expect("good");
        let said = dictionary(&contract, &CodeTables::default());
        let line = said.lines().find(|line| line.starts_with("| `fault_kind` ")).expect("its line");
        assert!(line.ends_with("| `unreadable`：拒收；`too_long`：保留并标记 |"), "{line}");
        let schema = contract.json_schema(&CodeTables::default());
        assert!(schema["required"].as_array().expect("a list").contains(&"fault_kind".into()), "{schema}");
    }

    #[test]
    fn a_cell_stays_in_its_row() {
        assert_eq!(cell("a || b\n c"), "a \\|\\| b c");
    }
}
