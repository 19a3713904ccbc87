use proptest::prelude::*;

use super::*;

fn show(typed: &str, area_code: Option<&str>) -> String {
    match Phone::parse(typed, area_code) {
        Err(reason) => reason.to_string(),
        Ok(phone) => match phone.extension() {
            None => format!("{:?} {}", phone.kind(), phone.as_str()),
            Some(extension) => format!("{:?} {} ext {extension}", phone.kind(), phone.as_str()),
        },
    }
}

#[track_caller]
fn check(typed: &str, expected: &str) {
    assert_eq!(show(typed, Some("0791")), expected, "{typed:?}");
}

#[test]
fn mobiles_are_eleven_digits() {
    for typed in [
        "13800138000",
        "+8613800138000",
        "+86 138 0013 8000",
        "008613800138000",
        "86-13800138000",
        "8613800138000",
        "013800138000",
        "138-0013-8000",
        "138—0013—8000",
        "１３８ 0013 8000",
        "＋８６１３８００１３８０００",
        "(+86)13800138000",
        "\u{FEFF}138\u{A0}0013\u{3000}8000\t",
        "13800138000、",
        "13800138000。",
    ] {
        check(typed, "Mobile 13800138000");
    }
}

#[test]
fn words_may_stand_beside_a_number() {
    for typed in [
        "13800138000（本人）",
        "13800138000(本人)",
        "张三13800138000",
        "手机号：13800138000",
        "联系电话：138-0013-8000，找张三",
        "【家属】+86 138 0013 8000",
        "本人 １３８００１３８０００",
    ] {
        check(typed, "Mobile 13800138000");
    }
    check("办公室0791-86223000转801", "Landline 079186223000 ext 801");
    check("（0791）86223000张三", "Landline 079186223000");
    // Which one; of which place; whose; and what is none.
    for typed in [
        "13800138000（本人）13900139000（妻子）",
        "2号楼13800138000",
        "办公室86223000",
        "工号8622300",
        "拨打12345",
        "12345热线",
        "0791-12345热线",
        "投诉3次",
        "本人",
        "QQ号13800138000",
        "工单号：13800138000",
        "张三13800138000a",
        "Иван13800138000",
        "张三0571-8765432*",
    ] {
        assert!(Phone::parse(typed, Some("0791")).is_err(), "{typed}");
    }
    check("138****8000（本人）", "not a phone: digits are masked");
}

/// Whether an operator holds a prefix today is no question: lists of them age, and numbers do not wait.
#[test]
fn young_and_unallocated_prefixes_are_accepted() {
    for prefix in ["142", "192", "190", "193", "197", "196", "162", "165", "167", "170", "171"] {
        let typed = format!("{prefix}00138000");
        assert_eq!(Phone::parse(&typed, None).map(|phone| phone.kind()), Ok(Kind::Mobile), "{typed}");
    }
}

#[test]
fn local_numbers_get_the_area_code() {
    check("8622 3000", "Landline 079186223000");
    check("86223000", "Landline 079186223000");
    check("8622-3000", "Landline 079186223000");
    assert_eq!(show("8123456", Some("0797")), "Landline 07978123456");
    assert_eq!(show("86223000", None), "not a phone: local number without area code");
    assert_eq!(show("86223000", Some("791")), "not a phone: local number without area code");
    check("8622300", "not a phone: wrong number of digits"); // Nanchang has eight
}

#[test]
fn landlines_keep_their_area_code() {
    for typed in [
        "0791-86223000",
        "079186223000",
        "(0791)86223000",
        "（0791）8622-3000",
        "+86-791-86223000",
        "+86 0791 86223000",
        "86-791-86223000",
        "86079186223000",
        "0086 791 86223000",
        "０７９１－８６２２３０００",
    ] {
        check(typed, "Landline 079186223000");
    }
    check("0797-8123456", "Landline 07978123456");
    check("010-62301234", "Landline 01062301234");
    check("+86 10 62301234", "Landline 01062301234");
    check("021 62301234", "Landline 02162301234");
}

#[test]
fn extensions_are_kept_aside() {
    for typed in [
        "0791-86223000转801",
        "0791-86223000-801",
        "86223000-801",
        "86223000#801",
        "86223000＃８０１",
        "86223000分机801",
        "86223000 转分机：801",
        "86223000 ext. 801",
        "86223000EXT801",
        "86223000x801",
        "+86-791-86223000-801",
        "0791-86223000(801)",
        "（0791）86223000（801）",
        "86223000 [801] ",
    ] {
        check(typed, "Landline 079186223000 ext 801");
    }
    check("0797-8123456-1", "Landline 07978123456 ext 1");
    check("13800138000-1", "Mobile 13800138000 ext 1");
    check("4008001234转2", "Service 4008001234 ext 2");
    check("0791-86223000转", "Landline 079186223000");
    check("0791-86223000转8018018", "not a phone: extension not readable");
}

