//! What the engine and its parser say, in words for those who write SQL.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field};
use datafusion::{
    common::DataFusionError,
    sql::sqlparser::{
        ast::{self, AccessExpr, FunctionArguments, visit_expressions},
        dialect::GenericDialect,
        keywords::Keyword,
        parser::Parser,
        tokenizer::{Location, Token, Tokenizer},
    },
};

use super::chain::TOO_DEEP;
use crate::near::did_you_mean;

/// DataFusion's innermost reason, without prefixes and its second half of hints.
pub(super) fn shorten(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let mut text = text.as_str();
    // What a function says of its arguments stands between what the engine says of functions.
    if let Some((_, said)) = text.split_once("user-defined coercion failed with: ") {
        text = said.split(". No function matches").next().unwrap_or(said);
    }
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or(text);
    match lines.next_back() {
        Some(hint) if first.starts_with("Invalid function") => no_function(first, hint),
        _ if first.starts_with("SQL error: ParserError(") => not_sql(first),
        // The regex library draws a picture in between.
        Some(last) if first.ends_with("parse error:") => format!("{first} {}", last.trim_start_matches("error: ")),
        _ if first.ends_with("Syntax(") => {
            let why = text.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default();
            format!("regex parse error: {why}")
        }
        _ if text.contains("failed to match any signature") || text.contains("No function matches") => unfit(text),
        _ => plain(first),
    }
}

/// That a function of the engine does not take what it is given, without all that it would take.
fn unfit(said: &str) -> String {
    let call = said.split("types '").nth(1).and_then(|rest| rest.split('\'').next());
    let name = call.or_else(|| said.split("unction '").nth(1)?.split('\'').next()).unwrap_or("the function");
    let types = [("Utf8", "VARCHAR"), ("Int64", "BIGINT"), ("Float64", "DOUBLE")];
    let name = types.into_iter().fold(name.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours));
    let todo = match name.starts_with("array_") {
        true => "a list of texts is made with json_texts(…) or string_to_array(…, ',')",
        false => "the fields of a message are texts, read them first, for instance with TRY_CAST(… AS DOUBLE)",
    };
    format!("{name} does not fit: {todo}")
}

const PREFIXES: &[&str] = &[
    "External error: ",
    "Schema error: ",
    "Error during planning: ",
    "Execution error: ",
    "Resources exhausted: ",
    "Arrow error: ",
    "Compute error: ",
    "Invalid argument error: ",
    "Parser error: ",
    "Cast error: ",
];

/// What the parser says of a text.
pub(super) fn not_sql(said: &str) -> String {
    let said = said.trim_start_matches("SQL error: ParserError(\"").trim_end_matches("\")");
    let said = said.trim_start_matches("sql parser error: ");
    if said.contains("recursion limit exceeded") {
        return TOO_DEEP.to_owned();
    }
    if let Some((_, token)) = said.split_once("No infix parser for token ") {
        let word = token.split('"').nth(1).unwrap_or(token);
        let place = said.rsplit_once(" at Line: ").map_or(String::new(), |(_, place)| format!(" at Line: {place}"));
        return format!("this is not SQL: {word} is no operator{place}");
    }
    let (what, place) = said.rfind(" at Line: ").map_or((said, ""), |at| said.split_at(at));
    format!("this is not SQL: {}{}{place}", what.replace("found: EOF", "found: the end"), otherwise(what))
}

/// What to write in place of the word or the sign that was found.
fn otherwise(said: &str) -> String {
    let Some((_, found)) = said.rsplit_once("found: ") else { return String::new() };
    if let Some((wide, plain)) = found.chars().next().and_then(|wide| Some((wide, half_width(wide)?))) {
        return format!(" (write {plain} in place of {wide})");
    }
    if NAMES.iter().any(|name| name.eq_ignore_ascii_case(found)) {
        return format!(" (a word of SQL: if it names a field, write it in double quotes, \"{found}\")");
    }
    let is_name = found.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '"' | '\''));
    let ended = said.contains("Expected: end of statement");
    if ended && is_name { " (is a comma missing before it?)".to_owned() } else { String::new() }
}

/// The sign of SQL that a Chinese keyboard writes so.
fn half_width(wide: char) -> Option<char> {
    Some(match wide {
        '‘' | '’' | '＇' => '\'',
        '“' | '”' | '＂' => '"',
        '，' | '、' => ',',
        '。' => '.',
        '；' => ';',
        '！'..='～' => char::from_u32(u32::from(wide) - 0xFEE0)?,
        _ => return None,
    })
}

