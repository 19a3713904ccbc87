use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

#[test]
fn phones() {
    for (typed, expected) in [
        ("13800138000", "138****8000"),
        ("+86 138-0013-8000", "138****8000"),
        ("0791-86223000转801", "0791****3000"),
        ("07978123456", "0797***3456"),
        ("010 62301234", "010****1234"),
        ("12345", "12345"),
        ("95588", "95588"),
        ("138****8000", "138****8000"),
        ("0791****3000", "0791****3000"),
        ("0797***3456", "0797***3456"),
        ("86223000", "8******0"),
        ("不知道电话", "不***话"),
        // A mask, and beside it what it should have hidden.
        ("李晓峰138***1234", "李***********4"),
        ("123", "***"),
        ("", ""),
    ] {
        assert_eq!(mask_phone(typed), expected, "{typed:?}");
    }
}

#[test]
fn names() {
    for (typed, expected) in [
        ("张三", "张*"),
        ("王小峰", "王*峰"),
        ("欧阳小峰", "欧**峰"),
        ("张", "*"),
        (" 张三\t", "张*"),
        ("张*", "张*"),
        ("王*峰", "王*峰"),
        ("John Smith", "J********h"),
        ("匿名", "匿名"),
        ("未知", "未知"),
        ("", ""),
    ] {
        assert_eq!(mask_name(typed), expected, "{typed:?}");
    }
}

#[test]
fn ids() {
    for (typed, expected) in [
        ("360102199003070014", "360102********0014"),
        ("11010519491231002x", "110105********002x"),
        ("３６０１０２１９９００３０７００１４", "360102********0014"),
        ("360102900307001", "360102*****7001"),
        ("360102********0014", "360102********0014"),
        ("36010219900307", "3************7"),
        ("护照E12345678", "护*********8"),
    ] {
        assert_eq!(mask_id(typed), expected, "{typed:?}");
    }
}

#[test]
fn any_value() {
    for (typed, expected) in
        [("", ""), ("a", "*"), ("ab", "**"), ("abc", "***"), ("abcd", "a**d"), (" 红谷滩区某路1号 ", "红******号")]
    {
        assert_eq!(mask_value(typed), expected, "{typed:?}");
    }
    assert_eq!(mask_value(&"很".repeat(1 << 20)), format!("很{}很", "*".repeat(20)));
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(mask_text(text), expected);
    assert_eq!(mask_text(expected), expected, "twice");
}

#[test]
fn phones_in_a_text() {
    check("联系方式：13800138000，谢谢", "联系方式：138****8000，谢谢");
    check("电话138-0013-8000或138 0013 9000", "电话138-****-8000或138 **** 9000");
    check("请打１３８００１３８０００", "请打１３８****８０００");
    check("+8613800138000", "+86138****8000");
    check("家里0791-86223000，单位(0791)86223001", "家里0791-****3000，单位(0791)****3001");
    check("电话86223000转801", "电话****3000转801");
    check("电话：8622 3000", "电话：**** 3000");
    check("先打了一个5324333，又打0797-5325191", "先打了一个***4333，又打0797-***5191");
    check("两个号13800138000/13900139000", "两个号138****8000/139****9000");
    check("501 13800138000", "501 138****8000");
    check("2019-12-30 13800138000 10:05", "2019-12-30 138****8000 10:05");
    check("A3区13800138000室", "A3区138****8000室");
    check("电话：0791 - 86223000，138 — 0013 — 8000", "电话：0791 - ****3000，138 — **** — 8000");
    check("1 3 8 0 0 1 3 8 0 0 0", "1 3 8 * * * * 8 0 0 0");
    check("+86 0791 86223000", "+86 0791 ****3000");
    check("电话：8123456、8123457，8123458", "电话：***3456、***3457，***3458");
    check("电话0791-8123456/8123457", "电话0791-***3456/***3457");
    check("手机13800138000或8123457", "手机138****8000或***3457");
}

#[test]
fn ids_and_cards_in_a_text() {
    check("身份证号：360102199003070014。", "身份证号：360102********0014。");
    check("身份证360102 19900307 001X", "身份证360102 ******** 001X");
    check("11010519491231002x的", "110105********002x的");
    check("卡号6222021234567890123", "卡号***************0123");
    check("卡6222 0212 3456 7894", "卡**** **** **** 7894");
    check("老证360102900307001", "老证***********7001");
    check("银行卡号621700 1234567893", "银行卡号****** ******7893");
    check("银行卡号62220 21234 56789 0128", "银行卡号***** ***** ***** 0128");
    check("卡号：6217 0012 3456 7890 12", "卡号：**** **** **** **90 12");
    check("QQ号：95123456，微信号4001234567", "QQ号：****3456，微信号******4567");
    check("护照号：G12345678", "护照号：G****5678");
    check(&format!("{}。", "1".repeat(50)), &format!("{}。", "*".repeat(50)));
}

