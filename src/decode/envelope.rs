//! Messages that wrap their rows: `{"sent_at": …, "data": {"orders": [ … ]}}`.
//!
//! The rows may come before the fields that belong to all of them, so an envelope is read first and its rows after
//! it. Rows are found and their bounds checked in the same pass that reads the envelope's own fields.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    bad::{Bad, DUPLICATE_KEY},
    columns::{Column, Table},
    json::{Elements, Reading, elements, unwritten, value, whole, write},
};

/// Reads an envelope: its used fields into a new row of `table`, and the texts of the rows at `path`: the elements of
/// an array, or an object that stands there alone. `None` when there is neither.
pub(super) fn envelope<'t>(
    text: &'t str,
    table: Option<&mut Table>,
    path: &[String],
) -> Result<Option<Vec<&'t str>>, Bad> {
    let mut rows = None;
    whole(text, |json, reading| json.deserialize_map(Envelope { table, path, rows: &mut rows, reading }))?;
    Ok(rows)
}

/// An envelope, or a part of it on the way to the rows.
struct Envelope<'e, 't, 'de> {
    /// The used fields of this part, if any.
    table: Option<&'e mut Table>,
    /// What is left of the path: at least one key.
    path: &'e [String],
    rows: &'e mut Option<Vec<&'de str>>,
    reading: &'e mut Reading<'t>,
}

impl<'de> DeserializeSeed<'de> for Envelope<'_, '_, 'de> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_, '_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        if let Some(table) = &mut self.table {
            table.begin();
        }
        let mut followed = false;
        while let Some(Sign { leads_on, field, key }) =
            map.next_key_seed(Signpost { to: &self.path[0], table: self.table.as_deref_mut() })?
        {
            if leads_on {
                if std::mem::replace(&mut followed, true) {
                    let at = key.and_then(|key| self.reading.place(key));
                    let bad = Bad::new(DUPLICATE_KEY, at, "同一个键出现了不止一次");
                    return Err(self.reading.stop(bad.of_field(&self.path[0].as_str().into())));
                }
                self.follow(&mut map, field, key)?;
                continue;
            }
            match (&mut self.table, field) {
                (Some(table), Some(field)) => value(&mut map, table, field, key, self.reading)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if let Some(table) = self.table {
            table.end();
        }
        Ok(())
    }
}

impl<'de> Envelope<'_, '_, 'de> {
    /// One step along the path. The key may be a used field at the same time.
    fn follow<A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        field: Option<usize>,
        key: Option<&str>,
    ) -> Result<(), A::Error> {
        let (rest, reading) = (&self.path[1..], &mut *self.reading);
        let used = match (&mut self.table, field) {
            (Some(table), Some(field)) => {
                unwritten(table, field, key, reading)?;
                Some((&mut table.columns[field], &table.names[field]))
            }
            _ => None,
        };
        match (reading.opens(key), used) {
            (Some(b'['), None) if rest.is_empty() => {
                let found = self.rows.insert(Vec::new());
                map.next_value_seed(Elements { found, reading })
            }
            (Some(b'{'), None) if !rest.is_empty() => {
                map.next_value_seed(Envelope { table: None, path: rest, rows: self.rows, reading })
            }
            (Some(b'{'), Some((Column::Struct(table), _))) if !rest.is_empty() => {
                map.next_value_seed(Envelope { table: Some(table), path: rest, rows: self.rows, reading })
            }
            (_, used) => {
                let raw = map.next_value::<&RawValue>()?.get();
                let below = (|| {
                    let inwards = !rest.is_empty() && raw.starts_with('{');
                    let table = match (used, inwards) {
                        (Some((Column::Struct(part), _)), true) => Some(part),
                        (Some((column, name)), _) => write(raw, column, name).map(|()| None)?,
                        (None, _) => None,
                    };
                    match raw.as_bytes()[0] {
                        b'{' if inwards => envelope(raw, table, rest),
                        b'{' => Ok(Some(vec![raw])),
                        b'[' if rest.is_empty() => elements(raw).map(Some),
                        _ => Ok(None),
                    }
                })();
                *self.rows = below.map_err(|bad| reading.stop_in(raw, bad))?;
                Ok(())
            }
        }
    }
}

struct Signpost<'s> {
    to: &'s str,
    table: Option<&'s mut Table>,
}

/// A key of an envelope: whether it leads to the rows, the used field it names, and its text if it stands there as it
/// is.
struct Sign<'de> {
    leads_on: bool,
    field: Option<usize>,
    key: Option<&'de str>,
}

impl Signpost<'_> {
    fn read<'de>(self, key: &str) -> Sign<'de> {
        let field = self.table.and_then(|table| table.keys.find(key));
        Sign { leads_on: key == self.to, field, key: None }
    }
}

impl<'de> DeserializeSeed<'de> for Signpost<'_> {
    type Value = Sign<'de>;
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Sign<'de>, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Signpost<'_> {
    type Value = Sign<'de>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Sign<'de>, E> {
        Ok(Sign { key: Some(key), ..self.read(key) })
    }
    fn visit_str<E>(self, key: &str) -> Result<Sign<'de>, E> {
        Ok(self.read(key))
    }
}
