//! Dates and times in every form that systems really send.
//!
//! A text without a zone is local time of its source. Where the clocks once jumped (Shanghai kept summer time 1986 to
//! 1991), a time that came twice is the **earlier** instant, and one that never came is read as if the clock had not
//! jumped, which is **later by the gap** on the wall. A form that can mean two days (`02/06/2026` without AM or PM,
//! two-digit years, a month without a year) is not read.

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use self::scan::Scan;
use super::width::is_gap;

mod scan;

/// The instant a text means. A day alone is its midnight; fractions are kept to the nanosecond.
pub fn parse_time(typed: &str, zone: Tz) -> Option<DateTime<Utc>> {
    read(typed)?.instant(NaiveTime::MIN, zone)
}

/// The instant until which a text says: of a day alone its last second.
pub fn parse_due(typed: &str, zone: Tz) -> Option<DateTime<Utc>> {
    read(typed)?.instant(NaiveTime::from_hms_opt(23, 59, 59)?, zone)
}

/// The day a text means, on the calendar of `zone`.
pub fn parse_date(typed: &str, zone: Tz) -> Option<NaiveDate> {
    Some(match read(typed)? {
        Moment::Day(day) => day,
        Moment::Local(local) => local.date(),
        Moment::Instant(instant) => instant.with_timezone(&zone).date_naive(),
    })
}

enum Moment {
    /// No time was written.
    Day(NaiveDate),
    Local(NaiveDateTime),
    Instant(DateTime<Utc>),
}

impl Moment {
    /// A day alone is this time of it. Years are those that calendars of four digits have, in UTC too: what .NET writes for
    /// no time at all, `0001-01-01 00:00:00`, is none east of Greenwich.
    fn instant(self, of_day: NaiveTime, zone: Tz) -> Option<DateTime<Utc>> {
        let instant = match self {
            Moment::Day(day) => instant(day.and_time(of_day), zone),
            Moment::Local(local) => instant(local, zone),
            Moment::Instant(instant) => instant,
        };
        (1..=9999).contains(&instant.year()).then_some(instant)
    }
}

fn read(typed: &str) -> Option<Moment> {
    match common(typed.as_bytes()) {
        Some(moment) => Some(moment),
        None if typed.trim_start().starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') => printed(typed),
        None if typed.trim_start().starts_with('[') => listed(typed),
        None => other(Scan::new(typed)?),
    }
}

/// What Jackson makes of a local date or time of Java when nobody told it a form: `[2026,6,8,18,0,5,123000000]`, the last
/// in nanoseconds; seconds of 0 are left out.
fn listed(typed: &str) -> Option<Moment> {
    if typed.len() > LONGEST {
        return None;
    }
    let numbers: Vec<u32> = serde_json::from_str(typed).ok()?;
    let (&[year, month, day], time) = numbers.split_first_chunk()?;
    let date = day_of(year, month, day).filter(|_| year >= 1000)?;
    let (hour, minute, second, nanosecond) = match *time {
        [] => return Some(Moment::Day(date)),
        [hour, minute] => (hour, minute, 0, 0),
        [hour, minute, second] => (hour, minute, second, 0),
        [hour, minute, second, nanosecond] => (hour, minute, second, nanosecond),
        _ => return None,
    };
    date.and_hms_nano_opt(hour, minute, second, nanosecond)
        .filter(|time| time.nanosecond() < 1_000_000_000)
        .map(Moment::Local)
}

/// In bytes, of what programs print.
const LONGEST: usize = 80;

