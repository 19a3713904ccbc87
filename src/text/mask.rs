//! Hides personal data. What stays visible is what the common conventions of government systems leave: `138****1234`,
//! `0791****3000`, `360102********0014`, `张*`, `王*峰`, and of anything else at most the first and the last character.
//!
//! Masking twice changes nothing, so rows that come masked from a source pass as they are.

mod free_text;
mod numbers;

pub use self::free_text::{mask_text, mask_text_of};

use super::{
    Kind, Phone,
    person::{is_dot, is_han, letters, looks_like_name, names},
    width::{given, half_width, is_gap, trim},
};

/// Keeps three and four digits of a mobile, area code and last four of a landline; drops an extension. Service numbers
/// are nobody's and stay. What is not a phone number is masked as any other value.
pub fn mask_phone(typed: &str) -> String {
    match Phone::parse(typed, None) {
        Ok(phone) if phone.kind() == Kind::Service => phone.as_str().to_owned(),
        Ok(phone) => {
            let head = if phone.kind() == Kind::Mobile { 3 } else { phone.area_length() };
            keep_ends(phone.as_str(), head, 4)
        }
        Err(_) if is_masked(typed) => trim(typed).to_owned(),
        Err(_) => mask_value(typed),
    }
}

/// Keeps the first character, and the last one of three or more where it looks like a name. Placeholders (`未知`, `匿名`)
/// name nobody and stay.
///
/// Of a cell that says more than a name (`业主张三`, `张三/李四`, `13800138000张三`) the names are left, `张*、李*`; of one in
/// which there is none, such as an address, the first character.
pub fn mask_name(typed: &str) -> String {
    let cell = trim(typed);
    if given(cell).is_none() || cell == "匿名" || cell.split('、').all(is_masked_name) {
        return cell.to_owned();
    }
    if looks_like_name(cell) {
        return mask_one(cell, true);
    }
    let (found, in_one) = (names(cell), letters(cell));
    if found.is_empty() || found.iter().any(|name| letters(name) == in_one) {
        return mask_one(cell, looks_like_name(&in_one) || !cell.contains(is_han));
    }
    let masked: Vec<String> =
        found.iter().filter(|name| looks_like_name(name)).map(|name| mask_one(name, true)).collect();
    if masked.is_empty() { mask_one(cell, false) } else { masked.join("、") }
}

fn mask_one(name: &str, keeps_last: bool) -> String {
    match name.chars().count() {
        1 => "*".to_owned(),
        2 => keep_ends(name, 1, 0),
        // `张 三`, `张·三`: two letters, and between them what is no secret.
        _ if name.chars().filter(|c| !is_gap(*c) && !is_dot(*c)).count() <= 2 => keep_ends(name, 1, 0),
        _ => keep_ends(name, 1, usize::from(keeps_last)),
    }
}

/// `张*`, `王*峰`, `阿****提`
fn is_masked_name(name: &str) -> bool {
    let mut rest = name.chars();
    rest.next();
    let rest = rest.as_str();
    rest.starts_with('*') && rest.trim_start_matches('*').chars().nth(1).is_none()
}

/// Keeps division and last four digits of an ID number (18 or 15 characters, valid or not); anything else is masked as
/// any other value.
pub fn mask_id(typed: &str) -> String {
    let id = half_width(trim(typed));
    let looks_like_id = matches!(id.len(), 15 | 18) && id.bytes().all(|c| c.is_ascii_digit() || b"xX*".contains(&c));
    if looks_like_id { keep_ends(&id, 6, 4) } else { mask_value(typed) }
}

/// Masks any personal value: the first and the last character of four or more stay, nothing of a shorter one. Long
/// values are cut, their length is nobody's business.
pub fn mask_value(typed: &str) -> String {
    const MOST_STARS: usize = 20;
    let text = trim(typed);
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    let last = chars.next_back();
    let between = chars.take(MOST_STARS).count();
    match last {
        Some(last) if between >= 2 => format!("{first}{:*<between$}{last}", ""),
        _ => "*".repeat(1 + usize::from(last.is_some()) + between),
    }
}

/// At least three stars in a row, no more digits than a mask leaves, and nothing else that could be somebody's name.
fn is_masked(typed: &str) -> bool {
    typed.contains("***")
        && typed.chars().filter(|c| c.is_numeric()).count() <= 8
        && trim(typed).chars().all(|c| c.is_numeric() || "*-－—+()（） 转".contains(c))
}

/// Stars between the first `head` and the last `tail` characters.
fn keep_ends(text: &str, head: usize, tail: usize) -> String {
    let length = text.chars().count();
    let hidden = head..length.saturating_sub(tail).max(head);
    text.chars().enumerate().map(|(at, c)| if hidden.contains(&at) { '*' } else { c }).collect()
}

#[cfg(test)]
mod tests;
