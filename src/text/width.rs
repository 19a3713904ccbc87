//! Blanks, widths and placeholders: what a cell holds before anybody asks what it means.
//!
//! Input methods leave full-width digits and U+3000, web forms leave tabs, NBSP and zero-width characters, vendors write
//! `null`, `无` or `/` where they know nothing. The functions borrow when there is nothing to change.

use std::borrow::Cow;

/// Full-width ASCII (`！` to `～`) and the ideographic space become ASCII. The punctuation of Chinese that has no ASCII
/// twin (`。、「」《》`) stays as it is.
pub fn half_width(text: &str) -> Cow<'_, str> {
    let Some((mut at, mut narrow)) = next_wide(text, 0) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    loop {
        out.push_str(&text[copied..at]);
        out.push(narrow);
        copied = at + 3; // every wide character takes three bytes
        match next_wide(text, copied) {
            Some(next) => (at, narrow) = next,
            None => break,
        }
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Where the next full-width character stands, and its half-width twin.
fn next_wide(text: &str, from: usize) -> Option<(usize, char)> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        at = next_byte(bytes, at, |byte| matches!(byte, 0xE3 | 0xEF))?;
        match *bytes[at..].first_chunk::<3>()? {
            [0xE3, 0x80, 0x80] => return Some((at, ' ')),
            [0xEF, 0xBC, last @ 0x81..=0xBF] => return Some((at, char::from(last - 0x60))),
            [0xEF, 0xBD, last @ 0x80..=0x9E] => return Some((at, char::from(last - 0x20))),
            _ => at += 3,
        }
    }
}

/// Where the next character begins that `stop` holds for, given its first byte. Steps over the ideographs (first byte
/// 0xE4 to 0xEE), most of any text here, as a whole.
pub(super) fn next_byte(bytes: &[u8], from: usize, stop: impl Fn(u8) -> bool) -> Option<usize> {
    let mut at = from;
    loop {
        match *bytes.get(at)? {
            0xE4..=0xEE => at += 3,
            byte if stop(byte) => return Some(at),
            _ => at += 1,
        }
    }
}

/// The half-width twin of one character, or the character itself.
pub(super) fn narrow(c: char) -> char {
    match c {
        '\u{3000}' => ' ',
        '！'..='～' => char::from_u32(c as u32 - 0xFEE0).unwrap_or(c),
        _ => c,
    }
}

/// Trims, and turns each run of blanks, line breaks and control characters into one space.
///
/// Zero-width characters, byte order marks and directional marks count as part of such a run; where they stand alone
/// inside a word they vanish, because a reader sees no gap there.
pub fn clean(text: &str) -> Cow<'_, str> {
    let body = trim(text);
    let mut out: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(gap) = next_gap(body, at) {
        at = gap.end;
        if &body[gap.start..gap.end] == " " {
            continue;
        }
        let out = out.get_or_insert_with(|| String::with_capacity(body.len()));
        out.push_str(&body[copied..gap.start]);
        if gap.visible {
            out.push(' ');
        }
        copied = gap.end;
    }
    match out {
        None => Cow::Borrowed(body),
        Some(mut out) => {
            out.push_str(&body[copied..]);
            Cow::Owned(out)
        }
    }
}

/// Without the blanks, control and invisible characters at both ends.
pub(super) fn trim(text: &str) -> &str {
    let bytes = text.as_bytes();
    // Most texts begin and end with an ideograph, a letter or a digit.
    let plain = |first: u8| first.is_ascii_alphanumeric() || matches!(first, 0xE4..=0xE9);
    if let [first, .., last] = bytes
        && plain(*first)
        && (last.is_ascii_alphanumeric() || bytes.len() >= 3 && matches!(bytes[bytes.len() - 3], 0xE4..=0xE9))
    {
        return text;
    }
    text.trim_matches(is_gap)
}

/// The trimmed text, or `None` when it says nothing: empty, a placeholder word, or nothing but punctuation, asterisks,
/// or (from the length of a phone number on) zeros.
///
/// `保密` is a placeholder: the system hides what it knows. `匿名` is not: that a person chose to
/// be anonymous is an answer, and what to make of it is the pipeline's to say.
pub fn given(text: &str) -> Option<&str> {
    let text = trim(text);
    if text.as_bytes().first_chunk::<3>().is_some_and(says_something) {
        return Some(text);
    }
    let is_placeholder = text.is_empty() || is_placeholder_word(text) || is_filler(text);
    (!is_placeholder).then_some(text)
}

/// Whether a text that begins like this is neither a placeholder word nor filler: nearly all texts are told by this.
fn says_something(first: &[u8; 3]) -> bool {
    match first {
        [b'1'..=b'9', ..] => true,
        [letter, ..] if letter.is_ascii_alphabetic() => !matches!(letter.to_ascii_lowercase(), b'n' | b'u'),
        [0xE4..=0xE9, ..] => !["无", "空", "未", "暂", "不", "保", "缺"].iter().any(|word| word.as_bytes() == first),
        _ => false,
    }
}

fn is_placeholder_word(text: &str) -> bool {
    const CHINESE: [&str; 14] = [
        "无",
        "空",
        "未知",
        "暂无",
        "不详",
        "不明",
        "保密",
        "未填",
        "暂缺",
        "缺失",
        "未填写",
        "未提供",
        "无数据",
        "暂无数据",
    ];
    const ENGLISH: [&str; 11] =
        ["null", "none", "nil", "nan", "n/a", "#n/a", "undefined", "unknown", "(null)", "<null>", "\\n"];
    if text.len() > 12 {
        return false;
    }
    if text.is_ascii() {
        return ENGLISH.iter().any(|word| text.eq_ignore_ascii_case(word));
    }
    let text = text.trim_end_matches(['。', '.']);
    CHINESE.contains(&text)
}

