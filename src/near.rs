//! What somebody meant who wrote a word that is not known.

/// The known word that `word` is most likely a slip of: letters more, less, other or swapped, or the end left out, whatever
/// their case.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // What is longer than any name is no slip of one, and comparing it with each would take its time.
    if word.len() > 100 {
        return None;
    }
    let word = word.to_lowercase();
    let slips = |known: &'k str| (strsim::osa_distance(&word, &known.to_lowercase()), known);
    let (slips, known) = known.into_iter().map(slips).min()?;
    let begun = word.chars().nth(2).is_some() && known.to_lowercase().starts_with(&word);
    (begun || slips <= 1 + word.chars().count() / 4).then_some(known)
}

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
        assert_eq!(near("state"), Some("status"));
        assert_eq!(near("content_class_l"), Some("content_class_l1"), "the first of several");
        assert_eq!((near("title"), near(""), near(&"order_no".repeat(20))), (None, None, None));
        assert_eq!(nearest("x", []), None);
    }
}
