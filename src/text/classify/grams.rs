//! From a text to its features: single characters and pairs of neighbours, each hashed to a bucket.
//!
//! Characters, not words: there is no dictionary to keep, and typing errors cost one feature instead of a word. What is
//! in a text is seen as its readers see it: full-width as half-width, capitals as small letters, any number as one digit.
//! Pairs do not reach over punctuation. Places that were made anonymous (`A市`, `B7县`, `西地省`) are as good as blanks:
//! they say where the training texts come from, not what a text is about.
//!
//! A bucket does not tell which text fell into it, so weights may go where texts must not.

/// Says for every feature of the first `longest` characters its bucket (below `1 << bits`) and its bytes in `text`.
#[inline]
pub(super) fn each(text: &str, longest: usize, bits: u32, mut found: impl FnMut(u32, usize, usize)) {
    let mut before = (0_u64, 0_usize);
    each_token(text, longest, |token, start, end| {
        let token = u64::from(token);
        if token == GAP {
            before = (0, end);
            return;
        }
        found(bucket(token, bits), start, end);
        if before.0 != GAP {
            found(bucket(before.0 << 32 | token, bits), before.1, end);
        }
        before = (token, start);
    });
}

/// The characters of a text as the features see them, without gaps.
pub(super) fn tokens(text: &str, longest: usize) -> Vec<u32> {
    let mut tokens = Vec::new();
    each_token(text, longest, |token, _, _| {
        if u64::from(token) != GAP {
            tokens.push(token);
        }
    });
    tokens
}

const GAP: u64 = 0;

/// The high bits of a product depend on all bits of the key.
#[inline]
fn bucket(key: u64, bits: u32) -> u32 {
    ((key ^ (key >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - bits)) as u32
}

#[inline]
fn each_token(text: &str, longest: usize, mut found: impl FnMut(u32, usize, usize)) {
    let mut rest = text.char_indices().take(longest);
    let mut last = ' ';
    let mut in_number = false;
    while let Some((start, typed)) = rest.next() {
        let (is_number, before) = (std::mem::take(&mut in_number), std::mem::replace(&mut last, typed));
        let end = start + typed.len_utf8();
        if ('\u{4e00}'..='\u{9fff}').contains(&typed) {
            if typed == '西' && text[end..].starts_with("地省") {
                rest.by_ref().take(2).for_each(drop);
                found(GAP as u32, start, end);
            } else {
                found(typed as u32, start, end);
            }
            continue;
        }
        let folded = fold(typed);
        if folded.is_ascii_digit() {
            in_number = true;
            if !is_number {
                found(u32::from('0'), start, end);
            }
        } else if folded.is_ascii_lowercase() {
            match (!fold(before).is_ascii_lowercase()).then(|| place(&text[end..])).flatten() {
                Some(characters) => {
                    rest.by_ref().take(characters).for_each(drop);
                    last = ' ';
                    found(GAP as u32, start, end);
                }
                None => found(folded as u32, start, end),
            }
        } else if !folded.is_ascii() && folded.is_alphanumeric() {
            found(folded as u32, start, end);
        } else {
            found(GAP as u32, start, end);
        }
    }
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
