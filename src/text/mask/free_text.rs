//! Finds phone numbers, ID numbers, bank cards, e-mail addresses, WeChat ids and car plates inside a text, and masks them
//! in place.
//!
//! In doubt it hides: a run of 15 to 19 digits is masked although it may be an order number. It does not find names and
//! addresses; a text stays personal data after this.

use std::borrow::Cow;

use super::{mask_one, numbers::Run};
use crate::text::{
    person::{is_dot, is_han, names},
    width::{is_gap, narrow, next_byte},
};

/// Masks what identifies a person inside `text`. Separators inside a number stay: `138-****-8000`.
pub fn mask_text(text: &str) -> Cow<'_, str> {
    let mut masked = Masked { text, out: String::new(), copied: 0 };
    let mut at = 0;
    let mut addresses = Addresses { text, none_before: 0 };
    while let Some(next) = next_byte(text.as_bytes(), at, |byte| byte.is_ascii_alphanumeric() || byte == 0xEF) {
        at = next;
        if is_wide_punctuation(&text.as_bytes()[at..]) {
            at += 3;
            continue;
        }
        let Some(c) = text[at..].chars().next() else { break };
        let ascii = narrow(c);
        if let Some(address) = addresses.at(at) {
            at = address.mask(&mut masked);
            continue;
        }
        at = match ascii {
            '0'..='9' => Run::read(text, at, &mut addresses).mask(&mut masked),
            'a'..='z' | 'A'..='Z' => {
                let plate = is_behind_province(&text[..at]).then(|| mask_plate(&mut masked, at)).flatten();
                plate.or_else(|| mask_chat_id(&mut masked, at)).unwrap_or(at + c.len_utf8())
            }
            _ => at + c.len_utf8(),
        };
    }
    masked.finish()
}

/// The same of a text by somebody whose name we know, and however the cell of the name spells it (`张　三`, `张三先生`,
/// `张三（业主）`, `张三、李四`): it is hidden as [`mask_name`] does, also with blanks or dots between its letters. A name of
/// one character, and other people's names, stay.
pub fn mask_text_of<'t>(text: &'t str, name: Option<&str>) -> Cow<'t, str> {
    // Numbers first: behind the star of a name, one would be taken for the rest of a mask.
    let masked = mask_text(text);
    names(name.unwrap_or_default()).into_iter().fold(masked, |masked, name| match hide(&masked, &name) {
        Some(hidden) => Cow::Owned(hidden),
        None => masked,
    })
}

/// The text without this name; `None` if it is not in there.
fn hide(text: &str, name: &str) -> Option<String> {
    const LONGEST: usize = 32;
    let first = name.chars().next()?;
    if name.chars().nth(LONGEST).is_some() || !name.chars().all(is_han) {
        return replaced(text, name);
    }
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(next) = text[at..].find(first) {
        at += next;
        let Some(length) = length_of_name(&text[at..], name) else {
            at += first.len_utf8();
            continue;
        };
        out.push_str(&text[copied..at]);
        out.push_str(&mask_one(&text[at..at + length], true));
        at += length;
        copied = at;
    }
    out.push_str(&text[copied..]);
    (copied > 0).then_some(out)
}

/// The text without this name, in letters of any case; `None` if it is not in there.
fn replaced(text: &str, name: &str) -> Option<String> {
    let (lower, wanted) = (text.to_ascii_lowercase(), name.to_ascii_lowercase());
    let (mut out, mut copied) = (String::new(), 0);
    for (at, found) in lower.match_indices(&wanted) {
        out.push_str(&text[copied..at]);
        out.push_str(&mask_one(&text[at..at + found.len()], true));
        copied = at + found.len();
    }
    out.push_str(&text[copied..]);
    (copied > 0).then_some(out)
}

/// How much of its beginning a text takes for these letters, with up to two blanks or dots between any of them.
fn length_of_name(text: &str, letters: &str) -> Option<usize> {
    const MOST_BETWEEN: usize = 2;
    let mut rest = text;
    for (at, letter) in letters.chars().enumerate() {
        let is_between = |c: &char| at > 0 && *c != '\n' && (is_gap(*c) || is_dot(*c));
        let between: usize = rest.chars().take_while(is_between).take(MOST_BETWEEN).map(char::len_utf8).sum();
        rest = rest[between..].strip_prefix(letter)?;
    }
    Some(text.len() - rest.len())
}

/// What people write between the parts of a plate, blanks aside.
fn is_in_plate(c: char) -> bool {
    matches!(narrow(c), '·' | '•' | '.' | '-' | ':' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '─')
}

/// `赣`, `赣-`, `赣 `
fn is_behind_province(before: &str) -> bool {
    let near = before.strip_suffix(|c| is_in_plate(c) || is_gap(c)).unwrap_or(before);
    near.ends_with(PROVINCES)
}

/// `，`, `！` and the like: what begins with 0xEF but is no full-width letter or digit.
fn is_wide_punctuation(bytes: &[u8]) -> bool {
    let is_letter_or_digit =
        matches!(bytes, [0xEF, 0xBC, 0x90..=0x99 | 0xA1..=0xBA, ..] | [0xEF, 0xBD, 0x81..=0x9A, ..]);
    bytes[0] == 0xEF && !is_letter_or_digit
}

/// The text with stars in it, copied only from the first hidden character on.
pub(super) struct Masked<'a> {
    pub(super) text: &'a str,
    out: String,
    copied: usize,
}

impl<'a> Masked<'a> {
    /// Hides the character that stands at `at`. To be called from left to right.
    pub(super) fn star(&mut self, at: usize, length: usize) {
        if self.copied == 0 {
            self.out.reserve(self.text.len());
        }
        self.out.push_str(&self.text[self.copied..at]);
        self.out.push('*');
        self.copied = at + length;
    }

