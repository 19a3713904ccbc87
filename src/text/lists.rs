//! Lists of texts, as messages hold them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The elements of a JSON array as texts: a string without its quotes, all else as it is written, `None` for `null`. `None`
/// where the text is no JSON array.
pub fn json_texts(text: &str) -> Option<Vec<Option<Cow<'_, str>>>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    elements
        .into_iter()
        .map(|raw| match raw.get() {
            "null" => Some(None),
            // Half of a surrogate pair, which JSON can write, is no text.
            quoted if quoted.starts_with('"') => serde_json::from_str(quoted).ok().map(|Text(text)| Some(text)),
            other => Some(Some(Cow::Borrowed(other))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::json_texts;

    #[test]
    fn elements_are_texts() {
        let read = |text: &str| {
            json_texts(text)
                .map(|all| all.iter().map(|one| one.as_deref().unwrap_or("-").to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(read(r#"["a", "路灯\n\u8def", "", "null"]"#).unwrap(), ["a", "路灯\n路", "", "null"]);
        assert_eq!(
            read(r#" [1, 1.50, 1e3, true, null, {"a": [1]}, [2 ,3]] "#).unwrap(),
            ["1", "1.50", "1e3", "true", "-", r#"{"a": [1]}"#, "[2 ,3]"]
        );
        assert_eq!(read("[]").unwrap(), [""; 0]);
        for none in ["", "a", "a,b", "\"a\"", "1", "null", "{}", "[1", "[1] 2", "[\"\\ud800\"]", "[nan]"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
