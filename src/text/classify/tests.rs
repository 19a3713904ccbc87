use proptest::prelude::*;

use super::{
    calibrate::Calibration,
    grams,
    learn::Dice,
    measure,
    model::{Verdict, strength},
    *,
};

// Written for the purpose: three classes by their own words, with words that all share.
const WORDS: [&[&str]; 3] = [
    &["路灯", "井盖", "绿化带", "停水", "物业"],
    &["老师", "学校", "补课", "学费", "幼儿园"],
    &["医院", "挂号", "疫苗", "医生", "药店"],
];
const SHARED: &[&str] = &["请尽快处理", "多次反映没有结果", "希望有关部门重视", "谢谢", "我是附近居民"];

fn classes() -> Vec<String> {
    ["城建", "教育", "卫生"].map(str::to_owned).to_vec()
}

fn examples(count: usize, seed: u64) -> Vec<Example> {
    let mut dice = Dice(seed);
    let example = |number: usize| {
        let class = number % 3;
        // Characters of no meaning keep the texts from being copies of each other.
        let noise: String = (0..40).map(|_| char::from_u32(0x5000 + dice.below(500) as u32).unwrap()).collect();
        let mut pick = |from: &[&'static str]| from[dice.below(from.len())];
        let title = format!("{}的问题", pick(WORDS[class]));
        let content =
            format!("{}{noise}{}，{}，{}。", pick(SHARED), pick(WORDS[class]), pick(WORDS[class]), pick(SHARED));
        Example { title, content, class }
    };
    (0..count).map(example).collect()
}

fn course() -> Course {
    let features = Features { bits: 12, ..Features::default() };
    let plan = Plan { features, passes: 6, ..Plan::default() };
    Course { plan, folds: 3, precision: 0.9, release: "1".to_owned() }
}

fn trained() -> Trained {
    train(&examples(90, 1), &classes(), &course()).unwrap()
}

fn features(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    grams::each(text, 100, 18, |_, start, end| found.push(text[start..end].to_owned()));
    found
}

#[test]
fn features_are_characters_and_pairs() {
    assert_eq!(features("停水"), ["停", "水", "停水"]);
    assert_eq!(features("停，水"), ["停", "水"], "no pair over punctuation");
    assert_eq!(features(""), Vec::<String>::new());
}

#[test]
fn anonymous_places_are_no_features() {
    for text in ["A市", "A3区", "Ｂ7县", "西地省", "在A市、J13县"] {
        let found = features(text);
        assert!(found.iter().all(|feature| feature == "在"), "{text}: {found:?}");
    }
    assert_eq!(features("西地"), ["西", "地", "西地"], "only the name as a whole");
    assert_eq!(features("ab市").len(), 5, "two letters are no place");
}

#[test]
fn texts_that_read_alike_have_the_same_features() {
    let buckets = |text: &str| {
        let mut all = Vec::new();
        grams::each(text, 100, 18, |bucket, _, _| all.push(bucket));
        all
    };
    assert_eq!(buckets("ETC扣费12元"), buckets("ｅｔｃ扣费９９９元"));
    assert_ne!(buckets("停水"), buckets("水停"));
}

#[test]
fn strength_is_the_logarithm() {
    for count in 1..=255_u8 {
        let exact = 16.0 * (1.0 + f64::from(count).ln());
        assert!((f64::from(strength(count)) - exact).abs() <= 0.51, "{count}");
    }
}

#[test]
fn it_learns_what_the_words_say() {
    let trained = trained();
    assert!(trained.training.figures.macro_f1 > 0.95, "{:?}", trained.training.figures);
    let class = |title: &str, content: &str| trained.model.classify(title, content).unwrap().class;
    assert_eq!(class("路灯不亮", ""), 0);
    assert_eq!(class("", "老师收学费"), 1);
    assert_eq!(class("挂号难", "医生不在，希望有关部门重视"), 2);
}

#[test]
fn the_same_seed_gives_the_same_file() {
    let bytes = trained().to_bytes();
    assert!(bytes == trained().to_bytes());
    let mut other = course();
    other.plan.seed = 2;
    let other = train(&examples(90, 1), &classes(), &other).unwrap();
    assert_ne!(other.model.version, trained().model.version);
}

#[test]
fn odd_texts_are_answered_without_harm() {
    let trained = trained();
    let classify = |text: &str| trained.model.classify("", text);
    assert_eq!(classify(""), None);
    assert_eq!(classify("，。！？ \t\u{3000}"), None);
    assert_eq!(classify("\u{0}\u{1}\u{1b}\u{7f}\u{85}\u{202e}"), None);
    let long = "路灯不亮，".repeat(70_000);
    assert!(long.len() > 1_000_000);
    assert_eq!(classify(&long).unwrap().class, 0);
    for text in ["灯", "Здравствуйте", "مرحبا بكم", "𠀀𠀁", "👩‍👩‍👧", "e\u{301}"] {
        if let Some(verdict) = classify(text) {
            assert!(verdict.thousandths <= 1000 && verdict.class < 3, "{text}");
        }
    }
}

#[test]
fn a_verdict_is_explained_by_its_own_words() {
    let trained = trained();
    let reasons = trained.model.reasons("路灯不亮", "谢谢", 0, 3);
    assert!(reasons.iter().any(|reason| reason.text.contains('灯')), "{reasons:?}");
    assert!(reasons.windows(2).all(|pair| pair[0].weight >= pair[1].weight));
    assert!(trained.model.reasons("", "", 0, 3).is_empty());
}

#[test]
fn a_file_gives_back_what_was_written() {
    let trained = trained();
    let read = Trained::from_bytes(&trained.to_bytes()).unwrap();
    assert!(read == trained);
}

#[test]
fn a_damaged_file_is_refused() {
    let bytes = trained().to_bytes();
    let refused = |bytes: &[u8]| Trained::from_bytes(bytes).unwrap_err();
    for length in [0, 1, 13, 14, 15, 20, 100, bytes.len() / 2, bytes.len() - 1] {
        refused(&bytes[..length]);
    }
    for place in (0..bytes.len()).step_by(bytes.len() / 50) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        refused(&changed);
    }
    assert!(refused(&bytes[..bytes.len() - 1]).contains("cut off"));
    assert!(refused(b"title,content,label\n").contains("this is no weights file"));
    let newer = [b"huiju weights 2".as_slice(), &bytes[15..]].concat();
    assert!(refused(&newer).contains("format `2`"), "{}", refused(&newer));
    assert!(refused(&[bytes.as_slice(), b" "].concat()).contains("damaged"));
}