/// What programs print that nobody told a form: Java (`Mon Jun 08 18:00:05 CST 2026`, where CST is the clock of the source, and
/// `Jun 8, 2026 6:00:05 PM`), JavaScript (`Mon Jun 08 2026 18:00:05 GMT+0800 (中国标准时间)`), HTTP
/// (`Mon, 08 Jun 2026 10:00:05 GMT`), .NET (`/Date(1780912805000+0800)/`).
fn printed(typed: &str) -> Option<Moment> {
    if typed.len() > LONGEST {
        return None;
    }
    let mut words: Vec<&str> = typed.split(is_gap).filter(|word| !word.is_empty()).collect();
    if let [word] = words[..] {
        let number = word.strip_prefix("/Date(")?.strip_suffix(")/")?;
        // Behind the sign stands how a clock would show it.
        let (number, zone) = number.split_at_checked(13)?;
        let is_zone = |zone: &str| zone.len() == 5 && zone.starts_with(['+', '-']) && is_number(&zone[1..]);
        let is_instant = is_number(number) && (zone.is_empty() || is_zone(zone));
        return milliseconds(number.parse().ok().filter(|_| is_instant)?).map(Moment::Instant);
    }
    if let Some(name) = words.iter().position(|word| word.starts_with('(')) {
        words.truncate(name);
    }
    let is_local = words.contains(&"CST");
    words.retain(|word| *word != "CST");
    let text = words.join(" ");
    let of_zone = |form| DateTime::parse_from_str(&text, form).ok();
    let local = |form| NaiveDateTime::parse_from_str(&text, form).ok();
    let found = if is_local {
        local("%a %b %d %H:%M:%S %Y").map(Moment::Local)
    } else if let Some(utc) = text.strip_suffix(" GMT") {
        NaiveDateTime::parse_from_str(utc, "%a, %d %b %Y %H:%M:%S").ok().map(|utc| Moment::Instant(utc.and_utc()))
    } else {
        let zoned = ["%a %b %d %Y %H:%M:%S GMT%z", "%a %b %d %H:%M:%S GMT%z %Y"].into_iter().find_map(of_zone);
        let halves = ["%b %d, %Y %I:%M:%S %p", "%b %d, %Y, %I:%M:%S %p"];
        zoned
            .map(|time| Moment::Instant(time.to_utc()))
            .or_else(|| halves.into_iter().find_map(local).map(Moment::Local))
    }?;
    // What is written with two digits is of no year that we know, and the second behind 59 is none here.
    let (year, nanosecond) = match &found {
        Moment::Instant(instant) => (instant.year(), instant.nanosecond()),
        Moment::Local(local) => (local.year(), local.nanosecond()),
        Moment::Day(_) => return None,
    };
    ((1000..=9999).contains(&year) && nanosecond == 0).then_some(found)
}

