//! What a panic says: where it was, and nothing of the data.
//!
//! The text of a panic may hold what was being worked on: an index into a text shows the text, an `expect` shows the
//! error. A text that is written in the source holds nothing; a text that was put together is withheld, and
//! `HUIJU_PANIC=full` shows it to whoever may see the data.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::PanicHookInfo,
};

use super::out::tell;
use crate::engine;

pub(super) fn install() {
    let full = std::env::var_os("HUIJU_PANIC").is_some_and(|value| value == "full");
    std::panic::set_hook(Box::new(move |info| {
        if engine::shielded() {
            return; // it becomes a reject, or a finding of `check`
        }
        let thread = std::thread::current();
        let at = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let name = thread.name().unwrap_or("without a name");
        tell!(ERROR, "huiju: a mistake in huiju: thread {name} panicked at {at}: {}", words(info, full));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            tell!(ERROR, "{backtrace}");
        }
    }));
}

fn words(info: &PanicHookInfo<'_>, full: bool) -> String {
    if let Some(text) = info.payload().downcast_ref::<&'static str>() {
        return (*text).to_owned();
    }
    match info.payload().downcast_ref::<String>() {
        Some(text) if full => text.clone(),
        _ => "what it says is withheld, because it may hold personal data (HUIJU_PANIC=full shows it)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{catch_unwind, set_hook, take_hook},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[test]
    fn a_panic_shows_its_own_words_and_none_of_the_data() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        let before = take_hook();
        set_hook(Box::new(move |info| {
            // Other tests may panic at the same time, on purpose.
            if std::thread::current().name().is_some_and(|name| name.contains("none_of_the_data")) {
                heard.lock().unwrap().push((words(info, false), words(info, true)));
            }
        }));
        let text = "电话13870012345".to_owned();
        let _ = catch_unwind(|| text[1..].len());
        let _ = catch_unwind(|| panic!("our own words"));
        set_hook(before);
        let said = said.lock().unwrap();
        assert!(said[0].0.contains("withheld") && !said[0].0.contains("13870012345"), "{said:?}");
        assert!(said[0].1.contains("13870012345"), "{said:?}");
        assert_eq!(said[1].0, "our own words");
    }
}
