//! What somebody meant who wrote a word that is not known.

/// The known word that `word` is most likely meant to be, whatever its case: one that begins with it, else one of which
/// it is a slip, with letters more, less, other or swapped.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // What is longer than any name is no slip of one, and comparing it with each would take its time.
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let letters = word.chars().count();
    let near = |known: &'k str| {
        let lower = known.to_lowercase();
        let begun = letters >= 3 && lower.starts_with(&word);
        let slips = strsim::osa_distance(&word, &lower);
        (begun || slips <= (letters / 3).max(1)).then_some((!begun, slips, known))
    };
    known.into_iter().filter_map(near).min().map(|(.., known)| known)
}

/// Whether a word may be meant to be one that must not be missed: much that is no slip any more, `personal_data` or
/// `huiju-sql`, is so all the same.
pub fn resembles(word: &str, known: &str) -> bool {
    let lower = word.to_lowercase();
    lower.contains(known) || word.len() <= LONGEST && strsim::normalized_damerau_levenshtein(&lower, known) >= 0.5
}

const LONGEST: usize = 100;

/// `: did you mean "x"?`, or nothing.
pub fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(word, known).map_or_else(String::new, |near| format!(": did you mean \"{near}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_few_for_the_length_of_the_word() {
        let known = ["order_no", "status", "content_class_l1", "content_class_l2"];
        let near = |word: &str| nearest(word, known);
        assert_eq!(near("Order_On"), Some("order_no"));
        assert_eq!((near("order"), near("or"), near("ordr")), (Some("order_no"), None, None));
        assert_eq!((near("stauts"), near("state")), (Some("status"), None));
        assert_eq!(near("content_class_l"), Some("content_class_l1"), "the first of several");
        assert_eq!((near("title"), near(""), near(&"order_no".repeat(20))), (None, None, None));
        assert_eq!((nearest("x", []), nearest("cost_of_all", ["cost"])), (None, None));
        let keys = ["path", "partition_by", "home", "title", "time_zone"];
        assert_eq!(nearest("part", keys), Some("partition_by"), "what it begins comes before what it is like");
        assert_eq!(["name", "zone", "code", "note"].map(|word| nearest(word, keys)), [None; 4]);
    }

    #[test]
    fn what_must_not_be_missed_is_looked_for_widely() {
        let meant = ["Personal", "personal_data", "personal data", "personal-info", "PERSONAL INFORMATION", "persnal"];
        assert!(meant.iter().all(|word| resembles(word, "personal")));
        assert!(["huiju-sql", "huiju 0.1", "huijv", "HuiJu"].iter().all(|word| resembles(word, "huiju")));
        let others = ["public", "internal", "restricted", "confidential", ""];
        assert!(!others.iter().any(|word| resembles(word, "personal")));
        assert!(!["soda", "great-expectations", "dbt"].iter().any(|word| resembles(word, "huiju")));
    }
}
