use proptest::prelude::*;

use super::*;

/// Enough of Jiangxi to hold every trap: cities with their area codes, then counties.
const CITIES: &str = "360100 南昌市 0791,360400 九江市 0792,360600 鹰潭市 0701,360700 赣州市 0797,360800 吉安市 0796,\
    360900 宜春市 0795,361000 抚州市 0794,361100 上饶市 0793";
const COUNTIES: &str = "360102 东湖区,360111 青山湖区,360112 新建区,360113 红谷滩区,360121 南昌县,360402 濂溪区,360404 柴桑区,\
    360481 瑞昌市,360483 庐山市,360602 月湖区,360681 贵溪市,360702 章贡区,360704 赣县区,360783 龙南市,360802 吉州区,\
    360821 吉安县,360822 吉水县,360881 井冈山市,360902 袁州区,360981 丰城市,361002 临川区,361104 广信区,361128 鄱阳县,361181 德兴市";
const RETIRED: &str = "369001 井冈山 198012 198012 360881,362302 鹰潭市 198012 198212 360602,360411 郊区 198012 198312 -,\
    362501 抚州市 198012 198612 361002,362221 丰城县 198012 198712 360981,369001 瑞昌市 198912 199412 360481,\
    362201 宜春市 198012 199912 360902,362301 上饶市 198012 199912 361102,362302 德兴市 199012 199912 361181,\
    362401 吉安市 198012 199912 360802,362501 临川市 198712 199912 361002,360111 郊区 198012 200112 360111,\
    361128 波阳县 200012 200212 361128,360122 新建县 198012 201511 360112,360402 庐山区 198012 201611 360402,\
    360427 星子县 198312 201611 360483,360721 赣县 199812 201611 360704,360704 赣县 201612 201612 360704,\
    360421 九江县 198312 201709 360404,361121 上饶县 200012 201904 361104,362600 九江地区 198012 198212 360400,\
    360105 湾里区 198012 201904 360112";

fn jiangxi() -> Divisions {
    let mut rows = vec![division("360000", "江西省", Level::Province, "", "", "")];
    for line in CITIES.split(',') {
        let fields: Vec<&str> = line.split_whitespace().collect();
        rows.push(division(fields[0], fields[1], Level::City, fields[0], fields[1], fields[2]));
    }
    for line in COUNTIES.split(',') {
        let (code, name) = line.trim().split_once(' ').unwrap();
        let city = rows.iter().find(|row| row.level == Level::City && row.code[..4] == code[..4]).unwrap().clone();
        rows.push(division(code, name, Level::County, &city.code, &city.name, &city.tel_area_code));
    }
    let retired = RETIRED.split(',').map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        Retired {
            code: fields[0].into(),
            name: fields[1].into(),
            first_seen_yyyymm: fields[2].parse().unwrap(),
            last_seen_yyyymm: fields[3].parse().unwrap(),
            successor_code: fields[4].trim_matches('-').into(),
            successor_name: String::new(),
        }
    });
    Divisions::new(rows, retired.collect())
}

fn division(code: &str, name: &str, level: Level, city_code: &str, city_name: &str, area: &str) -> Division {
    Division {
        code: code.into(),
        name: name.into(),
        level,
        city_code: city_code.into(),
        city_name: city_name.into(),
        tel_area_code: area.into(),
    }
}

#[track_caller]
fn check(typed: &str, home: &str, year: i32, expected: &str) {
    let divisions = jiangxi();
    let home = Some(home).filter(|home| !home.is_empty());
    let on = NaiveDate::from_ymd_opt(year, 6, 1).filter(|_| year > 0);
    let found = divisions.lookup(typed, home, on).map_or("", |division| &division.code);
    assert_eq!(found, expected, "{typed:?} at {home:?} in {year}");
}

const NOWHERE: &str = "";
const NO_DATE: i32 = 0;

#[test]
fn codes_of_six_nine_and_twelve_digits() {
    for typed in ["360102", "360102000", "360102000000", "360102001001", " ３６０１０２ "] {
        check(typed, NOWHERE, NO_DATE, "360102");
    }
    check("360100000000", NOWHERE, NO_DATE, "360100");
    check("360000", NOWHERE, 2026, "360000");
    for typed in ["3601", "36010", "3601020", "999999", "110101", ""] {
        check(typed, "360100", 2026, "");
    }
}

#[test]
fn what_lies_in_no_one_district_is_filed_under_the_city() {
    for typed in ["360101", "360101000", "360101000000", "南昌市市辖区"] {
        check(typed, NOWHERE, NO_DATE, "360100");
    }
    for typed in ["360001", "360501", "110101"] {
        check(typed, "360100", NO_DATE, "");
    }
}

