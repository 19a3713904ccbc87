//! Personal numbers in a free text: which groups of digits belong together, and what they are.

use chrono::Datelike;

use super::free_text::{Addresses, Masked};
use crate::text::{
    Kind, Phone, id_card,
    width::{is_gap, narrow},
};

const MOST_DIGITS: usize = 40;
const MOST_GROUPS: usize = 16;
/// A mobile with blanks between all its digits.
const MOST_AGAIN: usize = 11;
/// The longest number we know: a bank card.
const LONGEST: usize = 19;
/// No mask leaves more digits than this in front of its stars.
const LONGEST_HEAD: usize = 6;

/// Groups of digits with nothing but a separator between them: `0791-8622 3000`, `2019-12-30 13800138000`.
pub(super) struct Run {
    /// ASCII digits, and an `X` at the end.
    digits: [u8; MOST_DIGITS],
    places: [(usize, usize); MOST_DIGITS],
    length: usize,
    /// Where in `digits` each group begins, and behind the last one the end.
    groups: [usize; MOST_GROUPS + 1],
    group_count: usize,
    end: usize,
    /// The first group is longer than any number: hidden as a whole.
    endless: bool,
    /// There was no room for all that stands there.
    cut: bool,
}

impl Run {
    /// Reads on from a digit.
    pub(super) fn read(text: &str, start: usize, addresses: &mut Addresses) -> Run {
        let mut run = Run {
            digits: [0; MOST_DIGITS],
            places: [(0, 0); MOST_DIGITS],
            length: 0,
            groups: [0; MOST_GROUPS + 1],
            group_count: 0,
            end: start,
            endless: false,
            cut: false,
        };
        let mut at = start;
        while run.group_count < MOST_GROUPS {
            let before = run.length;
            let end = run.read_group(text, at);
            let is_short = run.length - before <= LONGEST_HEAD;
            let is_rest_of_mask = is_short && (ends_with_mask(&text[..at]) || run.begins_mask(text, end));
            if before > 0 && (run.endless || is_rest_of_mask) {
                // Belongs to nothing before it; the next run begins here.
                run.cut = run.endless && run.length == MOST_DIGITS;
                run.length = before;
                run.endless = false;
                break;
            }
            run.end = end;
            run.group_count += 1;
            run.groups[run.group_count] = run.length;
            if run.endless || is_rest_of_mask {
                break;
            }
            let separator: usize =
                text[end..].chars().take_while(|c| is_separator(*c)).take(3).map(char::len_utf8).sum();
            at = end + separator;
            let goes_on = separator > 0 && text[at..].starts_with(|c| narrow(c).is_ascii_digit());
            if !goes_on || addresses.at(at).is_some() {
                break;
            }
            run.cut = run.group_count == MOST_GROUPS;
        }
        run
    }

    /// Whether the stars behind the group that ends here hide what goes on there. One or two behind a whole number, `*` and
    /// `**` of a text in Markdown, do not.
    fn begins_mask(&mut self, text: &str, end: usize) -> bool {
        const MOST: usize = 2;
        let is_star = |c: &char| matches!(c, '*' | '＊');
        let stars = text[end..].chars().take(MOST + 1).take_while(is_star).count();
        if stars == 0 || stars > MOST {
            return stars > 0;
        }
        let mut behind = text[end..].chars().skip(stars).skip_while(|c| is_separator(*c));
        if behind.next().is_some_and(|c| is_star(&c) || matches!(narrow(c), '0'..='9' | '@')) {
            return true;
        }
        let last = self.group_count + 1;
        self.groups[last] = self.length;
        !(0..self.group_count)
            .any(|first| self.kept(first, last, text).is_some_and(|kept| self.hides(first, last, &kept)))
    }

    fn read_group(&mut self, text: &str, start: usize) -> usize {
        let before = self.length;
        let mut at = start;
        let mut chars = text[start..].chars();
        while let Some(c) = chars.next() {
            let digit = match narrow(c) {
                c @ '0'..='9' => c as u8,
                'x' | 'X' if !chars.as_str().starts_with(|c| narrow(c).is_ascii_alphanumeric()) => b'X',
                _ => break,
            };
            if self.length - before >= LONGEST || self.length == MOST_DIGITS {
                self.endless = true;
            } else {
                self.digits[self.length] = digit;
                self.places[self.length] = (at, c.len_utf8());
                self.length += 1;
            }
            at += c.len_utf8();
            if digit == b'X' {
                break;
            }
        }
        at
    }

