//! Times as sources write them. A small set of forms, done by hand: a message holds half a dozen of them, and we make
//! hundreds of thousands of messages a second.

#[derive(Clone, PartialEq, Debug)]
pub enum Format {
    EpochMillis,
    EpochSeconds,
    Local(Vec<Item>),
}

#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    Text(String),
    Year,
    ShortYear,
    Month { padded: bool },
    Day { padded: bool },
    Hour { padded: bool },
    Minute,
    Second,
}

impl Format {
    pub fn parse(text: &str) -> Result<Format, String> {
        match text {
            "epoch_ms" => return Ok(Format::EpochMillis),
            "epoch_s" => return Ok(Format::EpochSeconds),
            _ => {}
        }
        let mut items = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            if at > 0 {
                items.push(Item::Text(rest[..at].to_owned()));
            }
            let code = &rest[at + 1..];
            let (padded, code) = match code.strip_prefix('-') {
                Some(code) => (false, code),
                None => (true, code),
            };
            let Some(letter) = code.chars().next() else {
                return Err("`%` at the end of a time format".to_owned());
            };
            items.push(match (letter, padded) {
                ('Y', true) => Item::Year,
                ('y', true) => Item::ShortYear,
                ('m', _) => Item::Month { padded },
                ('d', _) => Item::Day { padded },
                ('H', _) => Item::Hour { padded },
                ('M', true) => Item::Minute,
                ('S', true) => Item::Second,
                _ => {
                    let code = &rest[at..rest.len() - code.len() + letter.len_utf8()];
                    return Err(format!("unknown time format `{code}`; there are %Y %y %m %-m %d %-d %H %-H %M %S"));
                }
            });
            rest = &code[letter.len_utf8()..];
        }
        if !rest.is_empty() {
            items.push(Item::Text(rest.to_owned()));
        }
        if !items.iter().any(|item| !matches!(item, Item::Text(_))) && !text.is_empty() {
            return Err(format!("`{text}` is no time format; write epoch_ms, epoch_s or e.g. %Y-%m-%d %H:%M:%S"));
        }
        if items.is_empty() {
            return Err("empty time format; write epoch_ms, epoch_s or e.g. %Y-%m-%d %H:%M:%S".to_owned());
        }
        Ok(Format::Local(items))
    }

    /// Appends a moment (milliseconds since 1970) as it is told `offset` milliseconds east of Greenwich.
    pub fn write(&self, moment: i64, offset: i64, out: &mut String) {
        let items = match self {
            Format::EpochMillis => return number(moment, 0, out),
            Format::EpochSeconds => return number(moment.div_euclid(1000), 0, out),
            Format::Local(items) => items,
        };
        let (year, month, date) = civil(day(moment, offset));
        let second = (moment + offset).div_euclid(1000).rem_euclid(86_400);
        let width = |padded| if padded { 2 } else { 1 };
        for item in items {
            match item {
                Item::Text(text) => out.push_str(text),
                Item::Year => number(year, 4, out),
                Item::ShortYear => number(year.rem_euclid(100), 2, out),
                Item::Month { padded } => number(month, width(*padded), out),
                Item::Day { padded } => number(date, width(*padded), out),
                Item::Hour { padded } => number(second / 3600, width(*padded), out),
                Item::Minute => number(second / 60 % 60, 2, out),
                Item::Second => number(second % 60, 2, out),
            }
        }
    }
}

/// Days since 1970-01-01, in local days.
pub fn day(moment: i64, offset: i64) -> i64 {
    (moment + offset).div_euclid(86_400_000)
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
pub fn civil(day: i64) -> (i64, i64, i64) {
    // Counted from 1 March of year 0, so that the leap day is the last of its year.
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, date)
}

/// Appends a number with at least `width` digits.
pub fn number(value: i64, width: usize, out: &mut String) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    while rest > 0 || at + width.max(1) > digits.len() {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if value < 0 {
        out.push('-');
    }
    out.push_str(std::str::from_utf8(&digits[at..]).expect("digits are ASCII"));
}