#[test]
fn texts_sent_twice_are_one_group() {
    let text = |title: &str, content: &str| Example { title: title.into(), content: content.into(), class: 0 };
    let long = "我们小区的路灯从上个月开始就不亮，晚上老人和孩子出门非常不安全，物业说不归他们管，请有关部门来看一看";
    let groups = groups(&[
        text("路灯", long),
        text("再次反映", &format!("上次写过：{long}。现在还是没有人来。")),
        text("幼儿园学费", "县里的民办幼儿园每学期都在涨价，有没有规定，谁来管"),
        text("", ""),
        text("", ""),
    ]);
    assert_eq!(groups[0], groups[1]);
    assert_ne!(groups[0], groups[2]);
    assert_ne!(groups[2], groups[3]);
    let folds = folds(&groups, 2, 7);
    assert_eq!(folds[0], folds[1]);
    assert!(folds.iter().all(|fold| *fold < 2));
}

#[test]
fn figures_are_counted_right() {
    let verdict = |class, thousandths| Some(Verdict { class, thousandths });
    let verdicts = [verdict(0, 900), verdict(0, 800), verdict(1, 700), None];
    let figures = Figures::new(&classes(), &[0, 1, 1, 0], &verdicts);
    assert_eq!(figures.accuracy, 0.5);
    assert_eq!(figures.confusion, [vec![1, 0, 0, 1], vec![1, 1, 0, 0], vec![0; 4]]);
    let f1 = [2.0 / 4.0, 2.0 / 3.0];
    assert!((figures.macro_f1 - (f1[0] + f1[1]) / 2.0).abs() < 1e-5, "a class without examples does not count");
    let at = figures.thresholds.iter().find(|at| at.threshold == 0.8).unwrap();
    assert_eq!((at.precision, at.share), (0.5, 0.5));
}

#[test]
fn calibration_finds_how_often_scores_are_right() {
    // Score 1 for the class that is right three times of four.
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for number in 0..400 {
        scores.extend([1.0, 0.0]);
        labels.push(usize::from(number % 4 == 0));
        scores.extend([0.0, 1.0]);
        labels.push(usize::from(number % 4 != 0));
    }
    let (class, probability) = Calibration::fit(&scores, &labels, 2).verdict(&mut [1.0, 0.0]);
    assert_eq!(class, 0);
    assert!((probability - 0.75).abs() < 0.02, "{probability}");
}

#[test]
fn a_precision_that_no_threshold_has_makes_no_verdict_certain() {
    let verdicts = [Some(Verdict { class: 0, thousandths: 1000 }); 4];
    let labels = [0, 0, 0, 1];
    let threshold = measure::threshold(&labels, &verdicts, 0.9);
    assert!(!reachable(threshold) && verdicts[0].unwrap().probability() < threshold, "{threshold}");
    assert!(reachable(measure::threshold(&labels, &verdicts, 0.75)));
}

#[test]
fn texts_that_are_all_alike_cannot_be_learned_from() {
    let text = |class: usize, content: &str| Example { title: String::new(), content: content.to_owned(), class };
    let alike: Vec<Example> = (0..6).map(|number| text(number % 2, "一样")).collect();
    let empty: Vec<Example> = (0..6).map(|number| text(number % 2, "")).collect();
    for examples in [alike, empty] {
        let refused = train(&examples, &classes()[..2], &course()).unwrap_err();
        assert!(refused.contains("no text has a feature"), "{refused}");
        assert_eq!(validate(&examples, &classes()[..2], &course().plan, 3), Err(refused));
    }
    // Few that differ are enough to go on with, however poor.
    for count in 4..12 {
        let examples = examples(count, count as u64);
        for folds in [2, 5, 100] {
            let _ = train(&examples, &classes(), &Course { folds, ..course() });
        }
    }
}

#[test]
fn rivals_learn_too() {
    let (examples, classes) = (examples(90, 1), classes());
    for rival in Rival::ALL {
        let figures = compare(rival, &examples, &classes, &course().plan, 3);
        assert!(figures.macro_f1 > 0.8, "{}: {}", rival.name(), figures.macro_f1);
    }
}

proptest! {
    #[test]
    fn features_lie_in_the_text(text in "(A市|B7县|西地省|[ａ-ｚ0-9停水，\u{3000}\\PC]){0,30}") {
        grams::each(&text, 50, 12, |bucket, start, end| {
            assert!(bucket < 1 << 12);
            assert!(!text[start..end].is_empty());
        });
    }
}
