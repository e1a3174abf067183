//! JSON and YAML of which is known what stands twice in it: which of both was meant nobody can tell.
//!
//! Called by [`crate::rest`] and [`crate::wire`] for whatever a client wrote.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How many fields that stand twice are told.
const TWICE_MAX: usize = 10;

/// A document, and a sentence for each field that stands twice in it; the last one counts.
pub(crate) type Read = (Value, Vec<String>);

/// Reads JSON.
///
/// # Errors
/// It is no JSON.
pub(crate) fn read(bytes: &[u8]) -> Result<Read, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Reading::root(|seed| {
        let document = seed.deserialize(&mut reader)?;
        reader.end()?;
        Ok(document)
    })
}

/// Why a document with such fields is refused, in kube-apiserver's words (apimachinery, `pkg/runtime/error.go`, `strictDecodingError`).
pub(crate) fn refusal(twice: &[String]) -> String {
    format!("strict decoding error: {}", twice.join(", "))
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

/// Reads a document and notes which fields stand twice; the last one counts, as with Go's `encoding/json`.
pub(crate) struct Reading<'a> {
    place: Place<'a>,
    twice: &'a RefCell<Vec<String>>,
}

impl Reading<'_> {
    /// What `read` makes of a document's root.
    pub(crate) fn root<E>(read: impl FnOnce(Reading<'_>) -> Result<Value, E>) -> Result<Read, E> {
        let twice = RefCell::new(Vec::new());
        let document = read(Reading {
            place: Place::Root,
            twice: &twice,
        })?;
        Ok((document, twice.into_inner()))
    }
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
                let field = place.to_string();
                self.twice
                    .borrow_mut()
                    .push(format!("duplicate field {field:?}"));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
