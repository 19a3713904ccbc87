use proptest::prelude::*;

use super::*;

const SHANGHAI: Tz = Tz::Asia__Shanghai;

/// The time as a clock in Shanghai shows it.
fn show(typed: &str) -> Option<String> {
    let local = parse_time(typed, SHANGHAI)?.with_timezone(&SHANGHAI).naive_local();
    assert_eq!(parse_date(typed, SHANGHAI), Some(local.date()), "{typed:?}");
    Some(local.format("%Y-%m-%d %H:%M:%S%.f").to_string())
}

#[track_caller]
fn check(typed: &str, expected: &str) {
    assert_eq!(show(typed).as_deref(), Some(expected), "{typed:?}");
}

#[test]
fn padded_and_unpadded() {
    check("2025-09-11 09:24:15", "2025-09-11 09:24:15");
    check("2020/1/6 12:09:38", "2020-01-06 12:09:38");
    check("2019/5/9 9:49:10", "2019-05-09 09:49:10");
    check("2019/5/9 9:49", "2019-05-09 09:49:00");
    check("2025-09-11 09:24", "2025-09-11 09:24:00");
    check("2025-09-11", "2025-09-11 00:00:00");
    check("2025/9/1", "2025-09-01 00:00:00");
    check("2016.6.15", "2016-06-15 00:00:00");
    check("2016.6.15 7:50", "2016-06-15 07:50:00");
    check("2025-09-11 24:00:00", "2025-09-12 00:00:00");
    for end in ["20250911240000", "202509112400", "20250911240000000", "20250911240000+0800"] {
        check(end, "2025-09-12 00:00:00");
    }
    assert_eq!(show("20250911240001"), None);
    assert_eq!(show("20250911240000123"), None);
}

#[test]
fn what_programs_print_by_themselves() {
    for typed in [
        "Mon Jun 08 18:00:05 CST 2026",
        "Mon Jun 08 18:00:05 GMT+08:00 2026",
        "Mon Jun 08 10:00:05 GMT+00:00 2026",
        "Mon Jun 08 2026 18:00:05 GMT+0800 (中国标准时间)",
        "Mon Jun 08 2026 18:00:05 GMT+0800 (China Standard Time)",
        "Mon Jun 08 2026 18:00:05 GMT+0800",
        "Mon, 08 Jun 2026 10:00:05 GMT",
        "Jun 8, 2026 6:00:05 PM",
        "Jun 8, 2026, 6:00:05\u{202F}PM",
        " Jun  8, 2026 6:00:05 PM\n",
        "/Date(1780912805000)/",
        "/Date(1780912805000+0800)/",
    ] {
        check(typed, "2026-06-08 18:00:05");
    }
    // A wrong day of the week, another language, the zone of nobody knows where, a day alone, no time at all.
    for typed in [
        "Tue Jun 08 18:00:05 CST 2026",
        "Mon Juin 08 18:00:05 CST 2026",
        "Mon Jun 08 18:00:05 EST 2026",
        "Jun 8, 2026",
        "Mon, 08 Jun 26 10:00:05 GMT",
        "Jun 8, 26 6:00:05 PM",
        "Mon Jun 08 18:00:60 CST 2026",
        "/Date(1780912805000-x)/",
        "/Date(１７８０９１２８０５０００)/",
        "Jun 8, 2026 18:00:05 PM",
        "/Date(-62135596800000)/",
        "/Date(17809128050)/",
        "/Date(1780912805000)",
        "CST",
        "/",
        "null",
    ] {
        assert_eq!(show(typed), None, "{typed}");
    }
    let chicago = parse_time("Mon Jun 08 18:00:05 CST 2026", Tz::America__Chicago).unwrap();
    assert_eq!(chicago.to_rfc3339(), "2026-06-08T23:00:05+00:00", "the clock of the source");
}

#[test]
fn what_jackson_makes_of_java_times() {
    check("[2026,6,8,18,0,5]", "2026-06-08 18:00:05");
    check(" [2026, 6, 8, 18, 0, 5, 120000000] ", "2026-06-08 18:00:05.120");
    check("[2026,6,8,18,0]", "2026-06-08 18:00:00");
    check("[2026,6,8]", "2026-06-08 00:00:00");
    for typed in [
        "[2026,6]",
        "[2026,6,8,18]",
        "[2026,6,31]",
        "[26,6,8]",
        "[2026,6,8,24,0]",
        "[2026,6,8,18,0,60]",
        "[2026,6,8,18,0,59,1500000000]",
        "[2026,6,8,18,0,5,1,1]",
        "[2026,6,8.0]",
        "[\"2026\",6,8]",
        "[2026,6,-8]",
        "[]",
        "[",
    ] {
        assert_eq!(show(typed), None, "{typed}");
    }
    assert_eq!(show(&format!("[2026,6,8{}]", " ".repeat(100))), None);
}

