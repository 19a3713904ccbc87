//! Phone numbers as agents type them, and as networks present them.
//!
//! A number is kept in the form that can be dialled from anywhere in the country: eleven digits for a mobile, area code
//! and number for a landline, service numbers as they are. A local number needs an area code from outside; without one
//! it stays unread. Two numbers in one cell are not a number: which one counts is not ours to guess.

use std::fmt;

use super::{
    person::is_han,
    width::{given, is_gap, narrow},
};

/// A phone number: digits only, area code included.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Phone {
    kind: Kind,
    digits: Digits<12>,
    extension: Digits<6>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    Mobile,
    Landline,
    /// 110, 12345, 95588, 400 and 800 numbers, with the area code if one was dialled. Nobody's personal number.
    Service,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum NotAPhone {
    #[error("not a phone: nothing given")]
    Absent,
    #[error("not a phone: digits are masked")]
    Masked,
    #[error("not a phone: nothing but zeros")]
    Zeros,
    #[error("not a phone: wrong number of digits")]
    Length,
    #[error("not a phone: no such prefix")]
    Prefix,
    #[error("not a phone: local number without area code")]
    AreaCode,
    #[error("not a phone: extension not readable")]
    Extension,
    #[error("not a phone: number of another country")]
    Foreign,
    #[error("not a phone: several numbers")]
    Several,
    #[error("not a phone: other characters than digits")]
    Characters,
}

impl Phone {
    /// Reads `+86`, `0086`, a `0` before a mobile, blanks, dashes, brackets, full-width digits, and an extension after
    /// `转`, `分机`, `#`, `ext`, `x`, or in brackets or after a last dash where what stands before is a number by itself and all of it is
    /// no mobile, 400 number or number behind `86-`.
    ///
    /// Words of Chinese may stand beside a mobile or a landline with its area code (`13800138000（本人）`), as long as there
    /// is no other number in the cell.
    ///
    /// `area_code` (`0791`) is given to local numbers.
    pub fn parse(typed: &str, area_code: Option<&str>) -> Result<Phone, NotAPhone> {
        match Phone::alone(typed, area_code) {
            Err(NotAPhone::Characters) => Phone::beside_words(typed).ok_or(NotAPhone::Characters),
            read => read,
        }
    }

    fn beside_words(typed: &str) -> Option<Phone> {
        let has_digit = |part: &&str| part.contains(|c| narrow(c).is_ascii_digit());
        // `转` and `分机` are of the number.
        let mut numbers = typed.split(|c| is_han(c) && !['转', '分', '机'].contains(&c)).filter(has_digit);
        let (number, None) = (numbers.next()?, numbers.next()) else { return None };
        let is_mark = |c: char, but: [char; 2]| {
            !c.is_alphanumeric() && !but.contains(&narrow(c)) && !['*', '×', '•', '●'].contains(&narrow(c))
        };
        let number = number.trim_start_matches(|c| is_mark(c, ['+', '('])).trim_end_matches(|c| is_mark(c, [')', ']']));
        // `QQ号`, `工单号`: numbers of something else, as long as a mobile's.
        let before = typed.split(number).next()?.trim_end_matches(|c: char| !c.is_alphanumeric());
        if before.ends_with('号') && !["手机号", "电话号"].iter().any(|word| before.ends_with(word)) {
            return None;
        }
        let phone = Phone::alone(number, None).ok()?;
        // `拨打12345` says whom they have asked.
        (phone.kind != Kind::Service).then_some(phone)
    }

