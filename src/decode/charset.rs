//! From bytes to text, strictly: what is not text in the feed's charset is not guessed at.
//!
//! A byte order mark of the feed's own charset is dropped; one of another charset means that the feed is not what its
//! profile says.

use encoding_rs::{DecoderResult, Encoding, GB18030, GBK, UTF_8};

use super::bad::{Bad, ENCODING};

/// Reads payloads of one charset.
#[derive(Debug)]
pub(super) struct Charset {
    /// `None` for UTF-8, which needs no transcoding.
    other: Option<&'static Encoding>,
    /// The text of the message being read, when it had to be transcoded.
    buffer: String,
}

/// The byte order mark in GB18030, which no browser looks for.
const GB18030_MARK: &[u8] = b"\x84\x31\x95\x33";

/// A message's text, and the way back from a place in it to the byte it came from.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    pub text: &'t str,
    payload: &'t [u8],
    /// Bytes of the byte order mark.
    mark: usize,
    other: Option<&'static Encoding>,
}

impl Charset {
    pub fn new(charset: Option<&'static Encoding>) -> Charset {
        Charset { other: charset.filter(|charset| *charset != UTF_8), buffer: String::new() }
    }

    pub fn read<'t>(&'t mut self, payload: &'t [u8]) -> Result<Text<'t>, Bad> {
        let declared = self.other.unwrap_or(UTF_8);
        let mark = match Encoding::for_bom(payload) {
            Some((encoding, mark)) if encoding == declared => mark,
            Some((encoding, _)) => {
                let (found, declared) = (encoding.name(), declared.name());
                let what = format!("消息以 {found} 的字节顺序标记开头，而来源声明的字符集是 {declared}");
                return Err(Bad::new(ENCODING, 0, what));
            }
            None if [GB18030, GBK].contains(&declared) && payload.starts_with(GB18030_MARK) => GB18030_MARK.len(),
            None => 0,
        };
        let bytes = &payload[mark..];
        let text = match self.other {
            None => simdutf8::basic::from_utf8(bytes).map_err(|_| not_utf8(bytes, mark))?,
            Some(encoding) => transcode(encoding, bytes, mark, &mut self.buffer)?,
        };
        Ok(Text { text, payload, mark, other: self.other })
    }
}

#[cold]
fn not_utf8(bytes: &[u8], mark: usize) -> Bad {
    let at = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    Bad::new(ENCODING, mark + at, "消息不是有效的 UTF-8 文本")
}

fn transcode<'b>(
    encoding: &'static Encoding,
    bytes: &[u8],
    mark: usize,
    buffer: &'b mut String,
) -> Result<&'b str, Bad> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    buffer.clear();
    let most = decoder.max_utf8_buffer_length_without_replacement(bytes.len());
    buffer.reserve(most.unwrap_or(bytes.len().saturating_mul(3)));
    match decoder.decode_to_string_without_replacement(bytes, buffer, true) {
        (DecoderResult::InputEmpty, _) => Ok(buffer),
        (DecoderResult::Malformed(bad, after), read) => {
            let at = mark + read.saturating_sub(usize::from(bad) + usize::from(after));
            Err(Bad::new(ENCODING, at, format!("消息不是有效的 {} 文本", encoding.name())))
        }
        (DecoderResult::OutputFull, read) => {
            Err(Bad::new(ENCODING, mark + read, format!("消息不是有效的 {} 文本", encoding.name())))
        }
    }
}

impl Text<'_> {
    /// Leads a position in the text back to the message as received.
    pub fn trace(&self, bad: Bad) -> Bad {
        Bad { at: bad.at.map(|at| self.origins(&[at])[0]), ..bad }
    }

    /// The bytes of the message from which the text at these places came; the places must ascend.
    pub fn origins(&self, places: &[usize]) -> Vec<usize> {
        let Some(encoding) = self.other else {
            return places.iter().map(|at| at + self.mark).collect();
        };
        // Byte by byte: the only way that is right in every charset. Rare, so it may be slow.
        let mut decoder = encoding.new_decoder_without_bom_handling();
        let mut piece = [0; 32];
        let (mut origins, mut written, mut start) = (Vec::with_capacity(places.len()), 0, self.mark);
        for at in self.mark..self.payload.len() {
            if origins.len() == places.len() {
                break;
            }
            let last = at + 1 == self.payload.len();
            let byte = &self.payload[at..=at];
            let (_, _, wrote) = decoder.decode_to_utf8_without_replacement(byte, &mut piece, last);
            written += wrote;
            while places.get(origins.len()).is_some_and(|place| *place < written) {
                origins.push(start);
            }
            if wrote > 0 {
                start = at + 1;
            }
        }
        origins.resize(places.len(), self.payload.len());
        origins
    }
}