#[test]
fn a_source_has_words_of_its_own() {
    let mut divisions = jiangxi();
    let taught = [
        ("红谷滩新区", "360113"),
        ("高新区", "360100"),
        ("３６０１９１", "360111"),
        ("A", "360102"),
        ("吉安", "360821"),
    ];
    assert!(taught.iter().all(|(word, code)| divisions.teach(word, code)));
    assert!(!divisions.teach("湾里", "360105"), "not in force");
    let found = |typed| divisions.lookup(typed, Some("360100"), None).map_or("", |division| &division.code);
    for (typed, code) in [
        ("红谷滩新区", "360113"),
        ("南昌市红谷滩新区凤凰洲街道", "360113"),
        ("江西省-南昌市-红谷滩新区", "360113"),
        ("赣州市红谷滩新区", ""),
        ("高新区", "360100"),
        ("南昌市高新区艾溪湖", "360100"),
        ("360191", "360111"),
        ("360191000000", "360111"),
        ("Ａ", "360102"),
        ("吉安", "360821"),
        ("吉安市", "360800"),
        ("红谷滩区", "360113"),
    ] {
        assert_eq!(found(typed), code, "{typed}");
    }
}

#[test]
fn retired_codes_lead_to_their_successor() {
    check("360122", NOWHERE, NO_DATE, "360112");
    check("360105", NOWHERE, 2026, "360112");
    check("362201", NOWHERE, 1990, "360902");
    check("360402", NOWHERE, 2010, "360402");
}

#[test]
fn reused_codes_need_their_date() {
    check("362302", NOWHERE, 1981, "360602");
    check("362302", NOWHERE, 1995, "361181");
    check("362302", NOWHERE, 2026, "361181"); // what it meant last
    check("362302", NOWHERE, NO_DATE, "");
    check("362302", NOWHERE, 1986, ""); // between the two
    check("369001", NOWHERE, 1993, "360481");
    check("369001", NOWHERE, NO_DATE, "");
    check("362501", NOWHERE, NO_DATE, "361002"); // 抚州市 and 临川市 have the same successor
    check("360411", NOWHERE, 1982, ""); // no successor
}

#[test]
fn full_names_and_paths() {
    check("丰城市", NOWHERE, NO_DATE, "360981");
    check("丰城市", "360100", NO_DATE, "360981");
    check("江西省", NOWHERE, NO_DATE, "360000");
    check("中国江西省南昌市东湖区", NOWHERE, NO_DATE, "360102");
    check("宜春市-丰城市-某街道", NOWHERE, NO_DATE, "360981");
    check("江西省宜春市丰城市", NOWHERE, NO_DATE, "360981");
    check("江西省/宜春市/丰城市", NOWHERE, NO_DATE, "360981");
    check("宜春市->丰城市", NOWHERE, NO_DATE, "360981");
    check("丰城市剑光街道办事处", NOWHERE, NO_DATE, "360981");
    check("南昌市 东湖区", NOWHERE, NO_DATE, "360102");
    check("宜春丰城市", NOWHERE, NO_DATE, "360981");
    check("江西南昌", NOWHERE, NO_DATE, "360100");
    check("江西-宜春-丰城", NOWHERE, NO_DATE, "360981");
    check("南昌市南昌市东湖区", NOWHERE, NO_DATE, "360102");
    for two in ["东湖区、南昌县", "东湖区 南昌县", "东湖区南昌县", "东湖区(南昌县)", "东湖区（南昌县）"]
    {
        check(&format!("南昌市{two}"), NOWHERE, NO_DATE, "");
    }
    check("南昌市东湖区(东湖区)", NOWHERE, NO_DATE, "360102");
}

#[test]
fn the_longest_name_inside_the_parent_counts() {
    check("吉安市", NOWHERE, NO_DATE, "360800");
    check("吉安县", NOWHERE, NO_DATE, "360821");
    check("吉安市吉安县", NOWHERE, NO_DATE, "360821");
    check("吉安市吉水县", NOWHERE, NO_DATE, "360822");
    check("南昌县", NOWHERE, NO_DATE, "360121");
    check("南昌市南昌县莲塘镇", NOWHERE, NO_DATE, "360121");
    check("庐山市", NOWHERE, NO_DATE, "360483");
    check("庐山区", NOWHERE, NO_DATE, "360402");
    check("九江市庐山区", NOWHERE, 2026, "360402");
    check("赣州市赣县区", NOWHERE, NO_DATE, "360704");
    check("赣州市赣县", NOWHERE, NO_DATE, "360704");
}

#[test]
fn short_names_need_a_parent_or_a_home() {
    check("丰城", NOWHERE, NO_DATE, "");
    check("丰城", "360100", NO_DATE, "");
    check("丰城", "360900", NO_DATE, "360981");
    check("丰城", "360902", NO_DATE, "360981");
    check("丰城", "360000", NO_DATE, "360981");
    check("宜春市丰城", NOWHERE, NO_DATE, "360981");
    check("东湖", "360100", NO_DATE, "360102");
    check("江西省丰城", NOWHERE, NO_DATE, "360981");
    check("丰城某街道", "360900", NO_DATE, "");
}

