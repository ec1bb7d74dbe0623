//! Reads the JSON objects of the control API, field by field.
//!
//! By hand instead of by derive, because every refusal must name the field that is wrong.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// Input of the control API that was not accepted; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub(super) struct BadField {
    field: String,
    problem: String,
}

impl BadField {
    /// Says what is wrong with `field`.
    pub(super) fn new(field: &str, problem: impl Into<String>) -> Self {
        Self { field: field.to_owned(), problem: problem.into() }
    }
}

/// The fields that were not yet taken.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a JSON object. No body at all is an object without fields.
    ///
    /// # Errors
    ///
    /// When the body is anything else.
    pub(super) fn read(body: &[u8]) -> Result<Self, BadField> {
        if body.is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(BadField::new("body", "must be a JSON object")),
            Err(error) => Err(BadField::new("body", format!("is not JSON: {error}"))),
        }
    }

    /// The fields that are left, as they were sent.
    pub(super) fn as_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// A field that stays.
    pub(super) fn peek(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// Takes a field out; `null` is the same as absent.
    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field).filter(|value| !value.is_null())
    }

    /// Takes a field that must be there.
    pub(super) fn required(&mut self, field: &str) -> Result<Value, BadField> {
        self.take(field).ok_or_else(|| BadField::new(field, "is required"))
    }

    /// Takes a string that is not empty.
    pub(super) fn text(&mut self, field: &str) -> Result<Option<String>, BadField> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(BadField::new(field, "must be a string that is not empty")),
        }
    }

    /// Takes a whole number.
    pub(super) fn number(
        &mut self,
        field: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, BadField> {
        let Some(value) = self.take(field) else { return Ok(None) };
        match value.as_u64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(BadField::new(
                field,
                format!("must be a whole number from {} to {}", range.start(), range.end()),
            )),
        }
    }

    /// Takes a truth value.
    pub(super) fn flag(&mut self, field: &str) -> Result<Option<bool>, BadField> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(BadField::new(field, "must be true or false")),
        }
    }

    /// Takes a share, a number from 0 to 1.
    pub(super) fn share(&mut self, field: &str) -> Result<Option<f64>, BadField> {
        let Some(value) = self.take(field) else { return Ok(None) };
        match value.as_f64().filter(|share| (0.0..=1.0).contains(share)) {
            Some(share) => Ok(Some(share)),
            None => Err(BadField::new(field, "must be a number from 0 to 1")),
        }
    }

    /// Refuses fields that nobody took: a misspelt field must not be ignored.
    pub(super) fn finish(self) -> Result<(), BadField> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((field, _)) => Err(BadField::new(&field, "is not a field of this request")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::read(body.as_bytes()).unwrap()
    }

    #[test]
    fn a_refusal_names_the_field() {
        assert_eq!(
            fields(r#"{"id": ""}"#).text("id").unwrap_err().to_string(),
            "id: must be a string that is not empty"
        );
        assert_eq!(
            fields(r#"{"times": 2.5}"#).number("times", 1..=9).unwrap_err().to_string(),
            "times: must be a whole number from 1 to 9"
        );
        assert_eq!(
            fields(r#"{"tmies": 2}"#).finish().unwrap_err().to_string(),
            "tmies: is not a field of this request"
        );
    }

    #[test]
    fn only_an_object_or_nothing_is_read() {
        assert_eq!(Fields::read(b"[]").unwrap_err().to_string(), "body: must be a JSON object");
        assert!(Fields::read(b"{").unwrap_err().to_string().starts_with("body: is not JSON"));
        assert!(Fields::read(b"").unwrap().finish().is_ok());
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let mut fields = fields(r#"{"id": null}"#);
        assert_eq!(fields.text("id"), Ok(None));
        assert_eq!(fields.finish(), Ok(()));
    }
}
