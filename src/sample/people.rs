//! Names, telephone numbers and ID numbers of people who do not exist.

use rand::{RngExt, rngs::StdRng};

use super::time::number;

// All of them take three bytes: see `pick`.
const SURNAMES: &str = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚钟姜崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万钱严赖武戴莫孔向汤";
const GIVEN: &str = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉萍红建文辉力健世广志义兴良海山仁波宁贵福生元全国胜学祥才发成康星光天达安岩中茂进林有坚和彪博诚先敬震振壮会思群豪心邦承乐绍功松善厚庆民友裕河哲江浩亮政谦亨奇固之轮翰朗伯宏言若鸣朋斌梁栋维启克伦翔旭鹏泽晨辰士以家致树炎德行时泰盛雄琛钧冠策腾楠榕风航弘";

/// Prefixes in use; the others are not given out.
const MOBILE: [&str; 24] = [
    "130", "131", "132", "133", "135", "136", "137", "138", "139", "150", "151", "152", "155", "157", "158", "159",
    "173", "177", "180", "181", "182", "187", "189", "199",
];

fn pick(list: &'static str, rng: &mut StdRng) -> &'static str {
    let at = rng.random_range(0..list.len() / 3) * 3;
    &list[at..at + 3]
}

pub fn name(rng: &mut StdRng, out: &mut String) {
    out.push_str(pick(SURNAMES, rng));
    out.push_str(pick(GIVEN, rng));
    if rng.random_range(0..10) < 7 {
        out.push_str(pick(GIVEN, rng));
    }
}

pub fn digits(count: usize, rng: &mut StdRng, out: &mut String) {
    let mut left = count;
    while left > 0 {
        let some = left.min(9);
        number(rng.random_range(0..10_i64.pow(some as u32)), some, out);
        left -= some;
    }
}

pub fn mobile(rng: &mut StdRng, out: &mut String) {
    out.push_str(MOBILE[rng.random_range(0..MOBILE.len())]);
    digits(8, rng, out);
}

/// `0791-86223000`
pub fn landline(area: &str, length: usize, rng: &mut StdRng, out: &mut String) {
    out.push_str(area);
    out.push('-');
    number(rng.random_range(2..9), 1, out);
    digits(length.saturating_sub(1), rng, out);
}

/// An ID number of somebody born between 1945 and 2006, with the check digit of GB 11643.
pub fn id_card(area: &str, rng: &mut StdRng, out: &mut String) {
    let from = out.len();
    out.push_str(area);
    number(rng.random_range(1945..2007), 4, out);
    number(rng.random_range(1..13), 2, out);
    number(rng.random_range(1..29), 2, out);
    number(rng.random_range(1..1000), 3, out);
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = out[from..].bytes().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    out.push(char::from(b"10X98765432"[(sum % 11) as usize]));
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn characters_of_names_take_three_bytes() {
        assert!(SURNAMES.chars().chain(GIVEN.chars()).all(|c| c.len_utf8() == 3));
    }

    #[test]
    fn numbers_have_their_length() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..1000 {
            let (mut card, mut mobile_no, mut line) = (String::new(), String::new(), String::new());
            id_card("360102", &mut rng, &mut card);
            mobile(&mut rng, &mut mobile_no);
            landline("0791", 8, &mut rng, &mut line);
            assert_eq!((card.len(), mobile_no.len(), line.len()), (18, 11, 13));
        }
    }
}