#[test]
fn short_names_that_mean_two_places_mean_none() {
    check("吉安", "360800", NO_DATE, "");
    check("南昌", "360100", NO_DATE, "");
    check("南昌市南昌", NOWHERE, NO_DATE, "");
    check("宜春市宜春", NOWHERE, NO_DATE, "");
    check("江西省吉安", NOWHERE, NO_DATE, "360800");
    check("吉安-吉水县", NOWHERE, NO_DATE, "360822");
    check("吉安吉水", NOWHERE, NO_DATE, "360822");
    check("庐山", "360400", NO_DATE, ""); // 庐山市, or 庐山区 of old
    check("九江", "360400", NO_DATE, "360400"); // 九江县 has gone
    check("新建", "360100", NO_DATE, "360112");
    check("星子", "360400", NO_DATE, "360483");
}

#[test]
fn names_were_handed_down() {
    check("宜春市", NOWHERE, NO_DATE, "360900");
    check("宜春市", NOWHERE, 2026, "360900");
    check("宜春市", NOWHERE, 1995, "360902");
    check("宜春市丰城市", NOWHERE, 1995, "360981");
    check("抚州市", NOWHERE, 1985, "361002");
    check("波阳县", NOWHERE, NO_DATE, "361128");
    check("上饶县", NOWHERE, 2010, "361104");
    check("南昌市郊区", NOWHERE, NO_DATE, "360111");
    check("郊区", NOWHERE, NO_DATE, ""); // 九江 had one too
    check("郊区", "360100", NO_DATE, "360111");
}

#[test]
fn streets_and_zones_fall_to_their_city() {
    check("南昌市高新区", NOWHERE, NO_DATE, "360100");
    check("南昌市井冈山大道100号", NOWHERE, NO_DATE, "360100");
    check("南昌市-某街道", NOWHERE, NO_DATE, "360100");
    check("南昌市阳光小区", NOWHERE, NO_DATE, "360100");
    check("南昌市市辖区", NOWHERE, NO_DATE, "360100");
}

#[test]
fn what_stands_behind_a_division_is_told() {
    let divisions = jiangxi();
    for (typed, expected) in [
        ("南昌市高新区", Some("高新区")),
        ("江西省/南昌/高新区", Some("高新区")),
        ("江西-南昌-湾里管理局", Some("湾里管理局")),
        ("南昌市高新区其他", Some("高新区其他")),
        ("南昌市市辖区", Some("市辖区")),
        ("360100999999", Some("999999")),
        ("360100001", Some("001")),
        ("南昌市南昌县 某镇", Some("某镇")),
        ("南昌市", None),
        ("江西省/南昌市/", None),
        ("360100", None),
        ("360100000000", None),
        ("南昌市-南昌县", None),
        ("某街道", None),
        ("999999001", None),
    ] {
        assert_eq!(divisions.rest(typed, Some("360800"), None).as_deref(), expected, "{typed}");
    }
}

#[test]
fn what_is_unknown_is_not_guessed() {
    check("宜昌市-伍家岗区-伍家乡", "360900", NO_DATE, "");
    check("江西省宜昌市", NOWHERE, NO_DATE, "");
    check("湖北省南昌市", NOWHERE, NO_DATE, "");
    check("南昌市丰城市", NOWHERE, NO_DATE, "");
    check("南昌市庐山区", NOWHERE, NO_DATE, "");
    check("南昌市无名县", NOWHERE, NO_DATE, "");
    check("某街道", "360100", NO_DATE, "");
    check("未知", "360100", NO_DATE, "");
    check("-", "360100", NO_DATE, "");
    check("市", "360100", NO_DATE, "");
    check(&"南昌市".repeat(1 << 16), NOWHERE, NO_DATE, "360100");
    check(&"江西".repeat(1 << 16), "360100", NO_DATE, "");
}

#[test]
fn area_codes() {
    let divisions = jiangxi();
    assert_eq!(divisions.area_code("360121"), Some("0791"));
    assert_eq!(divisions.area_code("360600"), Some("0701"));
    assert_eq!(divisions.area_code("360721"), Some("0797"));
    assert_eq!(divisions.area_code("360000"), None);
    assert_eq!(divisions.area_code("nonsense"), None);
    assert_eq!(divisions.by_code("360721"), None);
    assert_eq!(divisions.by_code("360483").unwrap().name, "庐山市");
}

proptest! {
    #[test]
    fn never_panics(text in any::<String>(), home in any::<String>()) {
        jiangxi().lookup(&text, Some(&home), NaiveDate::from_ymd_opt(1990, 1, 1));
    }

    #[test]
    fn what_is_found_is_found_again(text in "(江西省|江西|南昌市|南昌|吉安|吉安市|吉安县|宜春|庐山|市|区|县|-| |36|01|02|000000|丰城){0,5}") {
        let divisions = jiangxi();
        if let Some(found) = divisions.lookup(&text, Some("360800"), None) {
            prop_assert_eq!(divisions.lookup(&found.code, None, None), Some(found));
            prop_assert_eq!(divisions.lookup(&found.name, Some("360800"), None), Some(found));
        }
    }
}
