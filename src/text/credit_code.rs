//! Unified social credit codes, GB 32100-2015: 18 characters, the last one a check over all, the ninth to seventeenth
//! an organisation code (GB 11714) with a check of its own.

use std::fmt;

use chrono::Datelike;

use super::{
    id_card,
    width::{is_gap, narrow, trim},
};

/// A credit code whose both check characters fit.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CreditCode([u8; LENGTH]);

const LENGTH: usize = 18;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum NotACreditCode {
    #[error("not a credit code: nothing given")]
    Absent,
    #[error("not a credit code: wrong length")]
    Length,
    /// `I`, `O`, `S`, `V`, `Z` are not in the alphabet, and places 3 to 8 are a division: digits.
    #[error("not a credit code: character out of the alphabet")]
    Characters,
    /// Places 3 and 4 are a province, or `10` for the whole country.
    #[error("not a credit code: no such province")]
    Province,
    /// Three in a thousand mistyped ID numbers pass both checks.
    #[error("not a credit code: rather an ID number")]
    IdNumber,
    #[error("not a credit code: check character of the organisation code does not fit")]
    OrganisationCheck,
    #[error("not a credit code: check character does not fit")]
    Check,
}

impl CreditCode {
    /// Lower-case letters, full-width characters, blanks and dashes are fine.
    pub fn parse(typed: &str) -> Result<CreditCode, NotACreditCode> {
        let mut code = [0u8; LENGTH];
        let mut length = 0;
        for c in trim(typed).chars() {
            let c = match narrow(c).to_ascii_uppercase() {
                '-' => continue,
                c if is_gap(c) => continue,
                c if value(c as u32).is_some() => c as u8,
                _ => return Err(NotACreditCode::Characters),
            };
            *code.get_mut(length).ok_or(NotACreditCode::Length)? = c;
            length += 1;
        }
        match length {
            0 => return Err(NotACreditCode::Absent),
            LENGTH => {}
            _ => return Err(NotACreditCode::Length),
        }
        if !code[2..8].iter().all(u8::is_ascii_digit) {
            return Err(NotACreditCode::Characters);
        }
        let province = id_card::number(&code[2..4]);
        if province != 10 && !id_card::is_province(province) {
            return Err(NotACreditCode::Province);
        }
        if organisation_check(&code) != code[16] {
            return Err(NotACreditCode::OrganisationCheck);
        }
        if check(&code) != code[17] {
            return Err(NotACreditCode::Check);
        }
        if reads_as_id(&code) {
            return Err(NotACreditCode::IdNumber);
        }
        Ok(CreditCode(code))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("parse took the alphabet only")
    }

    /// The six digits of the division where it is registered.
    pub fn division(&self) -> &str {
        &self.as_str()[2..8]
    }
}

/// Shows the mask: the code of a one-person business is personal data.
impl fmt::Debug for CreditCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CreditCode({})", super::mask_value(self.as_str()))
    }
}

const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

/// Place in the alphabet of GB 32100.
fn value(c: u32) -> Option<u32> {
    const VALUES: [u8; 128] = {
        let mut values = [u8::MAX; 128];
        let mut at = 0;
        while at < ALPHABET.len() {
            values[ALPHABET[at] as usize] = at as u8;
            at += 1;
        }
        values
    };
    VALUES.get(c as usize).filter(|value| **value != u8::MAX).map(|value| u32::from(*value))
}

fn reads_as_id(code: &[u8; LENGTH]) -> bool {
    let birth = || id_card::read_birth(code).filter(|birth| (1900..2100).contains(&birth.year()));
    code[..17].iter().all(u8::is_ascii_digit) && id_card::is_province(id_card::number(&code[..2])) && birth().is_some()
}

fn check(code: &[u8; LENGTH]) -> u8 {
    const WEIGHTS: [u32; 17] = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];
    let sum: u32 = code.iter().zip(WEIGHTS).map(|(c, weight)| value(u32::from(*c)).unwrap_or(0) * weight).sum();
    ALPHABET[((31 - sum % 31) % 31) as usize]
}

/// GB 11714 counts letters from A = 10 without a gap, unlike GB 32100.
fn organisation_check(code: &[u8; LENGTH]) -> u8 {
    const WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];
    let value = |c: u8| u32::from(if c.is_ascii_digit() { c - b'0' } else { c - b'A' + 10 });
    let sum: u32 = code[8..16].iter().zip(WEIGHTS).map(|(c, weight)| value(*c) * weight).sum();
    b"0123456789X"[((11 - sum % 11) % 11) as usize]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn show(typed: &str) -> Result<String, NotACreditCode> {
        CreditCode::parse(typed).map(|code| code.as_str().to_owned())
    }

    #[test]
    fn the_standards_example_is_valid() {
        assert_eq!(show("91350100M000100Y43").as_deref(), Ok("91350100M000100Y43"));
        assert_eq!(CreditCode::parse("91350100M000100Y43").unwrap().division(), "350100");
    }

    #[test]
    fn small_letters_full_width_and_blanks_are_fine() {
        assert_eq!(show(" 91350100m000100y43 ").as_deref(), Ok("91350100M000100Y43"));
        assert_eq!(show("９１３５０１００Ｍ０００１００Ｙ４３").as_deref(), Ok("91350100M000100Y43"));
        assert_eq!(show("913501 00 M000100Y4 3").as_deref(), Ok("91350100M000100Y43"));
    }

    #[test]
    fn what_is_wrong_has_a_reason() {
        assert_eq!(show("\u{3000}"), Err(NotACreditCode::Absent));
        assert_eq!(show("91350100M000100Y4"), Err(NotACreditCode::Length));
        assert_eq!(show("91350100M000100Y44"), Err(NotACreditCode::Check));
        assert_eq!(show("91350100M000100Y53"), Err(NotACreditCode::OrganisationCheck));
        assert_eq!(show("91350100O000100Y43"), Err(NotACreditCode::Characters));
        assert_eq!(show("9135A100M000100Y43"), Err(NotACreditCode::Characters));
        assert_eq!(show(&"9".repeat(1 << 20)), Err(NotACreditCode::Length));
        assert_eq!(show("36070219710368061X"), Err(NotACreditCode::Province));
        // Both checks fit, but they are ID numbers with one digit wrong.
        assert_eq!(show("360103197207037241"), Err(NotACreditCode::Province));
        assert_eq!(show("361103198305131396"), Err(NotACreditCode::IdNumber));
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>()) {
            let _ = CreditCode::parse(&text);
        }

        #[test]
        fn one_wrong_character_is_found(at in 0usize..18, with in 0usize..31) {
            let mut code = *b"91350100M000100Y43";
            let same = code[at] == ALPHABET[with];
            code[at] = ALPHABET[with];
            prop_assert_eq!(CreditCode::parse(std::str::from_utf8(&code).unwrap()).is_ok(), same);
        }
    }
}
