//! What holds for any message, well formed or not.

use proptest::prelude::*;

use super::*;

/// What a used field of a value should become.
fn expected(value: Option<&serde_json::Value>) -> serde_json::Value {
    match value {
        None | Some(serde_json::Value::Null) => serde_json::Value::Null,
        Some(serde_json::Value::String(text)) => text.clone().into(),
        Some(other) => other.to_string().into(),
    }
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e9..1e9f64).prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
        "[一-龥\"\\\\\n\u{0}a]{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[abxyzé\"]{1,2}", inner, 0..3)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = serde_json::Value> {
    let fields = prop::collection::btree_map("[abdez]|工单|q\"", any_value(), 0..7);
    let nested = prop::option::of(prop::collection::btree_map("[xyz]", any_value(), 0..3));
    (fields, nested).prop_map(|(mut fields, nested)| {
        let nested = nested.map(|map| serde_json::Value::Object(map.into_iter().collect()));
        fields.extend(nested.map(|nested| ("c".to_owned(), nested)));
        serde_json::Value::Object(fields.into_iter().collect())
    })
}

/// Good messages and broken ones: cut off, or with a byte changed.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let bytes = (any_object(), any::<bool>()).prop_map(|(value, pretty)| match pretty {
        true => serde_json::to_vec_pretty(&value).unwrap(),
        false => value.to_string().into_bytes(),
    });
    (bytes, 0..4u8, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, kind, at, byte)| {
        let at = at.index(bytes.len());
        match kind {
            0 => bytes.truncate(at),
            1 => bytes[at] = byte,
            _ => {}
        }
        bytes
    })
}

fn told(decoded: &Decoded) -> Vec<String> {
    decoded.rejects.iter().map(|reject| format!("{:?} {:?}", reject.payload, reject.faults)).collect()
}

proptest! {
    #[test]
    fn valid_objects_become_what_serde_json_reads(objects in prop::collection::vec(any_object(), 1..6)) {
        let payloads: Vec<String> = objects.iter().map(ToString::to_string).collect();
        let decoded = plain().decode(&mut fetched(payloads.iter().map(|text| Some(text.as_bytes()))));
        prop_assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
        for (row, object) in show(&decoded.rows).iter().zip(&objects) {
            prop_assert_eq!(&row["a"], &expected(object.get("a")));
            prop_assert_eq!(&row["b"], &expected(object.get("b")));
            let nested = object.get("c").and_then(|c| c.get("x"));
            prop_assert_eq!(&row["c"]["x"], &expected(nested));
        }
    }

    #[test]
    fn batch_boundaries_do_not_matter(messages in prop::collection::vec(any_message(), 0..12), cut in 0..12usize) {
        let all = |messages: &[Vec<u8>]| plain().decode(&mut fetched(messages.iter().map(|bytes| Some(&bytes[..]))));
        let whole = all(&messages);
        let (first, second) = messages.split_at(cut.min(messages.len()));
        let mut decoder = plain();
        let (mut rows, mut rejects) = (Vec::new(), Vec::new());
        for part in [first, second] {
            let decoded = decoder.decode(&mut fetched(part.iter().map(|bytes| Some(&bytes[..]))));
            rows.extend(show(&decoded.rows));
            rejects.extend(told(&decoded));
        }
        prop_assert_eq!(&rows, &show(&whole.rows));
        prop_assert_eq!(&rejects, &told(&whole));
        let singly: Vec<_> = messages.iter().flat_map(|m| show(&all(std::slice::from_ref(m)).rows)).collect();
        prop_assert_eq!(rows, singly);
    }

    #[test]
    fn accepts_an_object_exactly_when_it_is_well_formed(message in any_message()) {
        let decoded = plain().decode(&mut fetched([Some(&message[..])]));
        let text = std::str::from_utf8(&message).ok();
        match text.and_then(|text| serde_json::from_str::<&serde_json::value::RawValue>(text).ok()) {
            None => prop_assert_eq!(decoded.rows.num_rows(), 0),
            Some(raw) if decoded.rejects.is_empty() => prop_assert_eq!(raw.get().as_bytes()[0], b'{'),
            // A changed byte may have made two keys the same, a struct something else, or half a surrogate pair.
            Some(_) => {
                let code = &*decoded.rejects[0].faults[0].code;
                let expected = ["decode.duplicate_key", "decode.not_an_object", "decode.syntax"];
                prop_assert!(expected.contains(&code), "{}", code);
            }
        }
    }

    #[test]
    fn poison_never_touches_its_neighbours(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        between(&mut plain(), GOOD, Some(&bytes));
        let good = br#"{"data":{"orders":[{"a":"g"}]}}"#;
        between(&mut enveloped(), good, Some(&bytes));
    }
}
