//! Who somebody is, as cells spell it: `张三（业主）`, `业主张三、李四`, `张三13800138000`; and cells that name nobody.

use std::{borrow::Cow, sync::LazyLock};

use super::width::{given, is_gap, narrow, trim};

/// The text without the blanks around it, or `None` when it names nobody: it says nothing ([`given`]), or there is
/// nothing in it but words such as `热心市民`, `不愿透露姓名` and `先生/女士`, marks and digits.
pub fn person(text: &str) -> Option<&str> {
    given(text).filter(|name| !names_nobody(name))
}

fn names_nobody(name: &str) -> bool {
    let mut rest = name;
    loop {
        rest = rest.trim_start_matches(|c| !is_letter(c));
        match begins_with(rest, &[&NOBODY, &TITLES]) {
            Some(length) => rest = &rest[length..],
            None => return rest.is_empty(),
        }
    }
}

/// The names to look for in a text by somebody of whom a cell says who he is, the longest first: letters of Chinese
/// without blanks between them, or what the cell spells otherwise (`John Smith`), as it is.
///
/// Of a cell with several words those count that look like a name, and the cell as a whole if others are among them; of
/// words in brackets only if none before is one.
pub(super) fn names(cell: &str) -> Vec<Cow<'_, str>> {
    let Some(cell) = person(cell) else { return Vec::new() };
    // As nearly all cells are: too short for anything beside the name, but for `等`.
    if matches!(cell.len(), 6 | 9) && looks_like_name(cell) && cell.chars().all(is_han) && !cell.ends_with('等') {
        return vec![Cow::Borrowed(cell)];
    }
    let (mut outside, mut inside) = (Vec::new(), Vec::new());
    let (mut start, mut depth) = (0, 0_u32);
    for (at, c) in cell.char_indices().filter(|(_, c)| !belongs_to_name(*c)).chain([(cell.len(), ' ')]) {
        let parts = if depth == 0 { &mut outside } else { &mut inside };
        parts.push(&cell[start..at]);
        match narrow(c) {
            '(' | '[' | '{' | '<' | '【' | '〔' | '《' | '「' => depth += 1,
            ')' | ']' | '}' | '>' | '】' | '〕' | '》' | '」' => depth = depth.saturating_sub(1),
            _ => {}
        }
        start = (at + c.len_utf8()).min(cell.len());
    }
    let (mut names, mut has_more): (Vec<Cow<str>>, bool) = (Vec::new(), false);
    for part in outside {
        let found = names_in(part);
        // A single word that is a name is all that is there.
        has_more |= (found.is_empty() || part.contains(is_gap)) && !is_all_names(part);
        names.extend(found);
    }
    let none = names.is_empty();
    if none || has_more {
        let bare = cell.split(['(', '（']).next().map_or(cell, trim);
        let bare = TITLES.iter().find_map(|title| bare.strip_suffix(title)).map_or(bare, trim);
        let in_one = letters(bare);
        let is_chinese = in_one.chars().all(is_han);
        if let Some(bare) = person(bare) {
            names.extend((!is_chinese).then_some(Cow::Borrowed(bare)));
            names.push(in_one);
        }
        if none {
            names.extend(inside.into_iter().flat_map(names_in));
        }
    }
    names.retain(|name| name.chars().nth(1).is_some());
    names.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    names.dedup();
    names.truncate(MOST_NAMES);
    names
}

/// No cell names more people.
const MOST_NAMES: usize = 8;

/// Whether each word of a part of a cell is a name, names nobody, or is but a letter.
fn is_all_names(part: &str) -> bool {
    let in_one: String = part.split(is_gap).collect();
    let is_known = |word: &str| word.chars().nth(1).is_none() || bare_name(word).is_some() || names_nobody(word);
    bare_name(&in_one).is_some() || part.split(is_gap).all(is_known)
}

