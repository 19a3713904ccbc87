//! Citizen ID numbers, GB 11643-1999: six digits of division, eight of birth, three of sequence, one check character.

use std::fmt;

use chrono::{Datelike, NaiveDate};

use super::width::{is_gap, narrow, trim};

/// An 18-character ID number with a valid check character and birth date.
///
/// Whether the birth lies in the future is for the caller to ask: nobody reads the clock in here. The division is the
/// one **at issue**, so it may be retired ([`super::Divisions::lookup`] with the birth date knows those).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdCard([u8; LENGTH]);

const LENGTH: usize = 18;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum NotAnId {
    #[error("not an id card: nothing given")]
    Absent,
    #[error("not an id card: digits are masked")]
    Masked,
    /// Fifteen digits, no check digit. No longer a legal document since 2013, and nothing in it proves itself.
    #[error("not an id card: 15 digits of the first generation")]
    FirstGeneration,
    #[error("not an id card: wrong length")]
    Length,
    #[error("not an id card: other characters than digits")]
    Characters,
    #[error("not an id card: no such province")]
    Province,
    #[error("not an id card: no such birth date")]
    Birth,
    #[error("not an id card: check digit does not fit")]
    Check,
}

impl IdCard {
    /// Full-width characters, a lower-case `x`, and blanks and dashes between the groups are fine.
    pub fn parse(typed: &str) -> Result<IdCard, NotAnId> {
        let mut id = [0u8; LENGTH];
        let mut length = 0;
        for c in trim(typed).chars() {
            let c = match narrow(c).to_ascii_uppercase() {
                c if is_gap(c) => continue,
                '-' if length > 0 => continue,
                '*' | '×' => return Err(NotAnId::Masked),
                c @ ('0'..='9' | 'X') => c as u8,
                _ => return Err(NotAnId::Characters),
            };
            *id.get_mut(length).ok_or(NotAnId::Length)? = c;
            length += 1;
        }
        let x_in_front = id[..length].iter().take(LENGTH - 1).any(|c| *c == b'X');
        match length {
            _ if x_in_front => return Err(NotAnId::Characters),
            0 => return Err(NotAnId::Absent),
            15 => return Err(NotAnId::FirstGeneration),
            LENGTH => {}
            _ => return Err(NotAnId::Length),
        }
        // A foreigner's permanent residence card of 2023: a 9, the province, three digits of nationality.
        let province = if id[0] == b'9' { &id[1..3] } else { &id[..2] };
        if !is_province(number(province)) {
            return Err(NotAnId::Province);
        }
        let id = IdCard(id);
        id.read_birth().ok_or(NotAnId::Birth)?;
        if check_digit(&id.0) != id.0[17] {
            return Err(NotAnId::Check);
        }
        Ok(id)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("parse took digits and X only")
    }

    pub fn birth(&self) -> NaiveDate {
        self.read_birth().expect("parse checked the date")
    }

    fn read_birth(&self) -> Option<NaiveDate> {
        read_birth(&self.0)
    }

    /// The six digits of the division that issued the first card, as it was called then; of a foreigner's card no division.
    pub fn division(&self) -> &str {
        &self.as_str()[..6]
    }
}

/// Shows the mask: an ID number belongs into no log.
impl fmt::Debug for IdCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdCard({})", super::mask_id(self.as_str()))
    }
}

/// The birth date inside 18 ASCII characters that look like an ID number. The standard's own example was born in 1880.
pub(super) fn read_birth(id: &[u8; LENGTH]) -> Option<NaiveDate> {
    let birth = NaiveDate::from_ymd_opt(number(&id[6..10]) as i32, number(&id[10..12]), number(&id[12..14]))?;
    (birth.year() >= 1800).then_some(birth)
}

pub(super) fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit.wrapping_sub(b'0')))
}

/// GB/T 2260, with the residence permits of Hong Kong, Macao and Taiwan (81-83).
pub(super) fn is_province(code: u32) -> bool {
    matches!(code, 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83)
}

fn check_digit(id: &[u8; LENGTH]) -> u8 {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = id.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    b"10X98765432"[sum as usize % 11]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(typed: &str, expected: Result<&str, NotAnId>) {
        assert_eq!(IdCard::parse(typed).as_ref().map(IdCard::as_str).map_err(|reason| *reason), expected, "{typed:?}");
    }

    #[test]
    fn numbers_of_the_standard_and_of_jiangxi_are_valid() {
        for id in [
            "11010519491231002X",
            "440524188001010014",
            "360102199003070014",
            "362201197506152144",
            "360702200012311236",
            "361103198810103313",
        ] {
            check(id, Ok(id));
        }
    }

    #[test]
    fn cards_of_foreigners_name_the_province_behind_the_nine() {
        check("932682198501010017", Ok("932682198501010017"));
        check("911124198108030024", Ok("911124198108030024"));
        check("910124198108030024", Err(NotAnId::Province));
    }

    #[test]
    fn small_x_blanks_dashes_and_full_width_are_fine() {
        check("360102-19900307-0014", Ok("360102199003070014"));
        check("-360102199003070014", Err(NotAnId::Characters));
        check("11010519491231002x", Ok("11010519491231002X"));
        check(" 110105 19491231 002ｘ\u{A0}", Ok("11010519491231002X"));
        check("３６０１０２１９９００３０７００１４", Ok("360102199003070014"));
    }

    #[test]
    fn birth_and_division_are_in_it() {
        let id = IdCard::parse("362201197506152144").unwrap();
        assert_eq!(id.birth(), NaiveDate::from_ymd_opt(1975, 6, 15).unwrap());
        assert_eq!(id.division(), "362201");
    }

    #[test]
    fn what_is_wrong_has_a_reason() {
        check("", Err(NotAnId::Absent));
        check("360102900307001", Err(NotAnId::FirstGeneration));
        check("360102********0014", Err(NotAnId::Masked));
        check("36010219900307001", Err(NotAnId::Length));
        check("3601021990030700140", Err(NotAnId::Length));
        check("X60102199003070014", Err(NotAnId::Characters));
        check("身份证360102199003070014", Err(NotAnId::Characters));
        check("360102199003070015", Err(NotAnId::Check));
        check("360102199002300014", Err(NotAnId::Birth));
        check("000000000000000000", Err(NotAnId::Province));
        check(&"3".repeat(1 << 20), Err(NotAnId::Length));
    }

    #[test]
    fn debug_hides_the_number() {
        assert_eq!(format!("{:?}", IdCard::parse("360102199003070014").unwrap()), "IdCard(360102********0014)");
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>()) {
            let _ = IdCard::parse(&text);
        }

        #[test]
        fn reads_what_it_wrote(text in "36[01][0-9]{3}19[0-9]{2}0[1-9][12][0-9][0-9]{3}[0-9x]") {
            if let Ok(id) = IdCard::parse(&text) {
                prop_assert_eq!(IdCard::parse(id.as_str()), Ok(id));
            }
        }
    }
}