#[test]
fn a_day_alone_ends_with_its_last_second() {
    let due = |typed| {
        let local = parse_due(typed, SHANGHAI)?.with_timezone(&SHANGHAI).naive_local();
        Some(local.format("%Y-%m-%d %H:%M:%S").to_string())
    };
    for day in ["2026-06-08", "2026/6/8", "2026年6月8日", "2026.6.8", "20260608", "46181", "46181.0"] {
        assert_eq!(due(day).as_deref(), Some("2026-06-08 23:59:59"), "{day}");
    }
    for (time, expected) in [
        ("2026-06-08 00:00:00", "2026-06-08 00:00:00"),
        ("2026年6月8日 0点", "2026-06-08 00:00:00"),
        ("2026-06-08 24:00", "2026-06-09 00:00:00"),
        ("1780848000", "2026-06-08 00:00:00"),
    ] {
        assert_eq!(due(time).as_deref(), Some(expected), "{time}");
    }
    assert_eq!(due("02/06/2026"), None);
}

#[test]
fn dirt_around_and_full_width() {
    check("\t2020/1/6\u{3000} 12:09:38\n", "2020-01-06 12:09:38");
    check("\u{FEFF}2020-01-06\u{A0}12：09：38", "2020-01-06 12:09:38");
    check("２０１０年１０月２０日", "2010-10-20 00:00:00");
    check("２０２０／１／６　１２：０９：３８", "2020-01-06 12:09:38");
}

#[test]
fn iso_with_and_without_zone() {
    check("2020-01-06T12:09:38", "2020-01-06 12:09:38");
    check("2020-01-06T12:09:38.123", "2020-01-06 12:09:38.123");
    check("2020-01-06 12:09:38.0", "2020-01-06 12:09:38");
    check("2020-01-06 12:09:38,5", "2020-01-06 12:09:38.500");
    check("2020-01-06T12:09:38.1234567891Z", "2020-01-06 20:09:38.123456789");
    check("2020-01-06T12:09:38Z", "2020-01-06 20:09:38");
    check("2020-01-06T20:09:38Z", "2020-01-07 04:09:38");
    check("2020-01-06T12:09Z", "2020-01-06 20:09:00");
    check("2020-01-06T12:09:38+08:00", "2020-01-06 12:09:38");
    check("2020-01-06T12:09:38.000+0800", "2020-01-06 12:09:38");
    check("2020-01-06 12:09:38 +0000", "2020-01-06 20:09:38");
    check("2020-01-06T12:09:38-05:30", "2020-01-07 01:39:38");
    check("2020-01-06 12:09:38 GMT+8", "2020-01-06 12:09:38");
    check("2020-01-06 12:09:38 UTC", "2020-01-06 20:09:38");
    check("2020-01-06 12:09:38+08:00", "2020-01-06 12:09:38");
    check("2020-01-06 12:09:38 GMT-5", "2020-01-07 01:09:38");
}

#[test]
fn compact() {
    check("20220614130023", "2022-06-14 13:00:23");
    check("20220630", "2022-06-30 00:00:00");
    check("202206301305", "2022-06-30 13:05:00");
    check("20220614130023123", "2022-06-14 13:00:23.123");
    check("99991231", "9999-12-31 00:00:00");
    check("999912312359", "9999-12-31 23:59:00");
    check("29991231", "2999-12-31 00:00:00");
    for two_digit_year in ["260608101112", "251211101108", "240102100405", "26060810", "24010210"] {
        assert_eq!(show(two_digit_year), None, "{two_digit_year}");
    }
    check("20220614T130023", "2022-06-14 13:00:23");
    check("20220614T130023Z", "2022-06-14 21:00:23");
    check("20220614 13:00:23", "2022-06-14 13:00:23");
    check("20220614130023+0000", "2022-06-14 21:00:23");
}

