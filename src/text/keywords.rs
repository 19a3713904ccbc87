//! Content classes by keywords: all rules in one scan.
//!
//! Matches do not overlap: of two keywords at one place the longer one counts (`电动车充电` says more than `电动车`), and of
//! two that overlap the one that begins first. Every keyword counts once for the title and once for the content however
//! often it stands there, so that a long complaint does not outvote itself. A keyword in the title weighs three. The rule
//! with the highest sum wins; of equal ones the earlier.

use std::cell::RefCell;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Anchored, Input, MatchKind, StartKind};
use hashbrown::HashMap;

/// One rule: any of these keywords speaks for this class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeywordRule {
    /// Its name, kept beside the class as lineage.
    pub rule: String,
    pub l1: String,
    pub l2: String,
    pub l3: String,
    pub keywords: Vec<String>,
}

/// What a set of rules says of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice<'r> {
    pub rule: &'r KeywordRule,
    /// Sum of the weights of its keywords that were found.
    pub score: u32,
    /// How far it is ahead of the best rule of another first-level class: 0 is a tie, the score itself no rival at all.
    pub lead: u32,
}

/// A set of rules, in their order. Latin letters match without regard to case.
#[derive(Debug)]
pub struct KeywordRules {
    rules: Vec<KeywordRule>,
    /// Places where it is worth while to ask the automaton.
    starts: Starts,
    /// Asked about one place at a time.
    automaton: AhoCorasick,
    /// Which rules a keyword belongs to; most belong to one.
    rules_of: Vec<Vec<u32>>,
}

const TITLE_WEIGHT: u32 = 3;
const CONTENT_WEIGHT: u32 = 1;

/// Counters of a thread, all zero between two calls.
#[derive(Default)]
struct Counters {
    scores: Vec<u32>,
    scored: Vec<u32>,
    seen: Vec<bool>,
    seen_now: Vec<u32>,
}

thread_local! {
    static COUNTERS: RefCell<Counters> = RefCell::default();
}

