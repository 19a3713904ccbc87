//! Makes raw messages as cities send them: plausible, different per source, and dirty on purpose. Seeded: the same
//! options give the same bytes.
//!
//! What a message looks like is data: `pipelines/<pipeline>/sources/<source>.sample.json`, with word lists in
//! `pipelines/<pipeline>/sample/*.txt`. Nothing in here knows what a pipeline is about.
//!
//! # The template
//!
//! ```json
//! {
//!   "key": "${no}",
//!   "let": { "no": "${id:%y%m%d#######}", "place": "${words:places}" },
//!   "message": { "orderNum": "${no}", "area": "${place/1}", "sex": "${one:0|1}|number" },
//!   "pad": { "field": "content", "with": "请尽快处理。" },
//!   "bad": [ { "kind": "truncated", "weight": 2 }, { "kind": "missing", "fields": ["orderNum"] } ],
//!   "untidy": { "share": 0.2, "kinds": [ { "kind": "spaces", "fields": ["area"] } ] }
//! }
//! ```
//!
//! - `let` values are made first, in their order, and once more for every repeated element; a tab splits a value into
//!   fields that `${name/1}`, `${name/2}` … take out.
//! - `message` is any JSON. Its texts may hold generators:
//!
//! | generator | makes |
//! | --- | --- |
//! | `${NAME}` `${NAME/2}` | a `let` value, or its second field |
//! | `${words:LIST}` | a line of `sample/LIST.txt`, which may hold generators itself; empty lines and lines with `#` are skipped |
//! | `${one:a\|b*3\|c}` | one of these; `*3`: three times as often; may hold generators |
//! | `${id:%y%m%d###}` | the message's time and, for the `#`, the running number |
//! | `${time:FORMAT}` `${time-1m..6d:FORMAT}` `${time+3h:FORMAT}` | the message's time, or some time before or after it (`s m h d`); `FORMAT` is `epoch_ms`, `epoch_s` or made of `%Y %y %m %-m %d %-d %H %-H %M %S` in the source's zone |
//! | `${int:1-5}` `${digits:4}` | a number, so many digits |
//! | `${name}` `${mobile}` `${landline:0791/8}` `${id_card:360102\|360103}` | a person's name, a mobile number, a number with this area code and so many digits, an ID number with a right check digit |
//!
//! - A text that ends in `|number` is written without quotes where JSON knows it so (numbers, `true`, `false`, `null`);
//!   others (`0775`, words) stay texts.
//! - A member's text may start with `${sometimes:0.7}` or `${when:NAME/2=VALUE}`; otherwise the member is left out.
//! - An array `["${repeat:1-5}", {...}]` holds one to five such elements.
//! - `pad` says where text goes when messages of a certain size are wanted.
//!
//! # Dirt
//!
//! `bad` messages are meant to be rejected (share: [`Options::bad`]); fields named there must always be present.
//! `untidy` ones are meant to be cleaned or flagged (share: in the template). In an envelope one element is damaged. Kinds:
//! `truncated`, `two_objects`, `trailing`, `empty`; and, with `fields` (paths like `order.id`; one is taken, `a+b` means both),
//! `missing`, `replace` and `insert` (both with `with`: what), `spaces` (tabs, U+3000 around), `full_width` (digits).

pub mod command;
mod damage;
mod files;
mod json;
mod parts;
mod people;
mod template;
#[cfg(test)]
mod tests;
mod time;
mod topics;
mod writer;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use encoding_rs::Encoding;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::{damage::Kind, parts::Row, template::Template, writer::Writer};
use crate::{config::Pipeline, error::Finding, text::charset};

pub use self::files::{Written, taken, write_files};

/// Every this many good messages one is remembered, to be sent again.
const REMEMBER_EVERY: u64 = 8;
/// How many are remembered: what is sent again is some hundreds of messages old at most.
const REMEMBERED: usize = 48;

#[derive(Clone, Debug)]
pub struct Options {
    /// How many messages, duplicates and bad ones included.
    pub messages: u64,
    pub seed: u64,
    /// Share of messages that are an earlier one sent again, 0 to 1.
    pub duplicates: f64,
    /// Share of messages that ought to be rejected, 0 to 1.
    pub bad: f64,
    /// Time of the first message; the others follow evenly over `span`.
    pub start: DateTime<Utc>,
    pub span: Duration,
    /// Pads messages to about this many bytes.
    pub size: Option<usize>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            messages: 1000,
            seed: 1,
            duplicates: 0.02,
            bad: 0.005,
            // 2026-06-01 in Shanghai: the same seed gives the same bytes on any day.
            start: DateTime::from_timestamp(1_780_243_200, 0).expect("a time in range"),
            span: Duration::from_secs(24 * 60 * 60),
            size: None,
        }
    }
}

/// A message as it would be produced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sample {
    pub key: Option<Vec<u8>>,
    /// In the charset of its source. Never holds a line break; in UTF-16 it may hold that byte.
    pub payload: Vec<u8>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub made: Made,
}