#[test]
fn chinese() {
    check("2019年12月30日 10时5分", "2019-12-30 10:05:00");
    check("2019年12月30日10时5分7秒", "2019-12-30 10:05:07");
    check("2019年12月30日", "2019-12-30 00:00:00");
    check("2019年 12月 30日 10:05", "2019-12-30 10:05:00");
    check("2019年12月30号10点", "2019-12-30 10:00:00");
    check("2016.6.15上午7点50", "2016-06-15 07:50:00");
    check("2020/1/6 下午 3:04:05", "2020-01-06 15:04:05");
    check("2020/1/6 上午12:05:00", "2020-01-06 00:05:00");
    check("2020/1/6 下午15:05", "2020-01-06 15:05:00");
    check("2020年1月6日凌晨1点", "2020-01-06 01:00:00");
    check("2020年1月6日中午12点30", "2020-01-06 12:30:00");
    check("2020年1月6日晚上8点", "2020-01-06 20:00:00");
    check("2026 年 5 月 31 日 14 时 30 分 5 秒", "2026-05-31 14:30:05");
    check("2026年5月31日 14时 30分", "2026-05-31 14:30:00");
    for night in ["2026年6月8日晚上1点", "2026年6月8日晚上2点30分", "2026年6月8日晚上12点"] {
        assert_eq!(show(night), None, "{night}");
    }
}

#[test]
fn american() {
    check("02/06/2026 02:05:09 AM", "2026-02-06 02:05:09");
    check("2/6/2026 12:05:09 am", "2026-02-06 00:05:09");
    check("02/06/2026 12:05 PM", "2026-02-06 12:05:00");
    check("02/06/2026 02:05:09PM", "2026-02-06 14:05:09");
    check("2026-02-06 02:05:09 PM", "2026-02-06 14:05:09");
    assert_eq!(show("02/06/2026 02:05:09"), None, "may be the second of June");
    assert_eq!(show("02/06/2026"), None);
    assert_eq!(show("13/06/2026 02:05:09 AM"), None);
}

#[test]
fn epochs() {
    check("1655182823", "2022-06-14 13:00:23");
    check("1655182823000", "2022-06-14 13:00:23");
    check("1655182823123", "2022-06-14 13:00:23.123");
    check("1655182823.5", "2022-06-14 13:00:23.500");
    check("1655182823000.0", "2022-06-14 13:00:23");
    check("1655182823000.5", "2022-06-14 13:00:23.000500");
    check("1.655182823E12", "2022-06-14 13:00:23");
    check("1.655182823123e12", "2022-06-14 13:00:23.123");
    for lost in ["1.65518E12", "1.65518E+12", "1.655182823E13", "1655182823000.", "0000000000000.0"] {
        assert_eq!(show(lost), None, "{lost}");
    }
    check("1999999999", "2033-05-18 11:33:19");
    assert_eq!(parse_time("0001-01-01 00:00:00", SHANGHAI), None);
    assert!(parse_time("0001-01-02 00:00:00", SHANGHAI).is_some());
    assert_eq!(show("2026060818"), None, "a day and its hour");
    assert_eq!(show("2026060818.0"), None);
    assert_eq!(show("2606081800"), None, "a day and its hour and minute");
    assert_eq!(show("0000000000"), None);
    assert_eq!(show("0000000000000"), None);
    assert_eq!(show("165518282"), None);
}

#[test]
fn spreadsheet_serials_are_rounded_to_the_second() {
    check("42894.730092592603", "2017-06-08 17:31:20");
    check("43836.4309143518", "2020-01-06 10:20:31");
    check("43836", "2020-01-06 00:00:00");
    check("20000", "1954-10-03 00:00:00");
    check("80000.0", "2119-01-11 00:00:00");
    assert_eq!(show("19999.9"), None);
    assert_eq!(show("80001"), None);
    assert_eq!(show("43836."), None);
    assert_eq!(show("43836.4.3"), None);
}

#[test]
fn shanghai_kept_summer_time() {
    check("1988-07-01 12:00:00", "1988-07-01 12:00:00");
    let utc = |typed| parse_time(typed, SHANGHAI).unwrap().format("%F %T").to_string();
    assert_eq!(utc("1988-07-01 12:00:00"), "1988-07-01 03:00:00");
    assert_eq!(utc("1988-12-01 12:00:00"), "1988-12-01 04:00:00");
    assert_eq!(utc("1991-09-15 01:30:00"), "1991-09-14 16:30:00", "came twice: the earlier one");
    check("1991-04-14 02:30:00", "1991-04-14 03:30:00"); // never came: later by the gap
    check("1992-01-01 00:00:00", "1992-01-01 00:00:00");
}