    /// Hides what is personal in it. Returns its end.
    pub(super) fn mask(&self, masked: &mut Masked) -> usize {
        if self.endless {
            let text = masked.text;
            let start = self.places[0].0;
            for (at, c) in text[start..self.end].char_indices() {
                masked.star(start + at, c.len_utf8());
            }
            return self.end;
        }
        let mut first = 0;
        let mut behind_found = 0;
        while first < self.group_count {
            let found =
                (first + 1..=self.group_count).rev().find_map(|end| Some((end, self.kept(first, end, masked.text)?)));
            let Some((end, kept)) = found else {
                first += 1;
                continue;
            };
            if !self.hides(first, end, &kept)
                && let Some(within) = self.begun_within(first, end, masked.text)
            {
                first = within;
                continue;
            }
            let (from, to) = (self.groups[first], self.groups[end]);
            for (at, width) in &self.places[from + kept.head..to - kept.tail] {
                masked.star(*at, *width);
            }
            (first, behind_found) = (end, end);
        }
        // The last groups may be the beginning of a number.
        let again = behind_found.max(self.group_count.saturating_sub(MOST_AGAIN)).max(1);
        if self.cut && again < self.group_count { self.places[self.groups[again]].0 } else { self.end }
    }

    /// Whether anything of these groups is hidden; of nobody's number nothing is.
    fn hides(&self, first: usize, end: usize, kept: &Kept) -> bool {
        kept.head + kept.tail < self.groups[end] - self.groups[first]
    }

    /// Where within these groups a personal number begins that ends behind them: `1 010 6508 0422`.
    fn begun_within(&self, first: usize, end: usize, text: &str) -> Option<usize> {
        let is_personal = |from, to| self.kept(from, to, text).is_some_and(|kept| self.hides(from, to, &kept));
        (first + 1..end).find(|from| (end + 1..=self.group_count).any(|to| is_personal(*from, to)))
    }

    /// What stays visible of these groups when they are one number that we know.
    fn kept(&self, first: usize, end: usize, text: &str) -> Option<Kept> {
        let digits = &self.digits[self.groups[first]..self.groups[end]];
        if !(7..=LONGEST).contains(&digits.len()) {
            return None;
        }
        if digits.len() == 18 && digits.first_chunk().is_some_and(is_id) && self.may_be_id(first, end) {
            return Some(Kept { head: 6, tail: 4 });
        }
        let number = digits.strip_suffix(b"X").unwrap_or(digits);
        let single = end == first + 1;
        let before = &text[..self.places[self.groups[first]].0];
        let origin = self.origin(first, end, before);
        let from_abroad = if origin == Origin::Unsaid { None } else { phone(number, origin) };
        let phone = from_abroad.or_else(|| {
            let is_whole = |phone: &Found| phone.kind == Kind::Service || single || self.may_be_phone(first, end);
            phone(number, Origin::Unsaid).filter(is_whole)
        });
        let phone = phone.filter(|phone| phone.kind != Kind::Service || !says(before, &ACCOUNTS));
        if single && phone.is_none() && is_mobile_and_more(number, self.behind(end, text)) {
            return Some(Kept { head: 3, tail: number.len() - MOBILE });
        }
        let kept = phone.map(|phone| phone.kept).or_else(|| {
            let by_itself = if single { number.len() >= 15 } else { self.is_card_in_groups(first, end, number) };
            let if_announced = if single {
                !is_day(number) && !self.is_amount(end, text)
            } else {
                is_local(number) && self.apart(first, end, 3)
            };
            let foreign = match origin {
                Origin::Plus => self.may_be_foreign(first, end, text, before),
                _ => {
                    matches!(number, [b'0', b'0', b'1'..=b'9', ..])
                        && self.apart(first, end, 3)
                        && is_announced(before, number)
                }
            };
            let hidden = by_itself
                || foreign
                || if_announced && is_announced(before, number)
                || number.len() >= 15 && self.apart(first, end - 1, 4) && says(before, &ACCOUNTS);
            (hidden && number.len() >= 7).then_some(Kept { head: 0, tail: 4 })
        })?;
        let x = digits.len() - number.len();
        Some(Kept { tail: kept.tail + x, ..kept })
    }

    /// What is written in front of a number, or as its first group, to dial it from abroad.
    fn origin(&self, first: usize, end: usize, before: &str) -> Origin {
        let digits = &self.digits[self.groups[first]..self.groups[end]];
        let is_code = self.groups[first + 1] - self.groups[first] == 2
            && matches!(digits, [b'8', b'6', rest @ ..] if !rest.get(..8).is_some_and(is_day));
        match before.trim_end_matches(['(', '（', ' ']).chars().next_back() {
            Some('+' | '＋') => Origin::Plus,
            _ if is_code && self.apart(first, end, 2) => Origin::Code,
            _ => Origin::Unsaid,
        }
    }

