//! The values people write, one small reader each: what is wanted, and how to write it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono_tz::Tz;
use encoding_rs::Encoding;
use toml::de::DeValue;

use crate::near::nearest;

/// What a value is, in words for a message.
pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn wanted<T>(what: &str, value: &DeValue<'_>) -> Result<T, String> {
    Err(format!("{what} is wanted, this is {}", kind_of(value)))
}

fn str_of<'v>(what: &str, value: &'v DeValue<'_>) -> Result<&'v str, String> {
    match value {
        DeValue::String(text) => Ok(text),
        other => wanted(what, other),
    }
}

/// A text that says something.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    let text = str_of("a text", value)?;
    if text.trim().is_empty() {
        return Err("is empty".into());
    }
    Ok(text.to_owned())
}

/// A list of texts, each once.
fn list(
    value: &DeValue<'_>,
    what: &str,
    read: impl Fn(&DeValue<'_>) -> Result<String, String>,
) -> Result<Vec<String>, String> {
    let DeValue::Array(items) = value else {
        return wanted(&format!("a list of {what}, [\"…\"],"), value);
    };
    let mut texts = Vec::with_capacity(items.len());
    for item in items.iter() {
        let text = read(item.get_ref()).map_err(|why| match item.get_ref().as_str() {
            Some(text) => format!("\"{text}\": {why}"),
            None => format!("in the list {why}"),
        })?;
        if texts.contains(&text) {
            return Err(format!("\"{text}\" is in the list twice"));
        }
        texts.push(text);
    }
    Ok(texts)
}

/// Names of columns; may be empty.
pub(super) fn columns(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    list(value, "columns", text)
}

/// Names of columns, at least one.
pub(super) fn some_columns(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    some(columns(value)?, "column")
}

pub(super) fn topics(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    some(list(value, "topics", topic)?, "topic")
}

fn some(texts: Vec<String>, what: &str) -> Result<Vec<String>, String> {
    if texts.is_empty() { Err(format!("name at least one {what}")) } else { Ok(texts) }
}

/// A name that Kafka takes for a topic.
pub(super) fn topic(value: &DeValue<'_>) -> Result<String, String> {
    let name = word(value)?;
    if name.len() > 249 || name == "." || name == ".." {
        return Err("not a topic name: Kafka takes up to 249 letters, digits, dots, dashes and underscores".into());
    }
    Ok(name)
}

/// A name that becomes part of other names: of files, groups, transactional ids.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, String> {
    let name = word(value)?;
    match name.len() {
        long if long > LONGEST_NAME => Err(format!("has {long} characters: a name has at most {LONGEST_NAME}")),
        _ => Ok(name),
    }
}

/// A file's name has at most 255 bytes, and more is put behind a name of ours.
const LONGEST_NAME: usize = 100;

/// A text of characters that Kafka takes for a name.
fn word(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name.chars().find(|c| !good(*c)) {
        Some(bad) => Err(format!("{bad:?} cannot be in a name: letters, digits, dots, dashes and underscores can")),
        None => Ok(name),
    }
}

/// `host:port`, several separated by commas.
pub(super) fn brokers(value: &DeValue<'_>) -> Result<String, String> {
    let brokers = text(value)?;
    for broker in brokers.split(',').map(str::trim) {
        if broker.contains('@') {
            return Err("a broker has no user and no password in it: write \"kafka1:9092\", and who you are as \
                        sasl.username and sasl.password under [kafka.properties]"
                .into());
        }
        if let Some((_, rest)) = broker.split_once("://") {
            return Err(format!(
                "\"{broker}\" is not a broker: write \"{rest}\"; the protocol is security.protocol under \
                 [kafka.properties]"
            ));
        }
        let (host, port) = broker.rsplit_once(':').unwrap_or((broker, ""));
        let port_is_good = port.parse::<u16>().is_ok_and(|port| port > 0);
        if host.is_empty() || host.contains(char::is_whitespace) || !port_is_good {
            return Err(format!("\"{broker}\" is not a broker: write it like \"kafka1:9092,kafka2:9092\""));
        }
    }
    Ok(brokers)
}