/// Words of SQL that fields are named by, and at which the columns end unless they are in quotes.
const NAMES: &[&str] = &["order", "group", "values", "select", "with", "view", "sort", "cluster", "lateral"];

/// That a function is not there, and the one that the engine takes for meant if it is like it.
fn no_function(said: &str, hint: &str) -> String {
    let quoted = |text: &str| text.split('\'').nth(1).unwrap_or_default().to_owned();
    let (function, meant) = (quoted(said), quoted(hint));
    let said = said.trim_end_matches('.');
    match ELSEWHERE.iter().find(|(names, _)| names.split(' ').any(|name| name.eq_ignore_ascii_case(&function))) {
        Some((_, here)) => format!("{said}: {here}"),
        None => format!("{said}{}", did_you_mean(&function, [meant.as_str()])),
    }
}

/// Functions that other systems have, and what is here in their place.
const ELSEWHERE: &[(&str, &str)] = &[
    ("if iif decode", "write CASE WHEN … THEN … ELSE … END"),
    (
        "md5 sha1 sha224 sha256 sha384 sha512 digest hmac crc32",
        "a digest hides no phone and no ID, whoever goes through all numbers finds it: use mask_phone(…), mask_id(…)",
    ),
    ("ifnull isnull zeroifnull", "use coalesce(…, …)"),
    ("len datalength lengthb", "use char_length(…) for characters, octet_length(…) for bytes"),
    ("regexp_extract regexp_substr regex_extract", "use regexp_match(…, 'pattern')[1]"),
    ("rlike regexp regexp_contains", "use regexp_like(…, 'pattern')"),
    ("group_concat listagg wm_concat", "a stage sees one row at a time: use concat_ws(',', …) for its columns"),
    ("substring_index", "use split_part(…, ',', 1)"),
    (
        "json_extract json_value json_query get_json_object json_extract_string json_unquote",
        "the source's map names what is in an object, data.no; json_texts(…) makes a list of a JSON array",
    ),
    ("strptime str_to_date parse_datetime todatetime convert_tz from_unixtime", "use local_time(…)"),
    ("strftime date_format format_datetime", "use to_char(…, '%Y-%m-%d')"),
    (
        "date_diff datediff timestampdiff timestamp_diff",
        "take one from the other: a - b > INTERVAL '15 days', or CAST(a - b AS BIGINT), microseconds",
    ),
    ("date_add dateadd adddate timestampadd date_sub", "add to it, or take from it: a + INTERVAL '1 day'"),
    ("year month day hour minute", "use date_part('year', …)"),
    ("safe_cast to_number tonumber toint32", "use TRY_CAST(… AS DOUBLE)"),
];

/// That a name is taken for a word of SQL.
pub(super) fn wants_quotes(word: &str) -> String {
    format!("{word} is a word of SQL: write the name of a field in double quotes, \"{word}\"")
}

/// The first column of a text that is nothing but a word, at which SQL ends the columns or begins something else: `limit` in
/// `SELECT id, limit AS upto`. And its line.
pub(super) fn taken_for_sql(sql: &str) -> Option<(usize, String)> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
    let tokens: Vec<_> = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let is_column = |word: &str| {
        let parsed = Parser::parse_sql(&GenericDialect {}, &format!("SELECT a, {word} AS x FROM t")).ok();
        let parsed = parsed.and_then(|mut parsed| parsed.pop());
        let Some(ast::Statement::Query(query)) = parsed else { return false };
        let ast::SetExpr::Select(select) = *query.body else { return false };
        matches!(&select.projection[..], [_, ast::SelectItem::ExprWithAlias { .. }])
    };
    let word = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.clone()),
        _ => None,
    };
    let is = |token: &Token, keyword: Keyword| word(token).is_some_and(|word| word.keyword == keyword);
    // These end a part of a CASE, in which a comma is the mistake.
    let parts = [Keyword::END, Keyword::WHEN, Keyword::THEN, Keyword::ELSE];
    tokens.windows(3).find_map(|three| {
        let [before, name, behind] = [&three[0].token, &three[1].token, &three[2].token];
        let begins = *before == Token::Comma;
        let ends = *behind == Token::Comma || is(behind, Keyword::AS) || is(behind, Keyword::FROM);
        let name = word(name).filter(|name| begins && ends && name.keyword != Keyword::NoKeyword)?;
        let name = Some(name).filter(|name| !parts.contains(&name.keyword))?;
        (!is_column(&name.value)).then(|| (three[1].span.start.line as usize, name.value))
    })
}