    /// Behind `+`: with the country first, if it is written in groups. But a sum, a day or an amount is no number, nor one
    /// of ours with something behind it, and none begins with a zero.
    fn may_be_foreign(&self, first: usize, end: usize, text: &str, before: &str) -> bool {
        let digits = |end: usize| &self.digits[self.groups[first]..self.groups[end]];
        let in_front = before.trim_end_matches(['(', '（', ' ', '+', '＋']);
        (10..=15).contains(&digits(end).len())
            && (end == first + 1 || self.groups[first + 1] - self.groups[first] <= 3 && self.apart(first + 1, end, 3))
            && digits(end)[0] != b'0'
            && !is_day(&digits(end)[..8])
            && !self.is_amount(end, text)
            && !in_front.ends_with(|c| narrow(c).is_ascii_digit())
            && !(first + 1..end)
                .any(|end| [Origin::Plus, Origin::Unsaid].iter().any(|origin| phone(digits(end), *origin).is_some()))
    }

    /// Nobody takes an area code or the first digits of a mobile apart, and no single digit stands among larger groups, but
    /// `5` in a date does; nor does a number end with a day.
    fn may_be_phone(&self, first: usize, end: usize) -> bool {
        let lengths = || self.groups[first..=end].windows(2).map(|group| group[1] - group[0]);
        let first_is_whole = lengths().next().is_some_and(|length| length >= 3);
        let ends_with_day = || is_day(&self.digits[self.groups[end].saturating_sub(8)..self.groups[end]]);
        lengths().all(|length| length >= 3)
            || lengths().all(|length| length == 1)
            || first_is_whole && lengths().all(|length| length >= 2) && !ends_with_day()
    }

    /// An ID number begins with the six digits of its division, or is in threes and more but for the end, or has the day
    /// of birth in one; dates are not like that.
    fn may_be_id(&self, first: usize, end: usize) -> bool {
        let from = self.groups[first];
        let birth = self.groups[first..=end].windows(2).any(|group| group[0] == from + 6 && group[1] == from + 14);
        self.groups[first + 1] - from >= 6 || self.apart(first, end - 1, 3) || birth
    }

    /// Whether each of these groups has so many digits: parts of numbers do, those of dates and amounts do not.
    fn apart(&self, first: usize, end: usize, digits: usize) -> bool {
        self.groups[first..=end].windows(2).all(|group| group[1] - group[0] >= digits)
    }

    /// `20000元`, `1234567.89元`
    fn is_amount(&self, end: usize, text: &str) -> bool {
        const FRACTION: usize = 8;
        let behind = self.behind(end, text);
        let is_digit = |c: &char| matches!(narrow(*c), '.' | '0'..='9');
        let fraction = behind.chars().take(FRACTION).take_while(is_digit).map(char::len_utf8).sum::<usize>();
        behind[fraction..].trim_start().starts_with(['元', '万', '块'])
    }

    /// The text behind the last of these groups.
    fn behind<'t>(&self, end: usize, text: &'t str) -> &'t str {
        let (at, width) = self.places[self.groups[end] - 1];
        &text[at + width..]
    }

    /// In fours, or as cards are embossed, `622848 0402564890018`. A mistyped one of UnionPay's is told by how it begins.
    fn is_card_in_groups(&self, first: usize, end: usize, number: &[u8]) -> bool {
        let in_fours = self.groups[first..end].windows(2).all(|group| group[1] - group[0] == 4);
        let embossed = end == first + 2 && matches!(self.groups[first + 1] - self.groups[first], 6 | 7);
        number.len() >= 16
            && ((in_fours || embossed) && passes_luhn(number)
                || number.starts_with(b"62") && (in_fours || self.apart(first, end, 4)))
    }
}

struct Kept {
    head: usize,
    tail: usize,
}

struct Found {
    kind: Kind,
    kept: Kept,
}

/// How a number says that it is one of a country.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    /// `+` stands before it.
    Plus,
    /// `86` and a separator.
    Code,
    Unsaid,
}

const MOBILE: usize = 11;

/// A mobile, and behind it without a gap what counts something: `139700012342栋`, `138000000002016年`.
fn is_mobile_and_more(digits: &[u8], behind: &str) -> bool {
    const MOST_MORE: usize = 4;
    matches!(digits, [b'1', b'3'..=b'9', ..])
        && (MOBILE + 1..=MOBILE + MOST_MORE).contains(&digits.len())
        && (behind.starts_with(['年', '月', '日', '栋', '号', '室', '楼', '点', '时']) || behind.starts_with("单元"))
}