/// `yyyy-MM-dd HH:mm:ss` and `yyyy/M/d H:m:s`, with or without seconds or time: nearly all there is.
fn common(text: &[u8]) -> Option<Moment> {
    let mut rest = text;
    let year = take(&mut rest, 4, 4)?;
    let separator = *rest.first()?;
    if separator != b'-' && separator != b'/' {
        return None;
    }
    rest = &rest[1..];
    let month = take(&mut rest, 1, 2)?;
    rest = rest.strip_prefix(&[separator])?;
    let day = take(&mut rest, 1, 2)?;
    let date = day_of(year, month, day)?;
    if rest.is_empty() {
        return Some(Moment::Day(date));
    }
    rest = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"T"))?;
    let hour = take(&mut rest, 1, 2)?;
    rest = rest.strip_prefix(b":")?;
    let minute = take(&mut rest, 1, 2)?;
    let second = match rest {
        [] => 0,
        [b':', seconds @ ..] => {
            rest = seconds;
            take(&mut rest, 1, 2)?
        }
        _ => return None,
    };
    if rest.is_empty() { date.and_hms_opt(hour, minute, second).map(Moment::Local) } else { None }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn take(rest: &mut &[u8], fewest: usize, most: usize) -> Option<u32> {
    let length = rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    if length < fewest {
        return None;
    }
    let (digits, behind) = rest.split_at(length);
    *rest = behind;
    Some(digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

fn day_of(year: u32, month: u32, day: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year as i32, month, day).filter(|date| (1..=9999).contains(&date.year()))
}

/// Local time to instant. Shanghai has been at +8 without a break since 1992, so most texts need no look into the table.
fn instant(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    if zone == Tz::Asia__Shanghai && local.year() >= 1992 {
        return (local - Duration::hours(8)).and_utc();
    }
    match zone.from_local_datetime(&local) {
        chrono::LocalResult::Single(instant) | chrono::LocalResult::Ambiguous(instant, _) => instant.to_utc(),
        chrono::LocalResult::None => {
            // In the gap. No clock jumps by more than a day.
            let before = zone.offset_from_local_datetime(&(local - Duration::days(1))).earliest();
            let offset = before.map_or(0, |offset| offset.fix().local_minus_utc());
            (local - Duration::seconds(i64::from(offset))).and_utc()
        }
    }
}

/// All other forms.
fn other(mut scan: Scan) -> Option<Moment> {
    let (number, length) = scan.number()?;
    if scan.at_end() {
        return whole_number(number, length);
    }
    if scan.peek() == Some(b'.') {
        match length {
            1 => return exponential(scan.bytes()),
            5 | 10 | 13 => return decimal(scan.bytes(), length),
            _ => {}
        }
    }
    let mut order = Order::YearFirst;
    let mut time = None;
    let date = match length {
        14 if number % 1_000_000 == 240_000 => {
            time = Some(NaiveTime::MIN);
            compact_date(number / 1_000_000)?.succ_opt()?
        }
        14 => {
            time = Some(time_of(number % 1_000_000)?);
            compact_date(number / 1_000_000)?
        }
        8 => compact_date(number)?,
        4 => written_date(&mut scan, number as u32)?,
        1 | 2 => {
            order = Order::MonthFirst;
            american_date(&mut scan, number as u32)?
        }
        _ => return None,
    };
    let time = match time {
        Some(time) => Time { time, ..Time::MIDNIGHT },
        None if scan.at_end() => return (order == Order::YearFirst).then_some(Moment::Day(date)),
        None => time_of_day(&mut scan, length == 8)?,
    };
    if order == Order::MonthFirst && !time.has_half {
        return None; // may be day first
    }
    let local = (date + Duration::days(i64::from(time.next_day))).and_time(time.time);
    let moment = match scan.zone()? {
        None => Moment::Local(local),
        // `10:00-12:00` is from ten to twelve; `T`, or the name of a zone, tells that it is none of these.
        Some(..0) if !scan.bytes().contains(&b't') => return None,
        Some(east) => Moment::Instant((local - Duration::seconds(i64::from(east))).and_utc()),
    };
    scan.at_end().then_some(moment)
}

#[derive(PartialEq)]
enum Order {
    YearFirst,
    MonthFirst,
}

/// Ten digits from here on are rather `2026060818` or `2606081800` than seconds after 2033.
const LAST_SECONDS: u64 = 2_000_000_000;

/// Nothing but digits: how many tells what they are.
fn whole_number(number: u64, length: usize) -> Option<Moment> {
    match length {
        5 => serial(number as f64).map(|midnight| Moment::Day(midnight.date())),
        8 => near_date(number).map(Moment::Day),
        10 if (1_000_000_000..LAST_SECONDS).contains(&number) => {
            DateTime::from_timestamp(number as i64, 0).map(Moment::Instant)
        }
        12 => Some(Moment::Local(local_of(near_date(number / 10_000)?, number % 10_000 * 100)?)),
        13 => milliseconds(number).map(Moment::Instant),
        14 => Some(Moment::Local(local_of(compact_date(number / 1_000_000)?, number % 1_000_000)?)),
        17 => {
            let second = number / 1000;
            let local = local_of(compact_date(second / 1_000_000)?, second % 1_000_000)?;
            let behind = Some(number % 1000).filter(|behind| *behind == 0 || second % 1_000_000 != 240_000)?;
            Some(Moment::Local(local + Duration::milliseconds(behind as i64)))
        }
        _ => None,
    }
}

/// An Excel serial, or epoch seconds or milliseconds with a fraction.
fn decimal(text: &[u8], whole_length: usize) -> Option<Moment> {
    let fraction = &text[whole_length + 1..];
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    if whole_length == 5 {
        let whole = fraction.iter().all(|digit| *digit == b'0');
        let local = serial(text.parse().ok()?)?;
        return Some(if whole { Moment::Day(local.date()) } else { Moment::Local(local) });
    }
    if whole_length == 13 {
        let behind = Duration::nanoseconds(i64::from(scan::nanoseconds(fraction) / 1000));
        return Some(Moment::Instant(milliseconds(text[..whole_length].parse().ok()?)? + behind));
    }
    let seconds =
        text[..whole_length].parse().ok().filter(|seconds| (1_000_000_000..LAST_SECONDS).contains(seconds))?;
    DateTime::from_timestamp(seconds as i64, scan::nanoseconds(fraction)).map(Moment::Instant)
}

/// `1.780246064E12`, as Java writes epoch milliseconds that are a double. Spreadsheets keep fewer digits: not read.
fn exponential(text: &[u8]) -> Option<Moment> {
    let digits = text.strip_prefix(b"1.")?.strip_suffix(b"e12")?;
    if !(6..=12).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(12);
    milliseconds(padded.fold(1, |number, digit| number * 10 + u64::from(digit - b'0'))).map(Moment::Instant)
}

fn milliseconds(number: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(number as i64).filter(|_| number >= 100_000_000_000)
}

/// Days since 1899-12-30. Spreadsheets store them as floats: 10:20:31 comes as 10:20:30.999995, so we round to the
/// second. Outside of 1954 to 2119 a five-digit number is not a date.
fn serial(days: f64) -> Option<NaiveDateTime> {
    if !(20_000.0..=80_000.0).contains(&days) {
        return None;
    }
    let seconds = (days * 86_400.0).round() as i64;
    Some(NaiveDate::from_ymd_opt(1899, 12, 30)?.and_time(NaiveTime::MIN) + Duration::seconds(seconds))
}

fn compact_date(number: u64) -> Option<NaiveDate> {
    day_of((number / 10_000) as u32, (number / 100 % 100) as u32, (number % 100) as u32)
}

/// The date, but not where a year far from ours is one of two digits and its month: `260608…` is none of the year 2606.
fn near_date(number: u64) -> Option<NaiveDate> {
    compact_date(number).filter(|date| (1900..=2100).contains(&date.year()) || !(1..=12).contains(&(date.year() % 100)))
}

/// A day and its time; the end of a day may be written as 24:00.
fn local_of(date: NaiveDate, time: u64) -> Option<NaiveDateTime> {
    if time == 240_000 { Some(date.succ_opt()?.and_time(NaiveTime::MIN)) } else { Some(date.and_time(time_of(time)?)) }
}

fn time_of(number: u64) -> Option<NaiveTime> {
    NaiveTime::from_hms_opt((number / 10_000) as u32, (number / 100 % 100) as u32, (number % 100) as u32)
}

/// Behind the year: `-1-6`, `/01/06`, `.6.15`, `年12月30日`.
fn written_date(scan: &mut Scan, year: u32) -> Option<NaiveDate> {
    let chinese = scan.eat_mark(scan::YEAR);
    let separator =
        if chinese { scan::MONTH } else { scan.next().filter(|mark| matches!(mark, b'-' | b'/' | b'.'))? };
    scan.blank_if(chinese);
    let month = scan.short_number()?;
    let ends = if chinese { scan.eat_mark(separator) } else { scan.eat(separator) };
    ends.then_some(())?;
    scan.blank_if(chinese);
    let day = scan.short_number()?;
    if chinese {
        scan.eat_mark(scan::DAY);
    }
    day_of(year, month, day)
}

/// Behind the month: `/06/2026`. NYC and programs of American make write so.
fn american_date(scan: &mut Scan, month: u32) -> Option<NaiveDate> {
    scan.eat(b'/').then_some(())?;
    let day = scan.short_number()?;
    scan.eat(b'/').then_some(())?;
    match scan.number()? {
        (year, 4) => day_of(year as u32, month, day),
        _ => None,
    }
}

struct Time {
    time: NaiveTime,
    /// Written as 24:00.
    next_day: bool,
    /// AM, PM, 上午, 下午 … was said.
    has_half: bool,
}

impl Time {
    const MIDNIGHT: Time = Time { time: NaiveTime::MIN, next_day: false, has_half: false };
}

/// Behind the date: `T12:09:38.123`, ` 10时5分`, `上午7点50`, ` 02:05:09 AM`, and `T120938` behind a compact date.
fn time_of_day(scan: &mut Scan, compact: bool) -> Option<Time> {
    let separated = scan.eat(b't') || scan.eat(b' ');
    scan.eat(b' ');
    let mut half = scan.half_of_day();
    if !separated && half.is_none() && !scan.follows(scan::DAY) {
        return None;
    }
    let (number, length) = scan.number()?;
    let (hour, minute, second, nanosecond) = match length {
        1 | 2 => scan.clock(number as u32)?,
        6 if compact => {
            ((number / 10_000) as u32, (number / 100 % 100) as u32, (number % 100) as u32, scan.fraction()?)
        }
        4 if compact => ((number / 100) as u32, (number % 100) as u32, 0, 0),
        _ => return None,
    };
    if half.is_none() {
        half = scan.half_behind();
    }
    let has_half = half.is_some();
    if (hour, minute, second, nanosecond) == (24, 0, 0, 0) && !has_half {
        return Some(Time { next_day: true, ..Time::MIDNIGHT });
    }
    let hour = match half {
        None => hour,
        Some(half) => half.hour(hour)?,
    };
    let time = NaiveTime::from_hms_nano_opt(hour, minute, second, nanosecond).filter(|_| second < 60)?;
    Some(Time { time, next_day: false, has_half })
}

#[cfg(test)]
mod tests;
