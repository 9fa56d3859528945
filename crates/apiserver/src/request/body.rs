//! Bodies: JSON, YAML and some protocol-buffer documents, with the fields that occur twice.

use std::cell::RefCell;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::media::Encoding;
use super::protobuf;

/// How deep documents may be nested, which is what `serde_json` allows.
const DEPTH: usize = 127;

/// A parsed body.
#[derive(Clone, Debug)]
pub struct Document {
    /// The value; of duplicate fields the last one.
    pub value: Value,
    /// Paths of fields that occur more than once.
    pub duplicates: Vec<String>,
}

/// Parses a body.
///
/// # Errors
/// A text that says where parsing ended.
pub fn parse(bytes: &[u8], encoding: Encoding) -> Result<Document, String> {
    let duplicates = RefCell::new(Vec::new());
    let value = match encoding {
        Encoding::Json => {
            let mut deserializer = serde_json::Deserializer::from_slice(bytes);
            let seed = Seed {
                path: Path::Root,
                duplicates: &duplicates,
                depth: 0,
            };
            let value = seed
                .deserialize(&mut deserializer)
                .and_then(|value| deserializer.end().map(|()| value))
                .map_err(|error| format!("json parse error: {error}"));
            value?
        }
        Encoding::Yaml => yaml(bytes, &duplicates)?,
        Encoding::Protobuf => protobuf::parse(bytes)?,
    };
    Ok(Document {
        value,
        duplicates: duplicates.into_inner(),
    })
}

fn yaml(bytes: &[u8], duplicates: &RefCell<Vec<String>>) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
    };
    let read = |deserializer: serde_saphyr::Deserializer<'_, '_>| {
        let seed = Seed {
            path: Path::Root,
            duplicates,
            depth: 0,
        };
        seed.deserialize(deserializer)
    };
    serde_saphyr::with_deserializer_from_slice_with_options(bytes, options, read)
        .map_err(|error| format!("yaml: {error}"))
}

/// Where a value is. Texts are made of it only if there is something to say about it.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(outer, key) => write!(f, "{outer}.{key}"),
            Path::Item(outer, index) => write!(f, "{outer}[{index}]"),
        }
    }
}

/// Reads a value and notes duplicate keys of objects.
struct Seed<'a> {
    path: Path<'a>,
    duplicates: &'a RefCell<Vec<String>>,
    depth: usize,
}

impl<'a> Seed<'a> {
    fn inner<'b>(&'b self, path: Path<'b>) -> Seed<'b>
    where
        'a: 'b,
    {
        Seed {
            path,
            duplicates: self.duplicates,
            depth: self.depth + 1,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth > DEPTH {
            return Err(serde::de::Error::custom("nested too deeply"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) =
            access.next_element_seed(self.inner(Path::Item(&self.path, list.len())))?
        {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let path = Path::Key(&self.path, &key);
            let value = access.next_value_seed(self.inner(path))?;
            if map.contains_key(&key) {
                self.duplicates.borrow_mut().push(path.to_string());
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn duplicate_fields_are_noted_and_the_last_one_wins() {
        let text = br#"{"a": 1, "b": [{"c": 1, "c": 2}], "a": 3}"#;
        let document = parse(text, Encoding::Json).unwrap();
        assert_eq!(document.value, json!({"a": 3, "b": [{"c": 2}]}));
        assert_eq!(document.duplicates, ["b[0].c", "a"]);
    }

    #[test]
    fn broken_documents_are_errors() {
        for text in ["{", "", "{} x", "\"", "nonsense"] {
            assert!(parse(text.as_bytes(), Encoding::Json).is_err(), "{text:?}");
        }
        assert!(parse(b"a: [\n", Encoding::Yaml).is_err());
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes(), Encoding::Json).is_err());
    }

    #[test]
    fn yaml_is_read_like_json() {
        let document = parse(b"a: \"1\"\nb:\n- 2\n", Encoding::Yaml).unwrap();
        assert_eq!(document.value, json!({"a": "1", "b": [2]}));
        assert_eq!(document.duplicates, [""; 0]);
        let text = b"a: 1\nb: {c: 1, c: 2}\na: null\nd: [true, 1.5, ~, x]\n80: e\n";
        let document = parse(text, Encoding::Yaml).unwrap();
        let wanted = json!({"a": null, "b": {"c": 2}, "d": [true, 1.5, null, "x"], "80": "e"});
        assert_eq!(document.value, wanted);
        assert_eq!(document.duplicates, ["b.c", "a"]);
    }
}
