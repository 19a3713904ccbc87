//! Texts in the charset of their source.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

/// A JSON text as the source sends it. What its charset does not have is written as JSON escapes it, `\u4e00`: outside of
/// strings JSON has nothing that a charset lacks.
pub(super) fn encode(json: String, charset: Option<&'static Encoding>) -> Vec<u8> {
    let Some(charset) = charset else { return json.into_bytes() };
    // Encodings are made for the web, where nobody may write UTF-16.
    if charset == UTF_16LE {
        return json.encode_utf16().flat_map(u16::to_le_bytes).collect();
    }
    if charset == UTF_16BE {
        return json.encode_utf16().flat_map(u16::to_be_bytes).collect();
    }
    let (bytes, _, lacks) = charset.encode(&json);
    if !lacks {
        return bytes.into_owned();
    }
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
            let bytes = encode(json.to_owned(), Some(charset));
            let (text, wrong) = charset.decode_without_bom_handling(&bytes);
            assert!(!wrong, "{name}");
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read, serde_json::from_str::<serde_json::Value>(json).unwrap(), "{name}: {text}");
        }
        assert_eq!(encode("里".to_owned(), None), "里".as_bytes());
    }
}