impl KeywordRules {
    pub fn new(rules: Vec<KeywordRule>) -> KeywordRules {
        let mut keywords: Vec<&str> = Vec::new();
        let mut rules_of: Vec<Vec<u32>> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (number, rule) in (0..).zip(&rules) {
            for keyword in rule.keywords.iter().map(|keyword| keyword.trim()).filter(|keyword| !keyword.is_empty()) {
                let place = *places.entry(keyword.to_ascii_lowercase()).or_insert_with(|| {
                    keywords.push(keyword);
                    rules_of.push(Vec::new());
                    keywords.len() - 1
                });
                if rules_of[place].last() != Some(&number) {
                    rules_of[place].push(number);
                }
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .start_kind(StartKind::Anchored)
            .ascii_case_insensitive(true)
            // Asked at a few places only, so it matters more that it is small: a table of 12 MB would miss the cache at
            // each step.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&keywords)
            .expect("only billions of states are too many, and a rule file is read into memory before");
        let starts = Starts::of(&keywords);
        KeywordRules { rules, starts, automaton, rules_of }
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[KeywordRule] {
        &self.rules
    }

    /// The rule whose keywords speak loudest, or `None` when no keyword occurs.
    pub fn classify(&self, title: &str, content: &str) -> Option<&KeywordRule> {
        self.choose(title, content, None).map(|choice| choice.rule)
    }

    /// The same with how sure it is; of the rules of one first-level class only, if `within` names it.
    pub fn choose(&self, title: &str, content: &str, within: Option<&str>) -> Option<Choice<'_>> {
        COUNTERS.with_borrow_mut(|counters| {
            counters.make_room(self.rules.len(), self.rules_of.len());
            self.count(title, TITLE_WEIGHT, counters);
            self.count(content, CONTENT_WEIGHT, counters);
            let class = |rule: u32| self.rules[rule as usize].l1.as_str();
            let winner = counters.winner(|rule| within.is_none_or(|class_asked| class_asked == class(rule)));
            let rival = winner.and_then(|(rule, _)| counters.winner(|other| class(other) != class(rule)));
            counters.forget_scores();
            let (rule, score) = winner?;
            let lead = score.saturating_sub(rival.map_or(0, |(_, score)| score));
            Some(Choice { rule: &self.rules[rule as usize], score, lead })
        })
    }

    fn count(&self, text: &str, weight: u32, counters: &mut Counters) {
        let mut from = 0;
        while let Some(at) = self.starts.next(text.as_bytes(), from) {
            let Some(found) = self.automaton.find(Input::new(text).span(at..text.len()).anchored(Anchored::Yes)) else {
                from = at + width(text.as_bytes()[at]);
                continue;
            };
            from = found.end();
            let keyword = found.pattern().as_usize();
            if std::mem::replace(&mut counters.seen[keyword], true) {
                continue;
            }
            counters.seen_now.push(keyword as u32);
            for rule in &self.rules_of[keyword] {
                counters.add(*rule, weight);
            }
        }
        counters.forget_seen();
    }
}

impl Counters {
    fn make_room(&mut self, rules: usize, keywords: usize) {
        if self.scores.len() < rules {
            self.scores.resize(rules, 0);
        }
        if self.seen.len() < keywords {
            self.seen.resize(keywords, false);
        }
    }

    fn add(&mut self, rule: u32, weight: u32) {
        let score = &mut self.scores[rule as usize];
        if *score == 0 {
            self.scored.push(rule);
        }
        *score += weight;
    }

    fn forget_seen(&mut self) {
        for keyword in self.seen_now.drain(..) {
            self.seen[keyword as usize] = false;
        }
    }

    /// The best of the rules asked for, and its score.
    fn winner(&self, asked: impl Fn(u32) -> bool) -> Option<(u32, u32)> {
        let scored = self.scored.iter().filter(|rule| asked(**rule)).map(|rule| (*rule, self.scores[*rule as usize]));
        scored.max_by_key(|(rule, score)| (*score, std::cmp::Reverse(*rule)))
    }

    fn forget_scores(&mut self) {
        for rule in self.scored.drain(..) {
            self.scores[rule as usize] = 0;
        }
    }
}

/// A filter of places: whether the bytes there can begin a keyword. A few may pass in vain.
///
/// This is 16 KB, and in ordinary text few places pass.
#[derive(Debug)]
struct Starts {
    /// Hashes of the first six bytes (two ideographs) of the keywords that have as many.
    six: Bits,
    /// Hashes of the first three bytes of shorter ones.
    three: Bits,
    /// First bytes of those with one or two.
    one: [bool; 256],
}

#[derive(Debug)]
struct Bits(Box<[u64; 1024]>);

impl Bits {
    fn place(bytes: u64) -> (usize, u64) {
        let hash = bytes.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48;
        ((hash >> 6) as usize, 1 << (hash & 63))
    }
    fn set(&mut self, bytes: u64) {
        let (word, bit) = Bits::place(bytes);
        self.0[word] |= bit;
    }
    fn has(&self, bytes: u64) -> bool {
        let (word, bit) = Bits::place(bytes);
        self.0[word] & bit != 0
    }
}

impl Starts {
    fn of(keywords: &[&str]) -> Starts {
        let empty = || Bits(Box::new([0; 1024]));
        let mut starts = Starts { six: empty(), three: empty(), one: [false; 256] };
        for keyword in keywords {
            let bytes = keyword.as_bytes();
            match bytes.len() {
                0 => {}
                1 | 2 => {
                    starts.one[bytes[0].to_ascii_lowercase() as usize] = true;
                    starts.one[bytes[0].to_ascii_uppercase() as usize] = true;
                }
                3..6 => starts.three.set(folded(bytes, 0) & 0xFF_FFFF),
                _ => starts.six.set(folded(bytes, 0) & 0xFFFF_FFFF_FFFF),
            }
        }
        starts
    }

    /// The next place from `from` on, at the start of a character.
    fn next(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while at < bytes.len() {
            let ahead = folded(bytes, at);
            if self.six.has(ahead & 0xFFFF_FFFF_FFFF)
                || self.three.has(ahead & 0xFF_FFFF)
                || self.one[bytes[at] as usize]
            {
                return Some(at);
            }
            at += width(bytes[at]);
        }
        None
    }
}

/// Eight bytes, zeros behind the end, with one bit set in each so that upper and lower case are the same.
fn folded(bytes: &[u8], at: usize) -> u64 {
    let ahead = match bytes[at..].first_chunk::<8>() {
        Some(eight) => *eight,
        None => {
            let mut eight = [0; 8];
            eight[..bytes.len() - at].copy_from_slice(&bytes[at..]);
            eight
        }
    };
    u64::from_le_bytes(ahead) | 0x2020_2020_2020_2020
}

/// Bytes of the character that begins with this one.
fn width(first: u8) -> usize {
    match first {
        0xE0..=0xEF => 3,
        0..0xC0 => 1,
        0xF0.. => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(rule: &str, keywords: &str) -> KeywordRule {
        KeywordRule {
            rule: rule.into(),
            l1: format!("{rule}类"),
            l2: String::new(),
            l3: String::new(),
            keywords: keywords.split('|').map(str::to_owned).collect(),
        }
    }

    fn rules() -> KeywordRules {
        KeywordRules::new(vec![
            rule("噪音", "噪音|扰民|夜间施工"),
            rule("停车", "停车|违停|停车位"),
            rule("充电", "电动车充电|充电桩|停车"),
            rule("车辆", "电动车|ETC| "),
        ])
    }

    fn class(title: &str, content: &str) -> Option<String> {
        rules().classify(title, content).map(|rule| rule.rule.clone())
    }

    #[test]
    fn nothing_found_is_no_class() {
        assert_eq!(class("", ""), None);
        assert_eq!(class("你好", "谢谢 "), None);
        assert!(KeywordRules::new(Vec::new()).classify("噪音", "").is_none());
        assert!(KeywordRules::new(vec![rule("空", "")]).classify("噪音", "").is_none());
    }

    #[test]
    fn the_most_different_keywords_win() {
        assert_eq!(class("", "停车 停车 停车，噪音扰民").as_deref(), Some("噪音"));
    }

    #[test]
    fn the_title_weighs_more() {
        assert_eq!(class("违停", "噪音扰民").as_deref(), Some("停车"));
        assert_eq!(class("违停", "噪音扰民，夜间施工，").as_deref(), Some("噪音"));
    }

    #[test]
    fn equal_rules_the_earlier_wins() {
        assert_eq!(class("", "违停，噪音").as_deref(), Some("噪音"));
        assert_eq!(class("", "停车").as_deref(), Some("停车"), "the keyword belongs to two rules");
    }

    #[test]
    fn a_choice_tells_how_sure_it_is() {
        let rules = rules();
        let of =
            |title, content, within| rules.choose(title, content, within).map(|it| (&*it.rule.rule, it.score, it.lead));
        assert_eq!(
            of("违停", "噪音扰民", None),
            Some(("停车", 3, 1)),
            "two words in the content against one in the title"
        );
        assert_eq!(of("违停", "", None), Some(("停车", 3, 3)), "nobody else");
        assert_eq!(of("", "违停，噪音", None), Some(("噪音", 1, 0)), "a tie");
        assert_eq!(of("违停", "噪音扰民", Some("噪音类")), Some(("噪音", 2, 0)), "not the best of all");
        assert_eq!(of("违停", "噪音扰民", Some("充电类")), None);
    }

    #[test]
    fn the_longer_keyword_speaks_for_its_place() {
        assert_eq!(class("", "电动车充电").as_deref(), Some("充电"));
        assert_eq!(class("", "电动车").as_deref(), Some("车辆"));
    }

    #[test]
    fn latin_letters_match_in_any_case() {
        assert_eq!(class("etc扣费", "").as_deref(), Some("车辆"));
    }

    #[test]
    fn sets_of_different_size_share_the_counters() {
        let small = KeywordRules::new(vec![rule("一", "水")]);
        let large = rules();
        for _ in 0..3 {
            assert_eq!(small.classify("水", "").unwrap().rule, "一");
            assert_eq!(large.classify("ETC", "").unwrap().rule, "车辆");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_overlooked(text in "(噪|音|停车|电动|充电|桩|[ -~]|位|夜间施工|ét|😀|etC|ÉT){0,24}") {
            let rules = rules();
            let words: Vec<&str> = ["噪音", "扰民", "夜间施工", "停车", "违停", "停车位", "电动车充电", "充电桩", "电动车", "ETC"].into();
            let mut plain = AhoCorasick::builder();
            let plain = plain.match_kind(MatchKind::LeftmostLongest).ascii_case_insensitive(true).build(&words).unwrap();
            let all: Vec<_> = plain.find_iter(&text).map(|found| found.range()).collect();
            let (mut ours, mut from) = (Vec::new(), 0);
            while let Some(at) = rules.starts.next(text.as_bytes(), from) {
                let found = rules.automaton.find(Input::new(&text).span(at..text.len()).anchored(Anchored::Yes));
                from = found.map_or(at + width(text.as_bytes()[at]), |found| found.end());
                ours.extend(found.map(|found| found.range()));
            }
            prop_assert_eq!(ours, all);
        }

        #[test]
        fn same_text_same_class(title in any::<String>(), content in "(噪音|停车|电动车|充电|[a-z]){0,20}") {
            let rules = rules();
            prop_assert_eq!(rules.classify(&title, &content), rules.classify(&title, &content));
        }
    }
}
