//! Weights as a file: a line that says what it is, a line of JSON that people can read, the numbers, a hash.
//!
//! ```text
//! huiju weights 1\n
//! {"version":"1-6f1d…","classes":[…],"features":{…},…,"figures":{…}}\n
//! per feature: distance to the bucket before it (7 bits a byte, the lowest first), its importance, a weight per class
//! 16 bytes: XXH3-128 of everything above, big-endian
//! ```
//!
//! Features are buckets of hashes, so no piece of a training text is in it. Nothing of a damaged file is used.

use xxhash_rust::xxh3::xxh3_128;

use super::{
    calibrate::Calibration,
    measure::Figures,
    model::{Features, Model, Weights, lanes},
};

const MAGIC: &[u8] = b"huiju weights ";
const FORMAT: &[u8] = b"1";
const HASH: usize = 16;
/// Buckets beyond this would not fit into the memory that is promised.
const MOST_BITS: u32 = 20;

/// What a weights file says beside the numbers.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: String,
    classes: Vec<String>,
    features: Features,
    calibration: Calibration,
    threshold: f32,
    scales: Vec<f32>,
    bias: Vec<f32>,
    /// Rows that follow.
    rows: usize,
    training: Training,
}

/// How the weights came about, for people.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    pub examples: usize,
    /// Groups of related texts among them.
    pub groups: usize,
    pub seed: u64,
    pub folds: usize,
    /// Precision that the threshold was chosen for.
    pub precision: f64,
    /// By cross-validation, groups undivided.
    pub figures: Figures,
}

/// A model with its history.
#[derive(Clone, PartialEq, Debug)]
pub struct Trained {
    pub model: Model,
    pub training: Training,
}

impl Trained {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (model, lanes) = (&self.model, self.model.weights.lanes);
        let rows = model.weights.rows.chunks(lanes).enumerate().filter(|(_, row)| row[lanes - 1] != 0);
        let head = Head {
            version: model.version.clone(),
            classes: model.classes.clone(),
            features: model.features.clone(),
            calibration: model.calibration.clone(),
            threshold: model.threshold,
            scales: model.weights.scales.clone(),
            bias: model.weights.bias.clone(),
            rows: rows.clone().count(),
            training: self.training.clone(),
        };
        let mut bytes = [MAGIC, FORMAT, b"\n"].concat();
        serde_json::to_writer(&mut bytes, &head).expect("numbers and texts can be JSON");
        bytes.push(b'\n');
        let mut next = 0;
        for (bucket, row) in rows {
            let mut distance = bucket - next;
            while distance >= 0x80 {
                bytes.push(distance as u8 | 0x80);
                distance >>= 7;
            }
            bytes.push(distance as u8);
            bytes.push(row[lanes - 1] as u8);
            bytes.extend(row[..model.classes.len()].iter().map(|weight| *weight as u8));
            next = bucket + 1;
        }
        let hash = xxh3_128(&bytes);
        bytes.extend(hash.to_be_bytes());
        bytes
    }

    /// Reads a file's bytes; the error says what is wrong and what to do.
    pub fn from_bytes(bytes: &[u8]) -> Result<Trained, String> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err("this is no weights file: `huiju train` writes one".to_owned());
        };
        let format = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if format != FORMAT {
            let shown: String = String::from_utf8_lossy(format).chars().take(12).collect();
            return Err(format!(
                "the weights are of format `{shown}`, this huiju reads 1: train them again, or update huiju"
            ));
        }
        let damaged = |what: &str| format!("the weights are damaged ({what}): copy the file again, or train it again");
        let Some(at) = bytes.len().checked_sub(HASH) else { return Err(damaged("it is cut off")) };
        let (content, hash) = bytes.split_at(at);
        if xxh3_128(content).to_be_bytes() != *hash {
            return Err(damaged("its hash does not fit: it is cut off or changed"));
        }
        let content = &content[MAGIC.len() + FORMAT.len() + 1..];
        let end = content.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("it has no head"))?;
        let head: Head = serde_json::from_slice(&content[..end]).map_err(|error| damaged(&error.to_string()))?;
        let lanes = check(&head).map_err(|what| damaged(&what))?;
        let rows = rows(&head, lanes, &content[end + 1..]).ok_or_else(|| damaged("its rows do not fit its head"))?;
        let weights = Weights { lanes, rows, scales: head.scales, bias: head.bias };
        let model = Model {
            version: head.version,
            classes: head.classes,
            features: head.features,
            calibration: head.calibration,
            threshold: head.threshold,
            weights,
        };
        Ok(Trained { model, training: head.training })
    }
}

fn check(head: &Head) -> Result<usize, String> {
    let classes = head.classes.len();
    let lanes = lanes(classes).filter(|_| classes > 1).ok_or_else(|| format!("{classes} classes"))?;
    if [head.scales.len(), head.bias.len(), head.calibration.shifts.len()] != [classes; 3] {
        return Err("its lists are not one value per class".to_owned());
    }
    if !(8..=MOST_BITS).contains(&head.features.bits) {
        return Err(format!("{} bits of features", head.features.bits));
    }
    Ok(lanes)
}

fn rows(head: &Head, lanes: usize, mut bytes: &[u8]) -> Option<Vec<i8>> {
    let buckets = 1_usize << head.features.bits;
    let mut rows = vec![0; buckets * lanes];
    let mut next = 0_usize;
    for _ in 0..head.rows {
        let mut distance = 0_usize;
        for shift in (0..28).step_by(7) {
            let byte = *bytes.split_off_first()?;
            distance |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        let bucket = next + distance;
        let row = rows.get_mut(bucket * lanes..(bucket + 1) * lanes)?;
        row[lanes - 1] = *bytes.split_off_first()? as i8;
        for (weight, byte) in row.iter_mut().zip(bytes.split_off(..head.classes.len())?) {
            *weight = *byte as i8;
        }
        next = bucket + 1;
    }
    bytes.is_empty().then_some(rows)
}
