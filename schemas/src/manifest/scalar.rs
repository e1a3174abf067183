//! Scalars: what a plain word means, by the core schema of YAML 1.2 (10.3), which is also what JSON means.
//!
//! So `no`, `on` and `12:30` are text. Numbers with leading zeros are refused: YAML 1.1 read them as octal, 1.2 reads them
//! as decimal, and whoever wrote one was sure of one of the two.

use serde_json::Number;

#[cfg(test)]
mod tests;

/// The meaning of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    /// Empty, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Anything else.
    Text,
    /// Digits with leading zeros.
    Ambiguous,
}

/// What a plain (unquoted, untagged) scalar means.
pub(super) fn plain(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned.starts_with(|c: char| c.is_ascii_digit()) || unsigned.starts_with('.') {
        number(text, unsigned)
    } else {
        Scalar::Text
    }
}

fn number(text: &str, unsigned: &str) -> Scalar {
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            return Scalar::Ambiguous;
        }
        let whole = text
            .parse::<i64>()
            .map(Number::from)
            .or_else(|_| text.parse::<u64>().map(Number::from));
        return whole.map_or_else(|_| float(text), Scalar::Number);
    }
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let fits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            return match u64::from_str_radix(digits, radix) {
                Ok(value) if fits => Scalar::Number(value.into()),
                Ok(_) | Err(_) => Scalar::Text,
            };
        }
    }
    let digits = unsigned.chars().any(|c| c.is_ascii_digit());
    let only = unsigned
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if digits && only {
        float(text)
    } else {
        Scalar::Text
    }
}

/// A number with a fraction or exponent. What JSON has no number for stays text.
fn float(text: &str) -> Scalar {
    text.parse::<f64>()
        .ok()
        .and_then(Number::from_f64)
        .map_or(Scalar::Text, Scalar::Number)
}
