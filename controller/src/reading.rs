//! Reads documents, of JSON or of what else serde reads, into values, and tells which fields stand twice in them: the last one counts, and
//! who is strict refuses it. Called by both wires.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How many fields that stand twice are told.
const TWICE_MAX: usize = 10;

/// A document, and the fields that stand in it twice.
pub(crate) type Read = (Value, Vec<String>);

/// Reads JSON.
///
/// # Errors
/// It is none.
pub(crate) fn json(bytes: &[u8]) -> Result<Read, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = root(|seed| {
        let document = seed.deserialize(&mut reader)?;
        reader.end()?;
        Ok::<_, serde_json::Error>(document)
    });
    read.map_err(|error| error.to_string())
}

/// What stands twice in the operations of a JSON patch, or is no member of one.
pub(crate) fn mistakes_of_operations(patch: &Value, twice: &[String]) -> Vec<String> {
    let operations = patch.as_array().into_iter().flatten().enumerate();
    let unknown = operations.flat_map(|(place, operation)| {
        let names = operation.as_object().into_iter().flatten();
        let unknown =
            names.filter(|(name, _)| !["op", "path", "from", "value"].contains(&name.as_str()));
        unknown.map(move |(name, _)| format!("unknown field \"[{place}].{name}\""))
    });
    let twice = twice
        .iter()
        .map(|field| format!("duplicate field {field:?}"));
    let told = twice.chain(unknown).take(TWICE_MAX);
    told.map(|what| format!("json patch {what}")).collect()
}

/// What `read` makes of a document's root.
///
/// # Errors
/// Those of `read`.
pub(crate) fn root<E>(read: impl FnOnce(Reading<'_>) -> Result<Value, E>) -> Result<Read, E> {
    let twice = RefCell::new(Vec::new());
    let document = read(Reading {
        place: Place::Root,
        twice: &twice,
    })?;
    Ok((document, twice.into_inner()))
}

/// Where in a document something stands. Put into words only where there is something to be said.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Self::Root, name) => f.write_str(name),
            Self::Member(of, name) => write!(f, "{of}.{name}"),
            Self::Item(of, index) => write!(f, "{of}[{index}]"),
        }
    }
}

/// Reads JSON or YAML and notes which fields stand twice; the last one counts, as with Go's `encoding/json`.
pub(crate) struct Reading<'a> {
    place: Place<'a>,
    twice: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let seed = Reading {
                place: Place::Item(&self.place, list.len()),
                twice: self.twice,
            };
            match items.next_element_seed(seed)? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let place = Place::Member(&self.place, &name);
            let seed = Reading {
                place,
                twice: self.twice,
            };
            let value = members.next_value_seed(seed)?;
            if map.contains_key(&name) && self.twice.borrow().len() < TWICE_MAX {
                self.twice.borrow_mut().push(place.to_string());
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