/// What a message was made to be, so that whoever counts knows what to expect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Made {
    /// Good, perhaps untidy.
    Good,
    /// It, or one element of it, ought to be rejected.
    Bad,
    /// A good one, sent again unchanged on the same day.
    Duplicate,
}

/// Makes the messages of one source.
pub struct Generator {
    topic: String,
    zone: chrono_tz::Tz,
    charset: Option<&'static Encoding>,
    template: Arc<Template>,
    options: Options,
    row: Row,
    made: u64,
    good: u64,
    /// Good messages of late and the day they are of.
    recent: Vec<(i64, Sample)>,
}

impl Generator {
    /// Reads the template of a source.
    pub fn read(pipeline: &Pipeline, source: &str, options: Options) -> Result<Generator, Vec<Finding>> {
        let Some(source) = pipeline.sources.iter().find(|s| &*s.name == source) else {
            let known: Vec<&str> = pipeline.sources.iter().map(|s| &*s.name).collect();
            let what = format!("no source `{source}` in pipeline {}; there are: {}", pipeline.name, known.join(", "));
            return Err(vec![Finding::new(pipeline.folder.join("sources").display().to_string(), what)]);
        };
        let Some(topic) = source.topics.first() else {
            let at = pipeline.folder.join(format!("sources/{}.toml", source.name));
            return Err(vec![Finding::new(at.display().to_string(), "no topic to make messages for")]);
        };
        let template = Template::read(&pipeline.folder, &source.name)?;
        let rng = StdRng::seed_from_u64(options.seed ^ xxhash_rust::xxh3::xxh3_64(source.name.as_bytes()));
        Ok(Generator {
            topic: topic.clone(),
            zone: source.time_zone,
            charset: source.charset,
            row: Row::new(rng, template.lets.len()),
            template: Arc::new(template),
            options,
            made: 0,
            good: 0,
            recent: Vec::with_capacity(REMEMBERED),
        })
    }

    /// The topic these messages belong to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// When the next message is sent, milliseconds since 1970.
    fn moment(&self) -> i64 {
        let span = self.options.span.as_millis();
        let passed = span * u128::from(self.made) / u128::from(self.options.messages.max(1));
        self.options.start.timestamp_millis() + i64::try_from(passed).expect("a span of less than 290 million years")
    }

    /// A good message of the same day, if one is due to be sent again.
    fn again(&mut self, day: i64) -> Option<Sample> {
        if self.options.duplicates <= 0.0 || self.recent.is_empty() || !self.chance(self.options.duplicates) {
            return None;
        }
        let at = self.row.rng.random_range(0..self.recent.len());
        let (its_day, sample) = &self.recent[at];
        (*its_day == day).then(|| Sample { made: Made::Duplicate, timestamp: self.row.now, ..sample.clone() })
    }

    fn chance(&mut self, share: f64) -> bool {
        self.row.rng.random::<f64>() < share
    }

    /// A message, and whether nothing at all is wrong with it.
    fn build(&mut self) -> (Sample, bool) {
        let template = Arc::clone(&self.template);
        let bad = self.options.bad > 0.0 && self.chance(self.options.bad);
        let damage = if bad {
            template.bad.choose(&mut self.row.rng)
        } else if template.untidy_share > 0.0 && self.chance(template.untidy_share) {
            template.untidy.choose(&mut self.row.rng)
        } else {
            None
        };
        let mut writer = Writer::new(damage, template.pad.as_ref(), self.options.size);
        self.row.make(&template.lets);
        let key = template.key.as_ref().map(|parts| self.row.text(parts).into_bytes());
        writer.node(&template.message, &mut self.row);
        let text = String::from_utf8(writer.finish(&mut self.row)).expect("a template is made of texts");
        let mut payload = charset::encode_json(&text, self.charset);
        match damage.map(|d| &d.kind) {
            Some(Kind::Truncated) => payload.truncate(self.row.rng.random_range(1..payload.len())),
            Some(Kind::TwoObjects) => payload.extend_from_within(..),
            Some(Kind::Trailing) => payload.extend(charset::encode_json("} EOF", self.charset)),
            Some(Kind::Empty) => payload.clear(),
            _ => {}
        }
        let made = if bad && damage.is_some() { Made::Bad } else { Made::Good };
        (Sample { key, payload, timestamp: self.row.now, made }, damage.is_none())
    }
}

impl Iterator for Generator {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        if self.made >= self.options.messages {
            return None;
        }
        let now = self.moment();
        self.made += 1;
        self.row.set_time(now, self.zone);
        let day = time::day(now, self.row.offset);
        if let Some(sample) = self.again(day) {
            return Some(sample);
        }
        let (sample, tidy) = self.build();
        // Only what is whole is sent again: without its time of change a message is not known as a copy.
        if tidy && self.options.duplicates > 0.0 {
            if self.good.is_multiple_of(REMEMBER_EVERY) {
                let place = (self.good / REMEMBER_EVERY) as usize % REMEMBERED;
                if place < self.recent.len() {
                    self.recent[place] = (day, sample.clone());
                } else {
                    self.recent.push((day, sample.clone()));
                }
            }
            self.good += 1;
        }
        Some(sample)
    }
}
