//! What a path finds in a document: client-go, `util/jsonpath/jsonpath.go`, with keys that are not there passed over, as kubectl has it.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Comparison, Filter, Operand, Step};

/// What `path` finds, from `document` on.
///
/// # Errors
/// An index is outside of its list, or the path takes for a list what is none.
pub(super) fn find<'a>(path: &'a [Step], document: &'a Value) -> Result<Vec<&'a Value>, String> {
    let mut found = vec![document];
    for step in path {
        found = go(step, found)?;
    }
    Ok(found)
}

fn go<'a>(step: &'a Step, from: Vec<&'a Value>) -> Result<Vec<&'a Value>, String> {
    let mut found = Vec::new();
    match step {
        Step::Field(name) => found.extend(from.into_iter().filter_map(|value| value.get(name))),
        Step::Each => found.extend(from.into_iter().flat_map(children)),
        Step::Descend => {
            for value in from {
                descend(value, &mut found);
            }
        }
        Step::Union(paths) => {
            for path in paths {
                for value in &from {
                    found.extend(find(path, value)?);
                }
            }
        }
        Step::Index(index) => {
            for list in lists(from)? {
                let place = counted(*index, list.len());
                let one = usize::try_from(place)
                    .ok()
                    .and_then(|place| list.get(place));
                found.push(one.ok_or_else(|| {
                    format!("there is no entry [{index}] in a list of {}", list.len())
                })?);
            }
        }
        Step::Slice {
            from: first,
            to,
            step,
        } => {
            for list in lists(from)? {
                found.extend(slice(list, *first, *to, *step)?);
            }
        }
        Step::Filter(filter) => {
            for list in lists(from)? {
                for one in list {
                    if is_meant(filter, one)? {
                        found.push(one);
                    }
                }
            }
        }
    }
    Ok(found)
}

/// The lists among values that must be lists; null is none at all.
fn lists(values: Vec<&Value>) -> Result<Vec<&Vec<Value>>, String> {
    let values = values.into_iter().filter(|value| !value.is_null());
    values
        .map(|value| {
            value
                .as_array()
                .ok_or_else(|| format!("{} is no list", shown(value)))
        })
        .collect()
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(map) => map.values().collect(),
        Value::Array(list) => list.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// A value that holds others, and all such below it. A text counts as holding its characters, as with kubectl.
fn descend<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    let children = children(value);
    if !children.is_empty() || value.as_str().is_some_and(|text| !text.is_empty()) {
        found.push(value);
    }
    for child in children {
        descend(child, found);
    }
}

/// An index as counted from the front.
fn counted(index: i64, length: usize) -> i64 {
    if index < 0 {
        index.saturating_add(i64::try_from(length).unwrap_or(i64::MAX))
    } else {
        index
    }
}

fn slice(
    list: &[Value],
    from: Option<i64>,
    to: Option<i64>,
    step: Option<i64>,
) -> Result<Vec<&Value>, String> {
    let length = list.len();
    let first = counted(from.unwrap_or(0), length);
    let end = to.map_or_else(
        || i64::try_from(length).unwrap_or(i64::MAX),
        |to| counted(to, length),
    );
    if first == end {
        return Ok(Vec::new());
    }
    let outside = || {
        let said = |bound: Option<i64>| bound.map(|bound| bound.to_string()).unwrap_or_default();
        format!(
            "there is no [{}:{}] in a list of {length}",
            said(from),
            said(to)
        )
    };
    let place = |bound: i64| usize::try_from(bound).map_err(|_| outside());
    let (first, end) = (place(first)?, place(end)?);
    let step = step.map_or(Ok(1), |step| match usize::try_from(step) {
        Ok(step) if step > 0 => Ok(step),
        Ok(_) | Err(_) => Err(format!("a step is at least 1, not {step}")),
    })?;
    let meant = list.get(first..end).ok_or_else(outside)?;
    Ok(meant.iter().step_by(step).collect())
}

fn is_meant(filter: &Filter, one: &Value) -> Result<bool, String> {
    let Some((comparison, right)) = &filter.right else {
        // What cannot be had is not there.
        return Ok(values(&filter.left, one).is_ok_and(|found| !found.is_empty()));
    };
    match (side(&filter.left, one)?, side(right, one)?) {
        (Some(left), Some(right)) => compare(left, *comparison, right),
        (_, _) => Ok(false),
    }
}

/// The one value of a side of a comparison; none if there is none.
fn side<'a>(operand: &'a Operand, one: &'a Value) -> Result<Option<&'a Value>, String> {
    match values(operand, one)?.as_slice() {
        [] | [Value::Null] => Ok(None),
        [one] => Ok(Some(*one)),
        several => Err(format!(
            "a filter compares one value at a time, and there are {}",
            several.len()
        )),
    }
}

fn values<'a>(operand: &'a Operand, one: &'a Value) -> Result<Vec<&'a Value>, String> {
    match operand {
        Operand::Said(value) => Ok(vec![value]),
        Operand::Found(path) => find(path, one),
    }
}

fn compare(left: &Value, comparison: Comparison, right: &Value) -> Result<bool, String> {
    let order = match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(one), Value::Number(other)) => match (one.as_i64(), other.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            (_, _) => one.as_f64().partial_cmp(&other.as_f64()),
        },
        (Value::Bool(left), Value::Bool(right))
            if matches!(comparison, Comparison::Equal | Comparison::Unequal) =>
        {
            Some(left.cmp(right))
        }
        (_, _) => None,
    };
    let order = order.ok_or_else(|| {
        format!(
            "a filter cannot compare {} with {}",
            shown(left),
            shown(right)
        )
    })?;
    Ok(match comparison {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::Unequal => order != Ordering::Equal,
        Comparison::Less => order == Ordering::Less,
        Comparison::AtMost => order != Ordering::Greater,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::AtLeast => order != Ordering::Less,
    })
}

/// A value in few words.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("the value {value}"),
        Value::String(text) => format!("the text `{text}`"),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(map) => {
            let keys: Vec<&str> = map.keys().map(String::as_str).take(3).collect();
            let more = if map.len() > keys.len() { ", …" } else { "" };
            format!("an object of {}{more}", keys.join(", "))
        }
    }
}