    fn alone(typed: &str, area_code: Option<&str>) -> Result<Phone, NotAPhone> {
        let typed = Typed::read(typed)?;
        let all = typed.digits.as_bytes();
        let whole = typed.national(all, area_code);
        // What is a number as a whole is none with an extension: `400-8001-234`, `86-797-823-1234`.
        let is_whole = whole.as_ref().is_ok_and(|(kind, _)| match kind {
            Kind::Mobile => true,
            Kind::Service if matches!(all, [b'4' | b'8', b'0', b'0', ..]) => true,
            _ => typed.has_country_code() && !typed.fits_without_last_dash(area_code),
        });
        if let Some(split) = typed.last_dash().filter(|_| !is_whole) {
            let (number, extension) = all.split_at(split);
            let extension = Digits::from(extension);
            if let (Ok((kind, digits)), Some(extension)) = (typed.national(number, area_code), extension) {
                return Ok(Phone { kind, digits, extension });
            }
        }
        let (kind, digits) = whole?;
        Ok(Phone { kind, digits, extension: typed.extension })
    }

    pub fn as_str(&self) -> &str {
        self.digits.as_str()
    }

    pub fn extension(&self) -> Option<&str> {
        (self.extension.length > 0).then(|| self.extension.as_str())
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many digits of a landline are its area code; 0 for the other kinds.
    pub(super) fn area_length(&self) -> usize {
        if self.kind == Kind::Landline { area_length(self.digits.as_bytes()).unwrap_or(0) } else { 0 }
    }
}

/// Shows the mask: a phone number belongs into no log.
impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phone({:?}, {})", self.kind, super::mask_phone(self.as_str()))
    }
}

/// The digits of a cell, before we know what they mean.
struct Typed {
    digits: Digits<24>,
    extension: Digits<6>,
    /// Starts with `+`.
    international: bool,
    /// Behind how many digits the first and the last dash or bracket stand, 0 if there is none.
    first_dash: usize,
    last_dash: usize,
}

impl Typed {
    fn read(typed: &str) -> Result<Typed, NotAPhone> {
        Typed::scan(typed).map_err(|reason| match reason {
            NotAPhone::Characters if says_nothing(typed) => NotAPhone::Absent,
            reason => reason,
        })
    }

    fn scan(typed: &str) -> Result<Typed, NotAPhone> {
        let mut read = Typed {
            digits: Digits::EMPTY,
            extension: Digits::EMPTY,
            international: false,
            first_dash: 0,
            last_dash: 0,
        };
        let mut in_extension = false;
        let mut after_list_mark = false;
        let mut rest = typed.chars();
        while let Some(c) = rest.next() {
            let begun = read.digits.length > 0;
            match narrow(c) {
                '0'..='9' if after_list_mark => return Err(NotAPhone::Several),
                c @ '0'..='9' if in_extension => read.extension.push(c).ok_or(NotAPhone::Extension)?,
                c @ '0'..='9' => read.digits.push(c).ok_or(NotAPhone::Length)?,
                // `86223000(801)`: behind the bracket that closes there is no second dash, and no extension is an area code.
                ')' | ']' if rest.as_str().chars().all(is_gap) && !read.zero_follows_last_dash() => {}
                '-' | '(' | ')' | '[' | ']' | '_' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '─' | 'ー' => {
                    read.dash(in_extension)
                }
                '+' if !begun && !read.international => read.international = true,
                '转' | '#' if begun => in_extension = true,
                '分' if begun && rest.next() == Some('机') => in_extension = true,
                'e' | 'E' if begun && starts_with_xt(rest.as_str()) => {
                    rest.nth(1);
                    in_extension = true;
                }
                'x' | 'X' if begun && !in_extension && !rest.as_str().starts_with(['x', 'X']) => in_extension = true,
                '*' | '×' | '•' | '●' | 'x' | 'X' => return Err(NotAPhone::Masked),
                '/' | '、' | '。' | ',' | ';' | '|' => after_list_mark = begun,
                // Who writes `8622300.0` has a column of numbers, and may have lost a zero in front.
                '.' if matches!(rest.as_str(), "0" | "00") && typed.matches('.').count() == 1 => {
                    return Err(NotAPhone::Characters);
                }
                '.' | '·' => {}
                ':' if in_extension => {}
                c if is_gap(c) => {}
                _ => return Err(NotAPhone::Characters),
            }
        }
        match read.digits.as_bytes() {
            [] => Err(NotAPhone::Absent),
            digits if digits.iter().all(|digit| *digit == b'0') => Err(NotAPhone::Zeros),
            _ => Ok(read),
        }
    }

