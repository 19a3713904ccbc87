//! Reads a date text left to right, after it was brought to one byte per thing that matters.

use crate::text::width::{is_gap, narrow};

/// Marks of the normalised text above ASCII.
pub(super) const YEAR: u8 = 0x80;
pub(super) const MONTH: u8 = 0x81;
pub(super) const DAY: u8 = 0x82;
const HOUR: u8 = 0x83;
const MINUTE: u8 = 0x84;
const SECOND: u8 = 0x85;
const MORNING: u8 = 0x86;
const NOON: u8 = 0x87;
const AFTERNOON: u8 = 0x88;
const EVENING: u8 = 0x89;

/// Longer than any date; what does not fit is none.
const LONGEST: usize = 48;

/// A normalised text (half-width, lower-case, single blanks, Chinese marks as one byte) and how far it was read.
pub(super) struct Scan {
    bytes: [u8; LONGEST],
    length: usize,
    at: usize,
}

/// Which half of the day an hour on the clock face belongs to.
#[derive(Clone, Copy)]
pub(super) enum Half {
    Morning,
    Noon,
    Afternoon,
    Evening,
}

impl Half {
    /// Some write `下午15:00`; that is fine. `晚上12点` may be either midnight, `晚上1点` is rather the night's than the
    /// afternoon's: not read.
    pub(super) fn hour(self, hour: u32) -> Option<u32> {
        match (self, hour) {
            (Half::Morning, 0..=11) => Some(hour),
            (Half::Morning, 12) => Some(0),
            (Half::Noon, 11 | 12) => Some(hour),
            (Half::Noon, 1..=2) => Some(hour + 12),
            (Half::Afternoon, 12..=23) | (Half::Evening, 13..=23) => Some(hour),
            (Half::Afternoon, 1..=11) | (Half::Evening, 5..=11) => Some(hour + 12),
            _ => None,
        }
    }
}

impl Scan {
    pub(super) fn new(text: &str) -> Option<Scan> {
        let mut scan = Scan { bytes: [0; LONGEST], length: 0, at: 0 };
        let mut rest = text.chars();
        let mut after_gap = false;
        while let Some(c) = rest.next() {
            let byte = match narrow(c) {
                c if is_gap(c) => {
                    after_gap = true;
                    continue;
                }
                c if c.is_ascii() => c.to_ascii_lowercase() as u8,
                '年' => YEAR,
                '月' => MONTH,
                '日' | '号' => DAY,
                '时' | '点' => HOUR,
                '分' => MINUTE,
                '秒' => SECOND,
                '—' | '–' => b'-',
                c => match (c, rest.next()?) {
                    ('上', '午') | ('早', '上' | '晨') | ('凌', '晨') => MORNING,
                    ('中', '午') => NOON,
                    ('下', '午') => AFTERNOON,
                    ('晚', '上') | ('傍', '晚') => EVENING,
                    _ => return None,
                },
            };
            if after_gap && scan.length > 0 {
                scan.push(b' ')?;
            }
            after_gap = false;
            scan.push(byte)?;
        }
        Some(scan)
    }

    fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.length)? = byte;
        self.length += 1;
        Some(())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..self.length]
    }

    pub(super) fn at_end(&self) -> bool {
        self.at == self.length
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// A Chinese mark, also behind a blank: `5 月`.
    pub(super) fn eat_mark(&mut self, mark: u8) -> bool {
        self.eat_word(&[b' ', mark]) || self.eat(mark)
    }

    fn eat_word(&mut self, word: &[u8]) -> bool {
        let found = self.rest().starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Whether `byte` was read last.
    pub(super) fn follows(&self, byte: u8) -> bool {
        self.at > 0 && self.bytes[self.at - 1] == byte
    }

    pub(super) fn blank_if(&mut self, allowed: bool) {
        if allowed {
            self.eat(b' ');
        }
    }

    /// All digits from here on, and how many they are.
    pub(super) fn number(&mut self) -> Option<(u64, usize)> {
        let length = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=17).contains(&length) {
            return None;
        }
        let number = self.rest()[..length].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        self.at += length;
        Some((number, length))
    }

    /// One or two digits.
    pub(super) fn short_number(&mut self) -> Option<u32> {
        self.number().filter(|(_, length)| *length <= 2).map(|(number, _)| number as u32)
    }

    pub(super) fn half_of_day(&mut self) -> Option<Half> {
        let half = match self.peek()? {
            MORNING => Half::Morning,
            NOON => Half::Noon,
            AFTERNOON => Half::Afternoon,
            EVENING => Half::Evening,
            _ => return self.latin_half(),
        };
        self.at += 1;
        self.eat(b' ');
        Some(half)
    }

    /// AM or PM behind the time.
    pub(super) fn half_behind(&mut self) -> Option<Half> {
        let before = self.at;
        self.eat(b' ');
        let half = self.latin_half();
        if half.is_none() {
            self.at = before;
        }
        half
    }

    fn latin_half(&mut self) -> Option<Half> {
        let half = match self.rest() {
            [b'a', b'm', ..] => Half::Morning,
            [b'p', b'm', ..] => Half::Afternoon,
            _ => return None,
        };
        self.at += 2;
        self.eat(b' ');
        Some(half)
    }

    /// Behind the hour: `:09`, `:09:38.123`, `时5分`, `点50`, `时`.
    pub(super) fn clock(&mut self, hour: u32) -> Option<(u32, u32, u32, u32)> {
        if self.eat(b':') {
            let minute = self.short_number()?;
            if !self.eat(b':') {
                return Some((hour, minute, 0, 0));
            }
            let second = self.short_number()?;
            return Some((hour, minute, second, self.fraction()?));
        }
        self.eat_mark(HOUR).then_some(())?;
        self.eat(b' ');
        let Some(minute) = self.short_number() else { return Some((hour, 0, 0, 0)) };
        if !self.eat_mark(MINUTE) {
            return Some((hour, minute, 0, 0));
        }
        self.eat(b' ');
        let Some(second) = self.short_number() else { return Some((hour, minute, 0, 0)) };
        self.eat_mark(SECOND).then_some((hour, minute, second, 0))
    }

    /// Nanoseconds of `.123` or `,123`; 0 if there is none, `None` if no digit follows the point.
    pub(super) fn fraction(&mut self) -> Option<u32> {
        if !self.eat(b'.') && !self.eat(b',') {
            return Some(0);
        }
        let length = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return None;
        }
        let nanoseconds = nanoseconds(&self.rest()[..length]);
        self.at += length;
        Some(nanoseconds)
    }

    /// Seconds east of Greenwich: `z`, `+08:00`, `+0800`, `+08`, `utc`, `gmt+8`. `Some(None)` when no zone is written,
    /// `None` when one is but cannot be.
    pub(super) fn zone(&mut self) -> Option<Option<i32>> {
        self.eat(b' ');
        if self.at_end() {
            return Some(None);
        }
        if self.eat(b'z') {
            return Some(Some(0));
        }
        let named = self.eat_word(b"utc") || self.eat_word(b"gmt");
        let sign = match self.peek() {
            None if named => return Some(Some(0)),
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return None,
        };
        self.at += 1;
        let (hours, minutes) = match self.number()? {
            (hours, 2) if self.eat(b':') => match self.number()? {
                (minutes, 2) => (hours, minutes),
                _ => return None,
            },
            (hours, 2) => (hours, 0),
            (hours, 1) if named => (hours, 0),
            (both, 4) => (both / 100, both % 100),
            _ => return None,
        };
        let exists = hours <= 14 && minutes < 60;
        exists.then(|| Some(sign * (hours * 3600 + minutes * 60) as i32))
    }
}

pub(super) fn nanoseconds(fraction: &[u8]) -> u32 {
    let digits = fraction.iter().map(|digit| u32::from(digit - b'0')).chain(std::iter::repeat(0));
    digits.take(9).fold(0, |number, digit| number * 10 + digit)
}