/// Where the names of columns begin that no AS stands before: the SQL of `a b` is right, but where a comma was forgotten
/// it makes one column of two, the first under the name of the second.
pub(super) fn names_without_as(sql: &str, select: &ast::Select) -> Vec<Location> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().unwrap_or_default();
    let tokens: Vec<_> = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let name = |item: &ast::SelectItem| match item {
        ast::SelectItem::ExprWithAlias { alias, .. } => Some(alias.span.start),
        _ => None,
    };
    let is_as = |token: &Token| matches!(token, Token::Word(word) if word.keyword == Keyword::AS);
    let bare = |start: &Location| {
        let at = tokens.partition_point(|token| token.span.start < *start);
        at > 0 && tokens.get(at).is_some_and(|token| token.span.start == *start) && !is_as(&tokens[at - 1].token)
    };
    select.projection.iter().filter_map(name).filter(bare).collect()
}

/// What is wrong with a path of names, of which the engine would say nothing that helps.
pub(super) fn misnamed(expr: &ast::Expr) -> Option<String> {
    call_as_name(expr).map(|word| wants_quotes(&word)).or_else(|| dot_behind_subscript(expr))
}

/// `a['b'].c`, which the engine does not know.
fn dot_behind_subscript(expr: &ast::Expr) -> Option<String> {
    let ast::Expr::CompoundFieldAccess { root, access_chain } = expr else { return None };
    let first = access_chain.iter().position(|access| matches!(access, AccessExpr::Subscript(_)))?;
    let (before, behind) = access_chain.split_at(first);
    let bracketed = |access: &AccessExpr| match access {
        AccessExpr::Dot(name) => format!("['{}']", name.to_string().trim_matches('"')),
        AccessExpr::Subscript(_) => access.to_string(),
    };
    let is_wrong = behind.iter().any(|access| matches!(access, AccessExpr::Dot(_)));
    let before: String = before.iter().map(ToString::to_string).collect();
    let behind: String = behind.iter().map(bracketed).collect();
    is_wrong.then(|| format!("\"{expr}\": behind a ['name'] no point can stand: write {root}{before}{behind}"))
}

/// A word in a path of names that is a call without brackets: `user` in `caller.user` and in `user.name`.
pub(super) fn call_as_name(expr: &ast::Expr) -> Option<String> {
    if let ast::Expr::Function(call) = expr {
        let bare = matches!(call.args, FunctionArguments::None) && call.name.0.len() > 1;
        return call.name.0.last().filter(|_| bare).map(ToString::to_string);
    }
    let ast::Expr::CompoundFieldAccess { root, access_chain } = expr else { return None };
    let dots = access_chain.iter().filter_map(|access| match access {
        AccessExpr::Dot(expr) => Some(expr),
        AccessExpr::Subscript(_) => None,
    });
    std::iter::once(root.as_ref()).chain(dots).find_map(|part| match part {
        ast::Expr::Function(call) if matches!(call.args, FunctionArguments::None) => Some(call.name.to_string()),
        _ => None,
    })
}

/// What is said of a name that is not there, if it stands in double quotes in the SQL: most likely it is a text.
pub(super) fn in_quotes(sql: &str, said: String) -> String {
    let Some((name, more)) = said.strip_prefix("No field named ").and_then(|rest| rest.split_once('.')) else {
        return said;
    };
    let name = name.trim_matches('"');
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().unwrap_or_default();
    let quoted =
        |token: &Token| matches!(token, Token::Word(word) if word.quote_style == Some('"') && word.value == name);
    if !tokens.iter().any(quoted) {
        return said;
    }
    // The engine's own idea of what is near is a wide one: "clean.result" for "call_result".
    let meant = more.split('\'').nth(1).unwrap_or_default();
    let meant = meant.rsplit('.').next().unwrap_or_default().trim_matches('"');
    match did_you_mean(name, Some(meant).filter(|meant| !meant.is_empty())) {
        near if near.is_empty() => {
            format!("No field named \"{name}\": if it is a text, write it in single quotes, '{name}'")
        }
        near => format!("No field named \"{name}\"{near}"),
    }
}