fn phone(digits: &[u8], origin: Origin) -> Option<Found> {
    let digits_alone = std::str::from_utf8(digits).ok()?;
    let phone = match origin {
        Origin::Unsaid => Phone::parse(digits_alone, None),
        Origin::Plus | Origin::Code => Phone::parse(&format!("+{digits_alone}"), None),
    };
    let phone = phone.ok()?;
    let kind = phone.kind();
    let hidden_from_end = match kind {
        Kind::Mobile => 8,
        Kind::Landline => phone.as_str().len() - phone.area_length(),
        // Nobody's: stays as a whole.
        Kind::Service => return Some(Found { kind, kept: Kept { head: digits.len(), tail: 0 } }),
    };
    let head = digits.len().saturating_sub(hidden_from_end).min(LONGEST_HEAD);
    Some(Found { kind, kept: Kept { head, tail: 4 } })
}

fn is_local(digits: &[u8]) -> bool {
    matches!(digits, [b'2'..=b'8', ..]) && matches!(digits.len(), 7 | 8) && !is_day(digits)
}

/// Right or mistyped: the check digit does not matter here.
fn is_id(digits: &[u8; 18]) -> bool {
    digits[..17].iter().all(u8::is_ascii_digit)
        && digits[0] != b'0'
        && id_card::read_birth(digits).is_some_and(|birth| (1900..=2100).contains(&birth.year()))
}

/// `20190630`
fn is_day(digits: &[u8]) -> bool {
    matches!(digits, [b'1', b'9', _, _, month @ .., _, _] | [b'2', b'0', _, _, month @ .., _, _]
        if digits.len() == 8 && matches!(month, [b'0', b'1'..=b'9'] | [b'1', b'0'..=b'2']))
}

fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let value = u32::from(digit.wrapping_sub(b'0')) << (at % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10)
}

fn is_separator(c: char) -> bool {
    matches!(narrow(c), '-' | '.' | '(' | ')' | '_' | '·' | ' ' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '─' | 'ー')
        || is_gap(c) && c != '\n'
}

/// The stars of a name, `张*`, are one or two; those of a number are more, or stand behind its digits.
fn ends_with_mask(text: &str) -> bool {
    let stars = text.chars().rev().take_while(|c| matches!(c, '*' | '＊'));
    let count = stars.clone().take(3).count();
    // Behind the blank before them there are digits or stars too, or they are `**` of a text in Markdown.
    let before = || text.chars().rev().skip_while(|c| matches!(c, '*' | '＊'));
    let in_front = || before().find(|c| !is_separator(*c));
    count >= 3 || count > 0 && in_front().is_some_and(|c| narrow(c).is_ascii_digit() || matches!(c, '*' | '＊'))
}

/// What stands before numbers that are never a service's.
const ACCOUNTS: [&str; 19] = [
    "微信",
    "qq",
    "扣扣",
    "企鹅号",
    "社保",
    "医保",
    "回乡证",
    "学号",
    "卡号",
    "银行卡",
    "账号",
    "帐号",
    "账户",
    "身份证",
    "证号",
    "护照",
    "通行证",
    "台胞证",
    "军官证",
];

/// Whether the last few characters of a text say that a number of a person follows, or that it is the next in a list of
/// such: `电话8622300、8622301`.
fn is_announced(before: &str, number: &[u8]) -> bool {
    const WORDS: [&str; 11] = ["电话", "手机", "座机", "固话", "联系", "号码", "致电", "回电", "打", "传真", "tel"];
    const MOST_BEFORE: usize = 3;
    let mut before = before;
    for _ in 0..=MOST_BEFORE {
        if says(before, &WORDS) || says(before, &ACCOUNTS) {
            return true;
        }
        let next = before.trim_end_matches(|c| matches!(narrow(c), '、' | ',' | '/' | ';' | '或' | '和' | ' '));
        let in_number = |c: &char| narrow(*c).is_ascii_digit() || is_separator(*c);
        let length = next.chars().rev().take(LONGEST + 6).take_while(in_number).map(char::len_utf8).sum::<usize>();
        let one = &next[..next.len() - length];
        let digits = next[one.len()..].chars().filter(|c| narrow(*c).is_ascii_digit()).count();
        if next.len() == before.len() || !matches!(digits, 7 | 8 | 10..=12) || !is_local(number) {
            return false;
        }
        before = one;
    }
    false
}

/// Whether one of these words is among the last few characters, in letters of any case and width.
fn says(before: &str, words: &[&str]) -> bool {
    const REACH: usize = 8;
    let from = before.char_indices().rev().take(REACH).last().map_or(before.len(), |(at, _)| at);
    let near: String = before[from..].chars().map(|c| narrow(c).to_ascii_lowercase()).collect();
    words.iter().any(|word| near.contains(word))
}