#[test]
fn service_numbers_stay_as_they_are() {
    for number in ["110", "119", "120", "122", "12345", "12315", "95588", "9555123", "96123", "4008001234", "10086"] {
        check(number, &format!("Service {number}"));
    }
    check("400-800-1234", "Service 4008001234");
    check("400-8001-234", "Service 4008001234");
    check("4006-092-942", "Service 4006092942");
    check("0791-12345", "Service 079112345");
    check("+86 95588", "Service 95588");
}

#[test]
fn masked_values_are_not_phones() {
    for typed in ["138****1234", "189 *****************", "138××××1234", "138xxxx1234", "1868888＊＊＊＊", "****"]
    {
        check(typed, "not a phone: digits are masked");
    }
}

#[test]
fn placeholders_are_not_phones() {
    for typed in ["", " ", "未知", "无", "/", "-", "null", "anonymous", "Anonymous", "保密", "匿名", "\u{200B}"]
    {
        check(typed, "not a phone: nothing given");
    }
    for typed in ["0000", "00000000000", "0000-00000000", "0"] {
        check(typed, "not a phone: nothing but zeros");
    }
    check("0791-00000000", "not a phone: nothing but zeros");
}

#[test]
fn other_texts_are_not_phones() {
    check("123", "not a phone: wrong number of digits");
    check("12800138000", "not a phone: no such prefix");
    check("11111111111", "not a phone: no such prefix");
    check("0791-16223000", "not a phone: no such prefix");
    check("1380013800", "not a phone: wrong number of digits");
    check("138001380001", "not a phone: wrong number of digits");
    check("+852 23456789", "not a phone: number of another country");
    check("0085223456789", "not a phone: number of another country");
    check("13800138000/13900139000", "not a phone: several numbers");
    check("13800138000，86223000", "not a phone: several numbers");
    check("13800138000。86223000", "not a phone: several numbers");
    check("86223000(0791)", "not a phone: wrong number of digits");
    check("13800138000 13900139000", "not a phone: wrong number of digits");
    check("tel13800138000", "not a phone: other characters than digits");
    check("١٣٨٠٠١٣٨٠٠٠", "not a phone: other characters than digits");
    check(&"1".repeat(1 << 20), "not a phone: wrong number of digits");
    check(&"转".repeat(1 << 20), "not a phone: other characters than digits");
}

#[test]
fn debug_hides_the_number() {
    let phone = Phone::parse("13800138000", None).unwrap();
    assert_eq!(format!("{phone:?}"), "Phone(Mobile, 138****8000)");
}

proptest! {
    #[test]
    fn reads_what_it_wrote(typed in "(\\+86|0086|86-|0)?[01-9 -]{3,14}(转[0-9]{1,6}|#1|-[0-9]{1,4})?", area in "0(10|2[0-9]|[3-9][0-9]{2})") {
        if let Ok(phone) = Phone::parse(&typed, Some(&area)) {
            let again = Phone::parse(phone.as_str(), None).unwrap();
            prop_assert_eq!((again.as_str(), again.kind()), (phone.as_str(), phone.kind()));
        }
    }

    #[test]
    fn never_panics(text in any::<String>(), area in any::<String>()) {
        let _ = Phone::parse(&text, Some(&area));
    }

    #[test]
    fn dirty_numbers_never_panic(text in "[0-9+\\-转分机extX#*/、（）（ ０-９\u{200B}]{0,40}") {
        let _ = Phone::parse(&text, Some("0791"));
    }
}

/// What is a number as a whole is none with an extension.
#[test]
fn parts_of_a_number_are_no_extension() {
    for (typed, expected) in [
        ("86-797-282-1286", "Landline 07972821286"),
        ("86-10-8229-0517", "Landline 01082290517"),
        ("86-178-538-56549", "Mobile 17853856549"),
        ("86 17272-468884", "Mobile 17272468884"),
        ("+86-951-601-2345", "Landline 09516012345"),
        ("0797-8123456-1", "Landline 07978123456 ext 1"),
        ("0797-95588-1", "Service 079795588 ext 1"),
        ("86-797-8123456-1", "Landline 07978123456 ext 1"),
    ] {
        assert_eq!(show(typed, Some("0797")), expected, "{typed}");
    }
}

/// Columns of numbers, as spreadsheets write them.
#[test]
fn numbers_with_a_fraction_are_none() {
    for typed in ["8622300.0", "13800138000.00"] {
        check(typed, "not a phone: other characters than digits");
    }
    check("138.0013.8000", "Mobile 13800138000");
    check("138.00.13.80.00", "Mobile 13800138000");
}
