//! Reading a request field by field, so that an error names the field, as OpenAI's does.

use crate::http::body::RequestBody;
use crate::http::error::ApiError;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// The fields that are not read yet.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(in crate::http) struct Fields(Map<String, Value>);

impl RequestBody for Fields {}

fn wrong_type(param: &str, wanted: &str) -> ApiError {
    ApiError::parameter(param, format!("'{param}' must be {wanted}")).with_code("invalid_type")
}

fn out_of_range(param: &str, range: &str) -> ApiError {
    ApiError::parameter(param, format!("'{param}' must lie between {range}")).with_code("invalid_value")
}

impl Fields {
    /// The fields of an object within a request.
    pub(super) fn of(param: &str, value: Value) -> Result<Self, ApiError> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(wrong_type(param, "an object")),
        }
    }

    /// Puts a field back that was looked at.
    pub(super) fn put(&mut self, param: &str, value: Value) {
        self.0.insert(param.to_owned(), value);
    }

    /// A field of any type; `null` is as good as none.
    pub(super) fn take(&mut self, param: &str) -> Option<Value> {
        self.0.shift_remove(param).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub(super) fn need(&mut self, param: &str) -> Result<Value, ApiError> {
        self.take(param).ok_or_else(|| {
            ApiError::parameter(param, format!("'{param}' is missing")).with_code("missing_required_parameter")
        })
    }

    pub(super) fn number(&mut self, param: &str, range: RangeInclusive<f64>) -> Result<Option<f32>, ApiError> {
        let Some(value) = self.take(param) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| wrong_type(param, "a number"))?;
        if !range.contains(&number) {
            return Err(out_of_range(param, &format!("{} and {}", range.start(), range.end())));
        }
        Ok(Some(number as f32))
    }

    pub(super) fn integer(&mut self, param: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.take(param) else { return Ok(None) };
        let Value::Number(number) = &value else {
            return Err(wrong_type(param, "an integer"));
        };
        // 2^63 and above is an integer, but none that lies in any range here.
        match number.as_i64() {
            Some(integer) if range.contains(&integer) => Ok(Some(integer)),
            None if !number.is_u64() => Err(wrong_type(param, "an integer")),
            _ => Err(out_of_range(param, &format!("{} and {}", range.start(), range.end()))),
        }
    }

    pub(super) fn boolean(&mut self, param: &str) -> Result<bool, ApiError> {
        self.boolean_or(param, false)
    }

    /// A boolean, or `default` where it is left out.
    pub(super) fn boolean_or(&mut self, param: &str, default: bool) -> Result<bool, ApiError> {
        match self.take(param) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(value),
            Some(_) => Err(wrong_type(param, "true or false")),
        }
    }

    pub(super) fn string(&mut self, param: &str) -> Result<Option<String>, ApiError> {
        match self.take(param) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(_) => Err(wrong_type(param, "a string")),
        }
    }

    /// One string or several.
    pub(super) fn strings(&mut self, param: &str) -> Result<Vec<String>, ApiError> {
        let wrong = || wrong_type(param, "a string or an array of strings");
        match self.take(param) {
            None => Ok(Vec::new()),
            Some(Value::String(one)) => Ok(vec![one]),
            Some(Value::Array(several)) => several
                .into_iter()
                .map(|value| {
                    if let Value::String(text) = value {
                        Ok(text)
                    } else {
                        Err(wrong())
                    }
                })
                .collect(),
            Some(_) => Err(wrong()),
        }
    }

    pub(super) fn array(&mut self, param: &str) -> Result<Vec<Value>, ApiError> {
        match self.need(param)? {
            Value::Array(values) => Ok(values),
            _ => Err(wrong_type(param, "an array")),
        }
    }

    /// Drops fields that mean something to OpenAI's service and nothing here.
    pub(super) fn ignore(&mut self, params: &[&str]) {
        for param in params {
            self.0.shift_remove(*param);
        }
    }

    /// Refuses what was not read.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(unknown) => {
                let message = format!("unknown parameter: '{unknown}'");
                Err(ApiError::parameter(unknown.clone(), message).with_code("unknown_parameter"))
            }
        }
    }
}