pub(super) fn address(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    let text = str_of("an address", value)?;
    text.parse().map_err(|_| "not an address: write it like \"127.0.0.1:9464\"".to_owned())
}

/// Numbers with units, added up: `60s`, `1h30m`, `250ms`; more than nothing.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    let text = str_of("a duration like \"60s\"", value)?;
    let parsed = parse_duration(text).ok_or("not a duration: write it like \"60s\", \"5m\", \"1h30m\" or \"7d\"")?;
    if parsed.is_zero() {
        return Err("must be longer than nothing".into());
    }
    Ok(parsed)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let millis = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        // Each unit once, the largest first: "5m1h" is more likely a slip than a wish.
        if millis >= last {
            return None;
        }
        last = millis;
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = &rest[letters..];
    }
    (last != u64::MAX).then_some(total)
}

/// Bytes, with a unit: `128MiB` is 2^27, `500kB` is 500,000.
pub(super) fn size(value: &DeValue<'_>) -> Result<usize, String> {
    let text = str_of("a size like \"128MiB\"", value)?;
    let bytes = parse_size(text).ok_or("not a size: write it like \"128MiB\", \"1GiB\" or \"500kB\"")?;
    if bytes < 64 << 10 {
        return Err("must be at least \"64KiB\"".into());
    }
    Ok(bytes)
}

fn parse_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: usize = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim_start() {
        "B" => 1,
        "kB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// A number from 0 to 1.
pub(super) fn share(value: &DeValue<'_>) -> Result<f64, String> {
    let number = match value {
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::Integer(number) => number.as_str().parse().ok(),
        other => return wanted("a share from 0 to 1", other),
    };
    number.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "must be from 0 to 1".into())
}

/// A whole number, at least 1.
pub(super) fn count(value: &DeValue<'_>) -> Result<u64, String> {
    let DeValue::Integer(number) = value else { return wanted("a whole number", value) };
    let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
    number.filter(|n| (1..=i64::MAX as u64).contains(n)).ok_or_else(|| "must be at least 1".into())
}

/// One of a few words, with what each means.
pub(super) fn one_of<T: Copy>(words: &[(&str, T)]) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| {
        let typed = str_of("a text", value)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == typed) {
            return Ok(*meaning);
        }
        let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        Err(format!("must be {}", all.join(" or ")))
    }
}

pub(super) fn charset(value: &DeValue<'_>) -> Result<&'static Encoding, String> {
    const USUAL: [&str; 7] = ["utf-8", "gbk", "gb18030", "gb2312", "big5", "utf-16le", "utf-16be"];
    let typed = str_of("the name of a charset", value)?;
    let known = Encoding::for_label(typed.as_bytes()).filter(|e| *e != encoding_rs::REPLACEMENT);
    known.ok_or_else(|| match nearest(typed, USUAL) {
        Some(near) => format!("not a charset: did you mean \"{near}\"?"),
        None => {
            "not a charset: write \"utf-8\", \"gb18030\", \"gbk\" or another of the WHATWG Encoding Standard".into()
        }
    })
}

pub(super) fn time_zone(value: &DeValue<'_>) -> Result<Tz, String> {
    let typed = str_of("the name of a time zone", value)?;
    typed.parse().map_err(|_| match zone_meant(typed) {
        Some(near) => format!("not a time zone: did you mean \"{near}\"?"),
        None => "not a time zone: write it like \"Asia/Shanghai\"".into(),
    })
}

/// What people write who keep Beijing time, also behind `GMT` or `UTC`.
const BEIJING: [&str; 12] =
    ["cst", "bjt", "beijing", "peking", "shanghai", "chongqing", "china", "8", "+8", "+08", "+0800", "+08:00"];

/// The zone that was most likely meant. A wrong one would be accepted, and all times be wrong: so one letter may differ of a
/// name, but no digit, nor a letter of an abbreviation.
fn zone_meant(typed: &str) -> Option<&'static str> {
    let typed = typed.trim().to_lowercase();
    let place = typed.rsplit('/').next().unwrap_or_default();
    let place = place.trim_start_matches("gmt").trim_start_matches("utc");
    // Etc/GMT+8 is eight hours behind.
    if BEIJING.contains(&place) && !typed.starts_with("etc/") {
        return Some("Asia/Shanghai");
    }
    let allowed = usize::from(typed.len() > 5 && !typed.contains(|c: char| c.is_ascii_digit()));
    let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let alike = names.filter(|name| name.len().abs_diff(typed.len()) <= allowed);
    let slips = alike.map(|name| (strsim::osa_distance(&typed, &name.to_lowercase()), name));
    slips.filter(|(slips, _)| *slips <= allowed).min().map(|(_, name)| name)
}

