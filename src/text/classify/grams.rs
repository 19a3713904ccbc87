//! From a text to its features: single characters and pairs of neighbours, each hashed to a bucket.
//!
//! Characters, not words: there is no dictionary to keep, and typing errors cost one feature instead of a word. What is
//! in a text is seen as its readers see it: full-width as half-width, capitals as small letters, any number as one digit.
//! Pairs do not reach over punctuation. Places that were made anonymous (`A市`, `B7县`, `西地省`) are as good as blanks:
//! they say where the training texts come from, not what a text is about.
//!
//! A bucket does not tell which text fell into it, so weights may go where texts must not.

/// Says for every feature of the first `longest` characters its bucket (below `1 << bits`) and its bytes in `text`.
#[inline(always)]
pub(super) fn each(text: &str, longest: usize, bits: u32, mut found: impl FnMut(u32, usize, usize)) {
    let mut before = (0_u64, 0_usize);
    for (token, start, end) in Tokens::of(text, longest) {
        let token = u64::from(token);
        if token == GAP {
            before = (0, end);
            continue;
        }
        found(bucket(token, bits), start, end);
        if before.0 != GAP {
            found(bucket(before.0 << 32 | token, bits), before.1, end);
        }
        before = (token, start);
    }
}

/// The characters of a text as the features see them, without gaps.
pub(super) fn tokens(text: &str, longest: usize) -> Vec<u32> {
    Tokens::of(text, longest).map(|(token, ..)| token).filter(|token| u64::from(*token) != GAP).collect()
}

const GAP: u64 = 0;

/// The high bits of a product depend on all bits of the key.
#[inline]
fn bucket(key: u64, bits: u32) -> u32 {
    ((key ^ (key >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - bits)) as u32
}

/// The characters of a text, [`GAP`] for those that part words: what it is seen as, and its bytes.
struct Tokens<'t> {
    text: &'t str,
    at: usize,
    /// Characters that may still be looked at.
    left: usize,
    after_letter: bool,
    after_digit: bool,
}

impl Tokens<'_> {
    fn of(text: &str, longest: usize) -> Tokens<'_> {
        Tokens { text, at: 0, left: longest, after_letter: false, after_digit: false }
    }

    /// Any character but an ideograph, and as many behind it as are one with it; `None` is a digit behind a digit.
    fn other(&mut self, typed: char, was_letter: bool, was_digit: bool) -> Option<u32> {
        let folded = fold(typed);
        if folded.is_ascii_digit() {
            self.after_digit = true;
            return (!was_digit).then_some(u32::from('0'));
        }
        if folded.is_ascii_lowercase() {
            if !was_letter && let Some(characters) = place(&self.text[self.at..]) {
                self.skip(characters);
                return Some(GAP as u32);
            }
            self.after_letter = true;
            return Some(u32::from(folded));
        }
        let is_word = !folded.is_ascii() && !is_mark(folded) && folded.is_alphanumeric();
        Some(if is_word { u32::from(folded) } else { GAP as u32 })
    }

    /// Passes over that many characters, or as many as may be looked at.
    fn skip(&mut self, characters: usize) {
        let skipped = characters.min(self.left);
        self.left -= skipped;
        let rest = &self.text[self.at..];
        self.at += rest.char_indices().nth(skipped).map_or(rest.len(), |(at, _)| at);
    }
}

impl Iterator for Tokens<'_> {
    type Item = (u32, usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(u32, usize, usize)> {
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() && self.left > 0 {
            self.left -= 1;
            let start = self.at;
            let (was_letter, was_digit) =
                (std::mem::take(&mut self.after_letter), std::mem::take(&mut self.after_digit));
            // Nearly all of a text: an ideograph, in three bytes.
            if let Some([first @ 0xe4..=0xe9, second, third]) = bytes[start..].first_chunk::<3>() {
                let typed = u32::from(first & 0xf) << 12 | u32::from(second & 0x3f) << 6 | u32::from(third & 0x3f);
                if (0x4e00..=0x9fff).contains(&typed) {
                    self.at += 3;
                    if typed == '西' as u32 && self.text[self.at..].starts_with("地省") {
                        self.skip(2);
                        return Some((GAP as u32, start, start + 3));
                    }
                    return Some((typed, start, start + 3));
                }
            }
            let typed = self.text[start..].chars().next()?;
            let end = start + typed.len_utf8();
            self.at = end;
            if let Some(token) = self.other(typed, was_letter, was_digit) {
                return Some((token, start, end));
            }
        }
        None
    }
}

/// `。`, `、`, `《` and the like, which texts are full of: told without a table.
#[inline]
fn is_mark(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{3004}' | '\u{3008}'..='\u{3020}')
}

#[inline]
fn fold(typed: char) -> char {
    let half = match typed {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(typed as u32 - 0xfee0).unwrap_or(typed),
        _ => typed,
    };
    half.to_ascii_lowercase()
}

/// How many characters after a letter make it an anonymous place: digits, if any, and the kind of the place.
fn place(rest: &str) -> Option<usize> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[digits..].starts_with(['省', '市', '区', '县']).then_some(digits + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_neither_letters_nor_digits() {
        let marks = ('\u{3000}'..'\u{3100}').filter(|c| is_mark(*c));
        assert!(!marks.clone().any(char::is_alphanumeric));
        assert_eq!(marks.count(), 30);
    }
}