#[test]
fn mail_addresses_and_plates_in_a_text() {
    check("邮箱zhang.san13800138000@163.com，", "邮箱z*******************@163.com，");
    check("12345678@qq.com", "1*******@qq.com");
    check("房号0 13800138000@qq.com", "房号0 1**********@qq.com");
    check("a@b.cn", "*@b.cn");
    check("车牌赣A12345违停", "车牌赣A***45违停");
    check("赣A·D1234学", "赣A·****4学");
    check("粤BD12345,京a88888", "粤B****45,京a***88");
}

#[test]
fn the_name_of_who_speaks_is_hidden_too() {
    for (text, name, expected) in [
        ("市民王晓峰来电，王晓峰称电话13800138000", Some("王晓峰"), "市民王*峰来电，王*峰称电话138****8000"),
        ("我叫张三", Some(" 张三 "), "我叫张*"),
        ("张三丰来电", Some("张"), "张三丰来电"),
        ("王*峰来电", Some("王*峰"), "王*峰来电"),
        ("打13800138000", None, "打138****8000"),
        ("打13800138000", Some("13800138000"), "打1*********0"),
    ] {
        assert_eq!(mask_text_of(text, name), expected);
        assert_eq!(mask_text_of(expected, name), expected, "twice");
    }
    assert!(matches!(mask_text_of("小区停水", Some("王晓峰")), Cow::Borrowed(_)));
}

#[test]
fn what_is_nobodys_stays() {
    for text in [
        "",
        "拨打12345热线",
        "A市A3区杜鹃文苑小区外",
        "2018/12/26 10:13:37在3栋2单元501",
        "2019年12月30日交了20000元，第20220630期",
        "客服电话400-800-1234",
        "合同期2024.03.01-2024.05.31",
        "停水时间2024-07-15 2024-07-16",
        "2023-04-01 - 2023-06-30",
        "2024-06-18 20000.00元",
        "2023-04-05 2300 2500",
        "水表13.8 2024.05.01读数",
        "第8123456、8123457号",
        "工单号250912101108",
        "微博@某某 说",
        "云A3区",
        "尊敬的领导：您好！，（）",
    ] {
        assert!(matches!(mask_text(text), Cow::Borrowed(_)), "{text:?} {}", mask_text(text));
    }
}

#[test]
fn long_texts_take_linear_time() {
    for text in ["1", "1 ", "a", "a@", "赣A", "1-", "@", "电话1"] {
        let text = text.repeat((1 << 20) / text.len());
        let _ = mask_text(&text);
    }
}

proptest! {
    #[test]
    fn doing_it_twice_changes_nothing(text in any::<String>()) {
        prop_assert_eq!(mask_phone(&mask_phone(&text)), mask_phone(&text));
        prop_assert_eq!(mask_name(&mask_name(&text)), mask_name(&text));
        prop_assert_eq!(mask_id(&mask_id(&text)), mask_id(&text));
        prop_assert_eq!(mask_value(&mask_value(&text)), mask_value(&text));
        let once = mask_text(&text);
        prop_assert_eq!(&mask_text(&once), &once);
    }

    #[test]
    fn numbers_twice_change_nothing(text in "(电话|卡号|QQ|[0-9]{1,12}|1[3-9][0-9]{9}|0791|[ *.x@A、/-]|[0-9]{15,20}){0,12}") {
        let once = mask_text(&text);
        prop_assert_eq!(&mask_text(&once), &once);
        prop_assert_eq!(mask_phone(&mask_phone(&text)), mask_phone(&text));
        prop_assert_eq!(mask_id(&mask_id(&text)), mask_id(&text));
    }

    #[test]
    fn no_mobile_survives(before in "[^0-9０-９*＊]{0,10}", mobile in "1[3-9][0-9]{9}", after in "[^0-9０-９]{0,10}") {
        let text = format!("{before}{mobile}{after}");
        prop_assert!(!mask_text(&text).contains(&mobile));
    }
}