/// A six-digit division code.
pub(super) fn division(value: &DeValue<'_>) -> Result<String, String> {
    let code = str_of("a division code like \"360100\"", value)?;
    if code.len() != 6 || !code.bytes().all(|b| b.is_ascii_digit()) {
        return Err("not a division code: six digits like \"360100\"".into());
    }
    Ok(code.to_owned())
}

/// Field names joined by dots.
pub(super) fn field_path(value: &DeValue<'_>) -> Result<String, String> {
    let path = text(value)?;
    if path.split('.').any(|field| field.trim().is_empty() || field != field.trim()) {
        return Err("not a path: field names joined by dots, like \"data.orders\"".into());
    }
    // No field of a feed is named like that, and a path that leads nowhere would reject every message.
    let foreign = |field: &str| {
        matches!(field, "$" | "*") || field.starts_with('/') || field.ends_with(']') && field.contains('[')
    };
    if let Some(field) = path.split('.').find(|field| foreign(field)) {
        return Err(format!(
            "\"{field}\" is JSONPath or JSON Pointer: field names joined by dots are wanted, from the message's own \
             fields to the array itself, like \"data.orders\""
        ));
    }
    Ok(path)
}

/// Bytes that a table's folder may have in its name: file systems take 255, and that of the rejects has `_rejects` too.
const NAME_BYTES: usize = 247;

/// A relative folder below the archive's location.
pub(super) fn table_path(value: &DeValue<'_>) -> Result<String, String> {
    let path = text(value)?;
    let good = |part: &str| {
        !part.is_empty() && !part.starts_with(['.', '_']) && !part.contains(['\\', ':']) && part == part.trim()
    };
    if !path.split('/').all(good) {
        return Err("not a table: a folder below the archive's location, like \"work_orders\"".into());
    }
    if let Some(long) = path.split('/').find(|part| part.len() > NAME_BYTES) {
        return Err(format!(
            "\"{long}\" is too long for a folder: at most {NAME_BYTES} bytes, so that `_rejects` fits in"
        ));
    }
    unmistakable(&path)?;
    Ok(path)
}

/// Whether tables can lie in a folder, by where it really is: links are followed as far as they lead anywhere.
pub(super) fn folder_of_tables(folder: &Path) -> Result<(), String> {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    if let Some(file) = whole.ancestors().find(|there| there.exists()).filter(|there| !there.is_dir()) {
        return Err(format!("{file:?} cannot hold tables: it is a file, and they lie in folders"));
    }
    let real = real(folder);
    let fit = real.to_str().ok_or_else(|| "it is not UTF-8: name it otherwise".to_owned()).and_then(unmistakable);
    fit.map_err(|why| format!("{real:?} cannot hold tables: {why}"))
}

/// Where a path leads, as far as it leads anywhere: links are followed.
pub(super) fn real(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = |there: &Path| Some(there.canonicalize().ok()?.join(whole.strip_prefix(there).ok()?));
    whole.ancestors().find_map(real).unwrap_or_else(|| whole.clone())
}

/// What reads a Delta log makes a URL of a table's path and decodes it twice: of `a%20b` it reads the log of `a b`, by which
/// a vacuum would delete the files of `a%20b`.
fn unmistakable(path: &str) -> Result<(), String> {
    let is_hex = |at: usize| path.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    if let Some((at, _)) = path.match_indices('%').find(|(at, _)| is_hex(at + 1) && is_hex(at + 2)) {
        return Err(format!("\"{}\" in it is read as another character: name it otherwise", &path[at..at + 3]));
    }
    match path.chars().find(|c| c.is_control() || *c == '\\') {
        Some(bad) => Err(format!("{bad:?} in it is not read as it is written: name it otherwise")),
        None => Ok(()),
    }
}