    fn dash(&mut self, in_extension: bool) {
        let at = usize::from(self.digits.length);
        if in_extension || at == 0 {
            return;
        }
        if self.first_dash == 0 {
            self.first_dash = at;
        }
        self.last_dash = at;
    }

    fn zero_follows_last_dash(&self) -> bool {
        self.digits.as_bytes().get(self.last_dash) == Some(&b'0')
    }

    /// Where the digits split into number and extension if the last dash means that.
    fn last_dash(&self) -> Option<usize> {
        let behind = usize::from(self.digits.length) - self.last_dash;
        (self.last_dash > 0 && (1..=6).contains(&behind) && self.extension.length == 0).then_some(self.last_dash)
    }

    fn has_country_code(&self) -> bool {
        let digits = self.digits.as_bytes();
        self.international || digits.starts_with(b"00") || self.first_dash == 2 && digits.starts_with(b"86")
    }

    /// Whether what stands before the last dash is a number of a landline with its country code.
    fn fits_without_last_dash(&self, area_code: Option<&str>) -> bool {
        self.last_dash()
            .is_some_and(|split| split > 10 && self.national(&self.digits.as_bytes()[..split], area_code).is_ok())
    }

    /// Takes the country code off.
    fn national(&self, digits: &[u8], area_code: Option<&str>) -> Result<(Kind, Digits<12>), NotAPhone> {
        if self.international {
            return digits.strip_prefix(b"86").ok_or(NotAPhone::Foreign).and_then(from_abroad);
        }
        if let Some(rest) = digits.strip_prefix(b"00") {
            return rest.strip_prefix(b"86").ok_or(NotAPhone::Foreign).and_then(from_abroad);
        }
        let plain = classify(digits, area_code);
        match digits.strip_prefix(b"86") {
            Some(rest) if plain.is_err() && (self.first_dash == 2 || rest.starts_with(b"0") || is_mobile(rest)) => {
                from_abroad(rest).or(plain)
            }
            _ => plain,
        }
    }
}

/// Behind `+86` an area code stands without its zero.
fn from_abroad(digits: &[u8]) -> Result<(Kind, Digits<12>), NotAPhone> {
    match digits {
        [b'1', b'0', ..] if digits.len() == 10 => classify_with_zero(digits), // Beijing
        [b'1', ..] | [b'0', ..] | [b'4' | b'8', b'0', b'0', ..] => classify(digits, None),
        // 951 is Ningxia's too.
        [b'9', b'5' | b'6', ..] => classify(digits, None).or_else(|_| classify_with_zero(digits)),
        _ => classify_with_zero(digits),
    }
}

fn classify_with_zero(digits: &[u8]) -> Result<(Kind, Digits<12>), NotAPhone> {
    let mut with_zero = Digits::<12>::EMPTY;
    for digit in b"0".iter().chain(digits) {
        with_zero.push(char::from(*digit)).ok_or(NotAPhone::Length)?;
    }
    classify(with_zero.as_bytes(), None)
}