/// The name that a difference of two names is likely to be: `wait-ms`.
pub(super) fn dashed(item: &ast::SelectItem) -> Option<String> {
    let mut found = None;
    let _ = visit_expressions(item, |expr| match expr {
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Minus, right } => match (&**left, &**right) {
            (ast::Expr::Identifier(left), ast::Expr::Identifier(right)) => {
                found = Some(format!("{}-{}", left.value, right.value));
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        },
        _ => ControlFlow::Continue(()),
    });
    found
}

/// Names that are calls unless they are in quotes.
const CALLS: &[&str] = &["user", "current_user", "session_user", "current_catalog"];

/// A reason without the engine's own words for what it has read.
fn plain(said: &str) -> String {
    if let Some(name) = said.strip_prefix("No field named ").and_then(|rest| rest.strip_suffix('.')) {
        let last = name.rsplit('.').next().unwrap_or(name).trim_matches('"');
        if CALLS.iter().any(|call| call.eq_ignore_ascii_case(last)) {
            return format!(
                "No field named {name}: {last} is a word of SQL, the name of a field wants quotes, \"{last}\""
            );
        }
    }
    if let Some((_, node)) = said.split_once("Unsupported ast node in sqltorel: ") {
        let node = node.split(['(', ' ', '{']).next().unwrap_or(node);
        return match node {
            "Convert" => "CONVERT is not there: use CAST(… AS …)".to_owned(),
            "Collate" => "COLLATE is not there: texts are compared by their characters".to_owned(),
            "RLike" => "RLIKE is not there: use regexp_like(…, 'pattern')".to_owned(),
            "Identifier" | "CompoundIdentifier" => {
                "a column cannot stand there: AT TIME ZONE wants a text, 'Asia/Shanghai'".to_owned()
            }
            other => format!("{} is not there", other.to_uppercase()),
        };
    }
    if said.contains("Unsupported interval argument") {
        return "INTERVAL wants a text behind it, '1 day'; the name of a field wants quotes, \"interval\"".to_owned();
    }
    // `… Substring { expr: Identifier(Ident { value: "id", …`
    match said.split_once(" { ") {
        Some((before, _)) if said.contains("Ident {") => {
            before.rsplit_once(' ').map_or(before, |(words, _)| words).to_owned()
        }
        _ => said.to_owned(),
    }
}

/// A type as SQL calls it.
pub(super) fn in_words(kind: &DataType) -> String {
    use DataType::*;
    let named = |fields: &[&Field]| {
        let named = fields.iter().map(|field| format!("{} {}", field.name(), in_words(field.data_type())));
        named.collect::<Vec<_>>().join(", ")
    };
    match kind {
        Utf8 | Utf8View | LargeUtf8 => "VARCHAR".to_owned(),
        Boolean => "BOOLEAN".to_owned(),
        Int8 => "TINYINT".to_owned(),
        Int16 => "SMALLINT".to_owned(),
        Int32 => "INT".to_owned(),
        Int64 => "BIGINT".to_owned(),
        UInt8 => "TINYINT UNSIGNED".to_owned(),
        UInt16 => "SMALLINT UNSIGNED".to_owned(),
        UInt32 => "INT UNSIGNED".to_owned(),
        UInt64 => "BIGINT UNSIGNED".to_owned(),
        Float16 | Float32 => "FLOAT".to_owned(),
        Float64 => "DOUBLE".to_owned(),
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale)
        | Decimal256(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        Date32 | Date64 => "DATE".to_owned(),
        Time32(_) | Time64(_) => "TIME".to_owned(),
        Timestamp(_, None) => "TIMESTAMP WITHOUT TIME ZONE".to_owned(),
        Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        Interval(_) | Duration(_) => "INTERVAL".to_owned(),
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => "BYTEA".to_owned(),
        Null => "NULL".to_owned(),
        Dictionary(_, of) => in_words(of),
        List(element) | LargeList(element) | FixedSizeList(element, _) | ListView(element) | LargeListView(element) => {
            format!("ARRAY of {}", in_words(element.data_type()))
        }
        Struct(fields) => format!("STRUCT of {}", named(&fields.iter().map(AsRef::as_ref).collect::<Vec<_>>())),
        Map(entries, _) => match entries.data_type() {
            Struct(of) if of.len() == 2 => {
                format!("MAP of {} to {}", in_words(of[0].data_type()), in_words(of[1].data_type()))
            }
            other => format!("MAP of {}", in_words(other)),
        },
        other => other.to_string(),
    }
}