/// `/`, `--`, `——`, `*****`, `？？`, `0000-00000000`; but not `0` or `00`, which are codes.
fn is_filler(text: &str) -> bool {
    const FEWEST_ZEROS: usize = 7;
    let mut zeros = 0;
    for c in text.chars() {
        match narrow(c) {
            '0' => zeros += 1,
            c if c.is_ascii_punctuation() => {}
            '\u{2010}'..='\u{2026}' | '\u{2212}' | '\u{3001}'..='\u{3003}' | '·' | '×' | '─' | ' ' => {}
            _ => return false,
        }
    }
    zeros == 0 || zeros >= FEWEST_ZEROS
}

struct Gap {
    start: usize,
    end: usize,
    /// False when it holds nothing but zero-width characters.
    visible: bool,
}

fn next_gap(text: &str, from: usize) -> Option<Gap> {
    let bytes = text.as_bytes();
    let mut at = from;
    let start = loop {
        at = next_byte(bytes, at, |byte| MAY_START_GAP[byte as usize])?;
        match bytes[at..] {
            // The commonest punctuation: 。、「」 and the full-width forms.
            [0xE3, 0x80, 0x81..=0xBF, ..] | [0xEF, 0xBC, ..] => at += 3,
            _ => {
                let c = text[at..].chars().next()?;
                if is_gap(c) {
                    break at;
                }
                at += c.len_utf8();
            }
        }
    };
    let mut gap = Gap { start, end: start, visible: false };
    for c in text[start..].chars().take_while(|c| is_gap(*c)) {
        gap.end += c.len_utf8();
        gap.visible |= !is_invisible(c);
    }
    Some(gap)
}

/// First bytes of the characters for which [`is_gap`] can be true; most text holds none of them but spaces.
const MAY_START_GAP: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte <= 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[0x7F] = true;
    table[0xC2] = true;
    table[0xE1] = true;
    table[0xE2] = true;
    table[0xE3] = true;
    table[0xEF] = true;
    table
};

pub(super) fn is_gap(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_invisible(c)
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn full_width_ascii_becomes_ascii() {
        assert_eq!(half_width("２０１０年１０月２０日　５％"), "2010年10月20日 5%");
        assert_eq!(half_width("（Ａ～ｚ！），：；？"), "(A~z!),:;?");
    }

    #[test]
    fn chinese_punctuation_stays() {
        assert!(matches!(half_width("。、「」《》￥…—"), Cow::Borrowed(_)));
    }

    #[test]
    fn runs_of_blanks_become_one_space() {
        assert_eq!(clean("\n\t\t\t\t\t\n\t尊敬的\u{3000}\u{A0}领导：\r\n您好\u{FEFF} "), "尊敬的 领导： 您好");
        assert_eq!(clean("a\0b\u{7F}c"), "a b c");
    }

    #[test]
    fn zero_width_inside_a_word_vanishes() {
        assert_eq!(clean("南\u{200B}昌\u{FEFF}市"), "南昌市");
        assert_eq!(clean("南昌 \u{200B} 市"), "南昌 市");
    }

    #[test]
    fn clean_text_is_borrowed() {
        assert!(matches!(clean("  A市 A3区，噪音 扰民  "), Cow::Borrowed("A市 A3区，噪音 扰民")));
    }

    #[test]
    fn placeholders_are_not_given() {
        for typed in [
            "",
            " ",
            "\u{3000}",
            "未知",
            " 暂无\t",
            "无",
            "无。",
            "不详",
            "保密",
            "null",
            "NULL",
            "None",
            "/",
            "-",
            "--",
            "——",
            "0000-00000000",
            "*****************",
            "N/A",
            "？？",
            "…",
        ] {
            assert_eq!(given(typed), None, "{typed:?}");
        }
    }

    #[test]
    fn values_are_given() {
        for typed in ["0", "00", "1", "匿名", "无锡", "张三", "未知的性别", "189 *****************", "否", "nullify"]
        {
            assert_eq!(given(typed), Some(typed));
        }
        assert_eq!(given("\t张三\u{A0}"), Some("张三"));
    }

    proptest! {
        #[test]
        fn doing_it_twice_changes_nothing(text in any::<String>()) {
            let once = clean(&text);
            prop_assert_eq!(&clean(&once), &once);
            let once = half_width(&text);
            prop_assert_eq!(&half_width(&once), &once);
            if let Some(once) = given(&text) {
                prop_assert_eq!(given(once), Some(once));
            }
        }

        #[test]
        fn narrowing_agrees_with_the_single_character(text in any::<String>()) {
            prop_assert_eq!(half_width(&text), text.chars().map(narrow).collect::<String>());
        }

        #[test]
        fn short_cuts_lead_to_the_same(text in "(无|空|未知|暂|不详|保密|缺失|null|N/A|u|0|1|[ -~]|\u{3000}|\u{A0}|张|市|—|。|龥|一|鿿){0,6}") {
            prop_assert_eq!(trim(&text), text.trim_matches(is_gap));
            let trimmed = trim(&text);
            let says = !(trimmed.is_empty() || is_placeholder_word(trimmed) || is_filler(trimmed));
            prop_assert_eq!(given(&text), says.then_some(trimmed));
        }

        #[test]
        fn the_table_of_first_bytes_is_complete(c in any::<char>()) {
            let mut bytes = [0; 4];
            let first = c.encode_utf8(&mut bytes).as_bytes()[0];
            prop_assert!(!is_gap(c) || MAY_START_GAP[first as usize]);
        }
    }
}