/// What looks like a name in a part of a cell: `张三`, `张 三`, both of `张三 李四`, but also `欧阳 娜娜`.
fn names_in(part: &str) -> Vec<Cow<'_, str>> {
    let words = || part.split(is_gap).filter(|word| !word.is_empty());
    let mut names: Vec<Cow<str>> = Vec::new();
    if words().nth(1).is_some() && words().all(|word| word.chars().nth(1).is_some()) {
        names.extend(words().filter_map(bare_name).map(letters));
    }
    for conjunction in ["和", "及", "与"] {
        if let Some((one, other)) = trim(part).split_once(conjunction)
            && let (Some(one), Some(other)) = (bare_name(trim(one)), bare_name(trim(other)))
        {
            names.extend([one, other].map(letters));
        }
    }
    // With a dot it is one name, however long.
    let in_one: Cow<str> = if words().nth(1).is_some() { part.split(is_gap).collect() } else { trim(part).into() };
    match in_one {
        Cow::Borrowed(one) => names.extend(bare_name(one).map(letters)),
        Cow::Owned(one) => names.extend(bare_name(&one).map(|name| Cow::Owned(letters(name).into_owned()))),
    }
    names
}

/// A word without what people are called before and behind their name, if that looks like one.
fn bare_name(word: &str) -> Option<&str> {
    let mut name = word;
    while let Some(length) = begins_with(name, &[&NOBODY]).filter(|length| is_long_enough(&name[*length..])) {
        name = &name[length..];
    }
    let behind = || TITLES.iter().chain(&OFFICES).chain(&NOBODY);
    while name.ends_with(|c| ENDINGS.has(c))
        && let Some(bare) = behind().find_map(|title| name.strip_suffix(title)).filter(|bare| is_long_enough(bare))
    {
        name = bare;
    }
    looks_like_name(name).then_some(name)
}

fn is_long_enough(name: &str) -> bool {
    name.chars().nth(1).is_some()
}

/// Two or three letters that begin with a surname, two of four that are one, or letters with a dot among them.
pub(super) fn looks_like_name(word: &str) -> bool {
    let mut chars = word.chars();
    let (Some(first), Some(last)) = (chars.next(), chars.next_back()) else { return false };
    if !word.chars().all(|c| is_han(c) || is_dot(c)) || is_dot(first) || is_dot(last) {
        return false;
    }
    let has_two = COMPOUND_SURNAMES.iter().any(|surname| word.starts_with(surname));
    match word.chars().count() {
        _ if word.contains(is_dot) => true,
        2 | 3 => (SURNAMES.has(first) || has_two) && !ENDS_OF_PLACES.has(last),
        4 => has_two,
        _ => false,
    }
}

/// Letters, in their order.
struct Letters(Box<[char]>);

impl Letters {
    fn of(letters: impl Iterator<Item = char>) -> Letters {
        let mut letters: Box<[char]> = letters.collect();
        letters.sort_unstable();
        Letters(letters)
    }

    fn has(&self, letter: char) -> bool {
        self.0.binary_search(&letter).is_ok()
    }
}

/// The letters that words for anybody and titles begin with, and those that they and offices end with: most names are told
/// by one of them.
static BEGINNINGS: LazyLock<Letters> =
    LazyLock::new(|| Letters::of(NOBODY.iter().chain(&TITLES).filter_map(|word| word.chars().next())));
static ENDINGS: LazyLock<Letters> = LazyLock::new(|| {
    let words = TITLES.iter().chain(&OFFICES).chain(&NOBODY);
    Letters::of(words.filter_map(|word| word.chars().next_back()))
});

/// How much of the beginning one of these words is, of [`NOBODY`] and [`TITLES`].
fn begins_with(text: &str, words: &[&[&str]]) -> Option<usize> {
    if !text.starts_with(|c: char| BEGINNINGS.has(c.to_ascii_lowercase())) {
        return None;
    }
    let mut words = words.iter().flat_map(|words| words.iter());
    let word = words.find(|word| {
        text.as_bytes().get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word.as_bytes()))
    })?;
    Some(word.len())
}