#[test]
fn other_zones_are_looked_up() {
    let time = parse_time("2026-07-01 12:00:00", Tz::America__New_York).unwrap();
    assert_eq!(time.to_rfc3339(), "2026-07-01T16:00:00+00:00");
    let gap = parse_time("2026-03-08 02:30:00", Tz::America__New_York).unwrap();
    assert_eq!(gap.with_timezone(&Tz::America__New_York).naive_local().to_string(), "2026-03-08 03:30:00");
    assert_eq!(parse_date("2026-07-01T01:00:00Z", Tz::America__New_York), NaiveDate::from_ymd_opt(2026, 6, 30));
}

#[test]
fn the_short_cut_through_the_table_is_right() {
    for year in 1992..2100 {
        for month in 1..=12 {
            let local = NaiveDate::from_ymd_opt(year, month, 1).unwrap().and_time(NaiveTime::MIN);
            assert_eq!(
                SHANGHAI.from_local_datetime(&local).single().map(|t| t.to_utc()),
                Some(instant(local, SHANGHAI))
            );
        }
    }
}

#[test]
fn impossible_dates_are_none() {
    for typed in [
        "2023-02-29",
        "2023-13-01",
        "2023-00-10",
        "2023-04-31 10:00:00",
        "2023-04-30 25:00:00",
        "2023-04-30 24:00:01",
        "2023-04-30 10:60:00",
        "2023-04-30 10:00:60",
        "0000-00-00 00:00:00",
        "20230229",
        "20230430250000",
        "2020-01-06T12:09:38+15:00",
        "2020/1/6 上午13:00",
        "2020年1月6日晚上12点",
    ] {
        assert_eq!(show(typed), None, "{typed:?}");
    }
}

#[test]
fn half_dates_and_other_texts_are_none() {
    for typed in [
        "",
        " ",
        "7月",
        "5.1",
        "2019",
        "2019年",
        "2019-12",
        "20-1-6",
        "2020-1/6",
        "2020-01-06T",
        "2020-01-06 12",
        "2020-01-0612:09",
        "2020-01-06 12:09:38 下午x",
        "未知",
        "null",
        "12:09:38",
        "2016.6.15上午7点50左右",
        "昨天",
        "2020-01-06 12:09:38 CST",
        "2026年5月31日 10:00-12:00",
        "2026-05-31 8:00—10:00",
        "2026-06-08 09:00:00-11:30",
        "2026-06-08 09:00:00 -11:30",
        "-1",
        "1e10",
        "NaN",
        "٢٠٢٠-٠١-٠٦",
        "9",
        "99999999999999999999",
        "T",
        "年月日",
        "2020-01-06 12:09:38.",
    ] {
        assert_eq!(show(typed), None, "{typed:?}");
    }
    assert_eq!(show(&"1".repeat(1 << 20)), None);
    assert_eq!(show(&" ".repeat(1 << 20)), None);
}

#[test]
fn far_years_are_dates() {
    check("0001-01-02 00:00:00", "0001-01-02 00:00:00");
    check("9999-12-31 23:59:59", "9999-12-31 23:59:59");
    check("9999-12-31 24:00:00", "+10000-01-01 00:00:00");
}

proptest! {
    #[test]
    fn reads_what_it_wrote(seconds in -2_000_000_000i64..7_000_000_000, nanos in 0u32..1_000_000_000) {
        let time = DateTime::from_timestamp(seconds, nanos).unwrap();
        prop_assert_eq!(parse_time(&time.to_rfc3339(), SHANGHAI), Some(time));
        let whole = DateTime::from_timestamp(seconds.abs(), 0).unwrap();
        let local = whole.with_timezone(&SHANGHAI);
        if SHANGHAI.from_local_datetime(&local.naive_local()).single().is_some() {
            for form in ["%Y-%m-%d %H:%M:%S", "%Y/%-m/%-d %-H:%-M:%-S", "%Y%m%d%H%M%S", "%Y年%-m月%-d日 %-H时%-M分%-S秒", "%m/%d/%Y %I:%M:%S %p"] {
                prop_assert_eq!(parse_time(&local.format(form).to_string(), SHANGHAI), Some(whole));
            }
        }
    }

    #[test]
    fn never_panics(text in any::<String>()) {
        let _ = parse_time(&text, SHANGHAI);
    }

    #[test]
    fn dirty_dates_never_panic(text in "[0-9:/.TZ+\\-年月日时点分秒上下午AMP ]{0,30}") {
        if let Some(time) = parse_time(&text, SHANGHAI) {
            prop_assert_eq!(parse_time(&time.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true), SHANGHAI).is_some(), time.year() > 0 && time.year() < 10_000);
        }
    }
}