fn classify(digits: &[u8], area_code: Option<&str>) -> Result<(Kind, Digits<12>), NotAPhone> {
    let kept = |kind| Digits::from(digits).map(|digits| (kind, digits)).ok_or(NotAPhone::Length);
    if is_service(digits) {
        return kept(Kind::Service);
    }
    match digits {
        [b'1', b'3'..=b'9', ..] if digits.len() == 11 => kept(Kind::Mobile),
        [b'0', mobile @ ..] if is_mobile(mobile) => {
            Digits::from(mobile).map(|digits| (Kind::Mobile, digits)).ok_or(NotAPhone::Length)
        }
        [b'0', ..] => {
            let local = &digits[area_length(digits).ok_or(NotAPhone::Prefix)?..];
            if is_service(local) && local.len() <= 8 {
                return kept(Kind::Service);
            }
            check_local(&digits[..digits.len() - local.len()], local)?;
            kept(Kind::Landline)
        }
        [b'2'..=b'8', ..] if matches!(digits.len(), 7 | 8) => {
            let area = area_code.map(str::as_bytes).filter(|area| area_length(area) == Some(area.len()));
            let area = area.ok_or(NotAPhone::AreaCode)?;
            check_local(area, digits)?;
            let mut full = Digits::from(area).ok_or(NotAPhone::AreaCode)?;
            for digit in digits {
                full.push(char::from(*digit)).ok_or(NotAPhone::Length)?;
            }
            Ok((Kind::Landline, full))
        }
        _ if matches!(digits.len(), 7 | 8 | 11) => Err(NotAPhone::Prefix),
        _ => Err(NotAPhone::Length),
    }
}

fn is_mobile(digits: &[u8]) -> bool {
    digits.len() == 11 && matches!(digits, [b'1', b'3'..=b'9', ..])
}

fn is_service(digits: &[u8]) -> bool {
    match digits {
        b"110" | b"112" | b"114" | b"117" | b"119" | b"120" | b"121" | b"122" => true,
        [b'1', b'2', ..] | [b'1', b'0', b'0', ..] | [b'1', b'1', b'1', b'8', ..] => digits.len() == 5,
        [b'1', b'1', b'6' | b'8', b'1', b'1', b'4'] => true,
        [b'9', b'5' | b'6', ..] => matches!(digits.len(), 5..=8),
        [b'4' | b'8', b'0', b'0', ..] => digits.len() == 10,
        [b'1', b'0', b'1', b'0', ..] => digits.len() == 8,
        _ => false,
    }
}

/// 010 and 02x have three digits, the others four.
fn area_length(digits: &[u8]) -> Option<usize> {
    match digits {
        [b'0', b'1', b'0', ..] | [b'0', b'2', _, ..] => Some(3),
        [b'0', b'3'..=b'9', _, _, ..] => Some(4),
        _ => None,
    }
}

/// Seven or eight digits, eight where we know the city has gone over to them.
fn check_local(area: &[u8], local: &[u8]) -> Result<(), NotAPhone> {
    let fewest = if area.len() == 3 || area == b"0791" { 8 } else { 7 };
    match local {
        _ if local.iter().all(|digit| *digit == b'0') => Err(NotAPhone::Zeros),
        _ if !(fewest..=8).contains(&local.len()) => Err(NotAPhone::Length),
        [b'2'..=b'8', ..] => Ok(()),
        _ => Err(NotAPhone::Prefix),
    }
}

fn starts_with_xt(rest: &str) -> bool {
    rest.get(..2).is_some_and(|xt| xt.eq_ignore_ascii_case("xt"))
}

/// Placeholders, and the words that stand where a caller hides the number.
fn says_nothing(typed: &str) -> bool {
    const HIDDEN: [&str; 7] = ["anonymous", "private", "withheld", "unavailable", "restricted", "匿名", "隐藏号码"];
    given(typed).is_none_or(|text| HIDDEN.iter().any(|word| text.eq_ignore_ascii_case(word)))
}

/// Up to `N` ASCII digits in place. Unused places are zero, so the derived comparisons hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Digits<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Digits<N> {
    const EMPTY: Digits<N> = Digits { bytes: [0; N], length: 0 };

    fn from(digits: &[u8]) -> Option<Digits<N>> {
        let mut copy = Digits::EMPTY;
        copy.bytes.get_mut(..digits.len())?.copy_from_slice(digits);
        copy.length = digits.len() as u8;
        Some(copy)
    }

    fn push(&mut self, digit: char) -> Option<()> {
        *self.bytes.get_mut(usize::from(self.length))? = digit as u8;
        self.length += 1;
        Some(())
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("holds ASCII digits only")
    }
}

#[cfg(test)]
mod tests;