/// Without the blanks and dots.
pub(super) fn letters(name: &str) -> Cow<'_, str> {
    let is_between = |c: char| is_gap(c) || is_dot(c);
    if name.contains(is_between) { name.split(is_between).collect() } else { name.into() }
}

fn belongs_to_name(c: char) -> bool {
    is_letter(c) || is_gap(c) || is_dot(c) || c == '*'
}

/// Of any script; those of Chinese, which most are, are told without a table.
fn is_letter(c: char) -> bool {
    matches!(c, '\u{4E00}'..='\u{9FFF}') || c.is_alphabetic()
}

/// What stands between the parts of a name, `阿卜杜拉·买买提`.
pub(super) fn is_dot(c: char) -> bool {
    matches!(c, '·' | '•' | '.' | '．' | '・' | '･' | '‧' | '∙' | '⋅')
}

pub(super) fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{20000}'..='\u{3FFFF}')
}

/// What people are called behind their names.
const TITLES: [&str; 7] = ["先生", "女士", "小姐", "同志", "师傅", "老师", "男士"];

/// The same, of what somebody is or does.
const OFFICES: [&str; 31] = [
    "经理", "主任", "医生", "大夫", "律师", "老板", "校长", "院长", "所长", "队长", "店长", "书记", "会计", "护士",
    "教授", "阿姨", "大爷", "大妈", "村长", "老人", "夫妇", "夫妻", "妈妈", "爸爸", "母亲", "父亲", "爷爷", "奶奶",
    "家属", "等人", "等",
];

/// Words that name nobody, and may stand before a name.
const NOBODY: [&str; 66] = [
    "法定代表人",
    "法人",
    "户主",
    "房东",
    "负责人",
    "匿名",
    "热心",
    "市民",
    "居民",
    "群众",
    "业主",
    "住户",
    "村民",
    "家长",
    "商户",
    "网友",
    "网民",
    "用户",
    "游客",
    "乘客",
    "旅客",
    "学生",
    "员工",
    "职工",
    "农民工",
    "工人",
    "司机",
    "租户",
    "租客",
    "顾客",
    "客户",
    "消费者",
    "患者",
    "路人",
    "代表",
    "全体",
    "来电人",
    "来电者",
    "反映人",
    "投诉人",
    "举报人",
    "诉求人",
    "求助人",
    "咨询人",
    "当事人",
    "联系人",
    "本人",
    "无名氏",
    "某先生",
    "某女士",
    "某某",
    "某人",
    "不愿意",
    "不愿",
    "不便",
    "不想",
    "拒绝",
    "未留",
    "未登记",
    "未透露",
    "透露",
    "提供",
    "姓名",
    "热线",
    "测试",
    "test",
];

/// How words begin that are names; of those with two letters [`COMPOUND_SURNAMES`].
static SURNAMES: LazyLock<Letters> = LazyLock::new(|| {
    Letters::of(
        "\
    王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高郑梁谢宋唐许邓韩冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖石金\
    韦贾夏付傅方邹熊白孟秦邱侯江尹薛闫阎雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤康易乔赖文牛樊葛邢安齐庞伍翟俞梅柯柳聂涂\
    饶占詹温甘幸欧喻舒揭敖晏桂丘练游纪危洪章鲁凌倪岳骆祝左裴闵简阳宁卓辛穆焦鲍伊霍耿艾包申兰刁季殷柴尚盛童颜华冉苗谷曲娄卜滕匡\
    巫翁池冷虞燕鄢邬郁帅蓝辜"
            .chars(),
    )
});

const COMPOUND_SURNAMES: [&str; 14] =
    ["欧阳", "上官", "司马", "诸葛", "夏侯", "皇甫", "尉迟", "公孙", "慕容", "令狐", "司徒", "端木", "东方", "西门"];