    fn finish(mut self) -> Cow<'a, str> {
        if self.copied == 0 {
            return Cow::Borrowed(self.text);
        }
        self.out.push_str(&self.text[self.copied..]);
        Cow::Owned(self.out)
    }
}

/// Finds e-mail addresses from left to right, looking at every word once.
pub(super) struct Addresses<'a> {
    text: &'a str,
    none_before: usize,
}

/// An e-mail address: where its local part begins, and its domain.
pub(super) struct Address {
    start: usize,
    at_sign: usize,
    domain: usize,
}

impl Addresses<'_> {
    /// The address whose local part begins here.
    pub(super) fn at(&mut self, start: usize) -> Option<Address> {
        let text = self.text;
        let is_letter_or_digit = |c: char| narrow(c).is_ascii_alphanumeric();
        if start < self.none_before || !text[start..].starts_with(is_letter_or_digit) {
            return None;
        }
        let at_sign = start + length_of(&text[start..], |c| c.is_ascii_alphanumeric() || "._%+-".contains(c));
        self.none_before = at_sign;
        let sign = text[at_sign..].chars().next().filter(|c| narrow(*c) == '@')?;
        let domain = at_sign + sign.len_utf8();
        let length = length_of(&text[domain..], |c| c.is_ascii_alphanumeric() || ".-".contains(c));
        if !text[domain..domain + length].contains(['.', '．']) {
            return None;
        }
        self.none_before = start; // may be asked again
        Some(Address { start, at_sign, domain })
    }
}

impl Address {
    /// The first character and the domain stay. Returns where to read on: a domain may hold a number too.
    fn mask(&self, masked: &mut Masked) -> usize {
        let text = masked.text;
        let local = &text[self.start..self.at_sign];
        let kept = usize::from(local.chars().nth(1).is_some());
        for (at, c) in local.char_indices().skip(kept) {
            masked.star(self.start + at, c.len_utf8());
        }
        self.domain
    }
}

/// An id of WeChat, 6 to 20 letters, digits, `_` and `-` with a letter first, where one is said to follow: all but its first
/// letter is hidden. Returns its end.
fn mask_chat_id(masked: &mut Masked, start: usize) -> Option<usize> {
    const CHATS: [&str; 6] = ["微信", "v信", "vx", "wx", "wechat", "薇信"];
    const REACH: usize = 12;
    const LONGEST: usize = 20;
    let (before, text) = masked.text.split_at(start);
    let is_star = |c: char| matches!(c, '*' | '＊');
    if before.ends_with(|c| narrow(c).is_ascii_alphanumeric() || is_star(c)) {
        return None;
    }
    let in_id = |c: &char| matches!(narrow(*c), 'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-');
    let length: usize = text.chars().take(LONGEST + 1).take_while(in_id).map(char::len_utf8).sum();
    let (mut id, behind) = text.split_at(length);
    // Digits that go on behind it may be those of a phone: `vip139 7000 1234`.
    if behind.starts_with(|c: char| is_gap(c) || c == '.') {
        id = id.trim_end_matches(|c| narrow(c).is_ascii_digit());
    }
    if !(6..=LONGEST).contains(&id.chars().count()) || behind.starts_with(is_star) {
        return None;
    }
    let says_so = || {
        let near = before.char_indices().rev().take(REACH).last().map_or("", |(at, _)| &before[at..]);
        let near: String = near.chars().map(|c| narrow(c).to_ascii_lowercase()).collect();
        let near = near.trim_end_matches(|c| is_gap(c) || ":号是为加叫id".contains(c));
        CHATS.iter().any(|chat| near.ends_with(chat))
    };
    if !id.starts_with("wxid_") && !says_so() {
        return None;
    }
    for (at, c) in id.char_indices().skip(1) {
        masked.star(start + at, c.len_utf8());
    }
    Some(start + id.len())
}

fn length_of(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.chars().take_while(|c| belongs(narrow(*c))).map(char::len_utf8).sum()
}

const PROVINCES: [char; 33] = [
    '京', '津', '沪', '渝', '冀', '豫', '云', '辽', '黑', '湘', '皖', '鲁', '新', '苏', '浙', '赣', '鄂', '桂', '甘',
    '晋', '蒙', '陕', '吉', '闽', '贵', '粤', '青', '藏', '川', '宁', '琼', '使', '领',
];

/// A plate such as `赣A·12345` or `赣AD12345`, from its letter on: all but the last two characters of its number are
/// hidden. Returns its end.
fn mask_plate(masked: &mut Masked, start: usize) -> Option<usize> {
    let text = masked.text;
    let mut chars = text[start..].char_indices().skip(1).map(|(at, c)| (start + at, c)).peekable();
    chars.next_if(|(_, c)| is_in_plate(*c) || narrow(*c) == ' ');
    let mut number = [(0, 0); 6];
    let mut length = 0;
    let mut digits = 0;
    while let Some((at, c)) =
        chars.next_if(|(_, c)| narrow(*c).is_ascii_alphanumeric() || "学警港澳挂领使".contains(*c))
    {
        *number.get_mut(length)? = (at, c.len_utf8());
        length += 1;
        digits += usize::from(narrow(c).is_ascii_digit());
        if !narrow(c).is_ascii() {
            break;
        }
    }
    let goes_on = chars.peek().is_some_and(|(_, c)| narrow(*c).is_ascii_alphanumeric());
    if length < 5 || digits < 2 || goes_on {
        return None;
    }
    for (at, width) in &number[..length - 2] {
        masked.star(*at, *width);
    }
    let (last, width) = number[length - 1];
    Some(last + width)
}
