//! The contract as JSON Schema (draft 2020-12), for those who read the clean topic.
//!
//! What a message looks like: one object per row; a column without a value is left out, never `null`; an instant is an
//! RFC 3339 text in UTC (`2026-06-01T00:00:00Z`), a date `2026-06-01`, a decimal a JSON number.
//!
//! `additionalProperties` is true: a new column is a compatible change, and a consumer that validates against yesterday's
//! schema must not refuse today's messages. A column that goes away or changes its meaning gets a new major version.
//!
//! All codes that a table ever had are named, since old rows are read too: as `enum` where another one is an error, as
//! `x-codes` where it comes too, with a flag.

use serde_json::{Map, Value, json};

use super::{Column, Contract, Kind, Severity, codes::CodeTables};

impl Contract {
    pub fn json_schema(&self, codes: &CodeTables) -> Value {
        let is_flags = |column: &Column| self.flags.as_deref() == Some(&*column.name);
        let property = |column: &Column| (column.name.to_string(), property(column, is_flags(column), codes));
        let properties: Map<String, Value> = self.columns.iter().map(property).collect();
        let required: Vec<&str> = self.columns.iter().filter(|c| !c.nullable()).map(|c| &*c.name).collect();
        let mut schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.title,
            "description": self.description,
            "x-contract": self.name,
            "x-contract-version": self.version,
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": true,
        });
        if self.assumed {
            schema["x-assumed"] = json!(true);
        }
        schema
    }
}

fn property(column: &Column, is_flags: bool, codes: &CodeTables) -> Value {
    let mut schema = match &column.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Integer => json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }),
        Kind::Long => json!({ "type": "integer" }),
        Kind::Double | Kind::Decimal { .. } => json!({ "type": "number" }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Timestamp => json!({ "type": "string", "format": "date-time", "pattern": "Z$" }),
        Kind::Date => json!({ "type": "string", "format": "date" }),
        Kind::Texts if is_flags => json!({ "type": "array", "items": { "type": "string" } }),
        // An element may be NULL, unlike a column.
        Kind::Texts => json!({ "type": "array", "items": { "type": ["string", "null"] } }),
    };
    schema["title"] = json!(column.title);
    schema["description"] = json!(column.description);
    // An empty one is missing.
    if column.kind == Kind::Text && !column.nullable() {
        schema["minLength"] = json!(1);
    }
    // Where it is no error, longer ones come too, with a flag.
    if let Some(max) = column.max_length.filter(|_| column.unknown == Severity::Error) {
        schema["maxLength"] = json!(max);
    }
    for (limit, number) in &column.limits {
        schema[*limit] = json!(number);
    }
    if let Some(name) = &column.codes {
        schema["x-code-table"] = json!(name);
        if let Some(table) = codes.get(name) {
            let distinct = table.distinct_codes();
            let label = |code: &str| table.row_of(code, None).map(|row| row.label.as_str());
            let labels: Map<String, Value> =
                distinct.iter().map(|code| (code.to_string(), json!(label(code)))).collect();
            let listed = if column.unknown == Severity::Error { "enum" } else { "x-codes" };
            schema[listed] = json!(distinct);
            schema["x-labels"] = Value::Object(labels);
        }
    }
    if column.personal {
        schema["x-personal"] = json!(true);
    }
    if let Some(classification) = &column.classification {
        schema["x-classification"] = json!(classification);
    }
    schema
}