/// How words end that begin like a name and are none: 高新区, 江西省, 华润厂, 方便店.
static ENDS_OF_PLACES: LazyLock<Letters> =
    LazyLock::new(|| Letters::of("省市县区镇乡村组街道巷号栋幢楼室局所院校厂店部处场站社司".chars()));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_named_by_words_for_anybody_is_nobody() {
        for name in [
            "业主",
            "网友",
            "匿名",
            "匿名用户",
            "先生/女士",
            "先生",
            "反映人",
            "不便透露",
            "未登记",
            "1",
            "test",
            "TEST1",
            "测试",
            "市民",
            "热心市民",
            "匿名市民",
            "群众",
            "来电人",
            "某先生",
            "某女士",
            "不愿透露",
            "不愿透露姓名",
            "未留姓名",
            "女士（业主）",
            "保密",
            "未知",
            "/",
            "",
            "１３８００１３８０００",
            "拒绝透露",
            "小姐",
            "热心 市民",
        ] {
            assert_eq!(person(name), None, "{name}");
        }
        for name in
            ["张三", "张先生", "业主张三", "张", "业主委员会", "某某公司", "张*", "Tess", "市民服务中心", "王某"]
        {
            assert_eq!(person(name), Some(name));
        }
        assert_eq!(person(" 张三\t"), Some("张三"));
    }

    #[test]
    fn a_cell_is_split_into_the_names_in_it() {
        for (cell, expected) in [
            ("张三", &["张三"][..]),
            ("张　三", &["张三"]),
            ("王 晓 峰", &["王晓峰"]),
            ("张三、李四", &["张三", "李四"]),
            ("张三/李四丰、张三", &["李四丰", "张三"]),
            ("张三 李小四", &["李小四", "张三"]),
            ("欧阳 娜娜", &["欧阳娜娜", "欧阳"]),
            ("张三13800138000", &["张三"]),
            ("业主张三", &["张三"]),
            ("户主张三", &["张三"]),
            ("张三和李四", &["张三", "李四"]),
            ("张和平", &["张和平"]),
            ("张三妈妈", &["张三"]),
            ("张三等人", &["张三"]),
            ("张三等", &["张三"]),
            ("张老师", &["张老师"]),
            ("游客", &[]),
            ("张三经理", &["张三"]),
            ("张三家长", &["张三"]),
            ("张三,男", &["张三"]),
            ("张三，章贡区，咨询", &["张三，章贡区，咨询", "张三"]),
            ("张三丰、买买提", &["张三丰、买买提", "张三丰"]),
            ("张三 蒯四", &["张三蒯四", "张三"]),
            ("李 John", &["李 John", "李John"]),
            ("张三【业主】", &["张三"]),
            ("张三（高新区）", &["张三"]),
            ("（业主）张三", &["张三"]),
            ("市民（张三）", &["张三"]),
            ("张先生", &["张先生"]),
            ("阿卜杜拉·买买提", &["阿卜杜拉买买提"]),
            ("阿卜杜拉 · 买买提（司机）", &["阿卜杜拉买买提"]),
            ("John Smith", &["John Smith", "JohnSmith"]),
            ("某某公司", &["某某公司"]),
            ("业主委员会", &["业主委员会"]),
            ("物业经理", &["物业经理"]),
            ("蒯三先生", &["蒯三"]),
            ("业主", &[]),
            ("张", &[]),
            ("张、李", &["张、李"]),
            ("13800138000", &[]),
        ] {
            assert_eq!(names(cell), expected, "{cell}");
        }
    }

    #[test]
    fn long_cells_take_linear_time() {
        for cell in ["张三、", "（", "张 ", "业主", "张·", "张"] {
            let cell = cell.repeat((1 << 20) / cell.len());
            let _ = crate::text::mask::mask_text_of(&cell, Some(&cell));
        }
    }
}
