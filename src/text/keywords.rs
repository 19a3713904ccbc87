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

/// A set of rules, in their order. Latin letters match without regard to case.
#[derive(Debug)]
pub struct KeywordRules {
    rules: Vec<KeywordRule>,
    automaton: AhoCorasick,
    /// Which rules a keyword belongs to; most belong to one.
    rules_of: Vec<Vec<u32>>,
}

const TITLE_WEIGHT: u32 = 3;
const CONTENT_WEIGHT: u32 = 1;

/// Bytes of keywords up to which the automaton is a table, twice as fast as the compact form. It takes some 200 times as
/// much memory as the keywords: 20 MB here, for 15,000 keywords.
const LARGEST_DFA: usize = 100_000;

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
        let size: usize = keywords.iter().map(|keyword| keyword.len()).sum();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .start_kind(StartKind::Unanchored)
            .ascii_case_insensitive(true)
            .kind((size <= LARGEST_DFA).then_some(AhoCorasickKind::DFA))
            .build(&keywords)
            .expect("only billions of states are too many, and a rule file is read into memory before");
        KeywordRules { rules, automaton, rules_of }
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[KeywordRule] {
        &self.rules
    }

    /// The rule whose keywords speak loudest, or `None` when no keyword occurs.
    pub fn classify(&self, title: &str, content: &str) -> Option<&KeywordRule> {
        COUNTERS.with_borrow_mut(|counters| {
            counters.make_room(self.rules.len(), self.rules_of.len());
            self.count(title, TITLE_WEIGHT, counters);
            self.count(content, CONTENT_WEIGHT, counters);
            counters.take_winner().map(|rule| &self.rules[rule as usize])
        })
    }

    fn count(&self, text: &str, weight: u32, counters: &mut Counters) {
        for found in self.automaton.find_iter(Input::new(text).anchored(Anchored::No)) {
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

    fn take_winner(&mut self) -> Option<u32> {
        let mut winner: Option<(u32, u32)> = None;
        for rule in self.scored.drain(..) {
            let score = std::mem::take(&mut self.scores[rule as usize]);
            let wins = winner.is_none_or(|(best, earlier)| score > best || (score == best && rule < earlier));
            if wins {
                winner = Some((score, rule));
            }
        }
        winner.map(|(_, rule)| rule)
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
        fn same_text_same_class(title in any::<String>(), content in "(噪音|停车|电动车|充电|[a-z]){0,20}") {
            let rules = rules();
            prop_assert_eq!(rules.classify(&title, &content), rules.classify(&title, &content));
        }
    }
}
