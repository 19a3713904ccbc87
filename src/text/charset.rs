//! Texts in the charset of their source.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

/// A text as the source sends it; none, where its charset lacks a character of it. No charset is UTF-8.
pub fn encode(text: &str, charset: Option<&'static Encoding>) -> Option<Vec<u8>> {
    let Some(charset) = charset else { return Some(text.into()) };
    // Encodings are made for the web, where nobody may write UTF-16.
    if charset == UTF_16LE {
        return Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    }
    if charset == UTF_16BE {
        return Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    let (bytes, _, lacks) = charset.encode(text);
    (!lacks).then(|| bytes.into_owned())
}

/// A JSON text as the source sends it. What its charset does not have is written as JSON escapes it, `\u4e00`: outside of
/// strings JSON has nothing that a charset lacks.
pub fn encode_json(json: &str, charset: Option<&'static Encoding>) -> Vec<u8> {
    if let Some(bytes) = encode(json, charset) {
        return bytes;
    }
    let charset = charset.expect("UTF-8 lacks nothing");
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        let mut utf8 = [0; 4];
        match charset.encode(c.encode_utf8(&mut utf8)) {
            (_, _, false) => escaped.push(c),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| escaped += &format!("\\u{unit:04x}")),
        }
    }
    charset.encode(&escaped).0.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_charset_lacks_is_escaped() {
        let json = r#"{"地址":"东湖区𠮷里"}"#;
        for name in ["utf-8", "gb18030", "gbk", "big5", "shift_jis", "windows-1252", "utf-16le", "utf-16be"] {
            let charset = Encoding::for_label(name.as_bytes()).unwrap();
            let bytes = encode_json(json, Some(charset));
            let lacks = matches!(name, "gbk" | "big5" | "shift_jis" | "windows-1252");
            assert_eq!(encode(json, Some(charset)), (!lacks).then_some(bytes.clone()), "{name}");
            let (text, wrong) = charset.decode_without_bom_handling(&bytes);
            assert!(!wrong, "{name}");
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read, serde_json::from_str::<serde_json::Value>(json).unwrap(), "{name}: {text}");
        }
        assert_eq!(encode_json("里", None), "里".as_bytes());
    }
}
