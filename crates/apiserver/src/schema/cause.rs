//! One thing that is wrong with one field, worded as Kubernetes does (`field.Error`).

use serde_json::Value;

/// One thing that is wrong with one field: an entry of `Status.details.causes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The path of the field, for example `spec.ports[0].name`; `<nil>` where Kubernetes
    /// cannot name one.
    pub field: String,
    /// The kind of mistake.
    pub reason: CauseReason,
    /// The words, beginning with those of the kind: `Required value: must be set`.
    pub message: String,
}

/// The kind of mistake (`CauseType` of the Kubernetes API).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CauseReason {
    /// The value is not allowed.
    FieldValueInvalid,
    /// A value is missing.
    FieldValueRequired,
    /// The value is none of those that are listed.
    FieldValueNotSupported,
    /// The value is there already and must be unique.
    FieldValueDuplicate,
    /// The value has the wrong type or format.
    FieldValueTypeInvalid,
    /// The text is too long.
    FieldValueTooLong,
    /// The list or map has too many entries.
    FieldValueTooMany,
    /// The field may not be set.
    FieldValueForbidden,
}

impl CauseReason {
    /// The reason as it stands in a `Status`.
    pub fn as_str(self) -> &'static str {
        match self {
            CauseReason::FieldValueInvalid => "FieldValueInvalid",
            CauseReason::FieldValueRequired => "FieldValueRequired",
            CauseReason::FieldValueNotSupported => "FieldValueNotSupported",
            CauseReason::FieldValueDuplicate => "FieldValueDuplicate",
            CauseReason::FieldValueTypeInvalid => "FieldValueTypeInvalid",
            CauseReason::FieldValueTooLong => "FieldValueTooLong",
            CauseReason::FieldValueTooMany => "FieldValueTooMany",
            CauseReason::FieldValueForbidden => "FieldValueForbidden",
        }
    }
}

impl Cause {
    /// `Invalid value: <value>: <detail>`
    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl AsRef<str>) -> Self {
        let message = format!("Invalid value: {}: {}", show(value), detail.as_ref());
        Self {
            field: field.into(),
            reason: CauseReason::FieldValueInvalid,
            message,
        }
    }

    /// `Invalid value: <detail>`, for values that are not worth showing.
    pub fn invalid_object(field: impl Into<String>, detail: impl AsRef<str>) -> Self {
        let message = format!("Invalid value: {}", detail.as_ref());
        Self {
            field: field.into(),
            reason: CauseReason::FieldValueInvalid,
            message,
        }
    }

    /// As [`Cause::invalid`], for values of the wrong type or format.
    pub fn type_invalid(field: impl Into<String>, value: &str, detail: impl AsRef<str>) -> Self {
        Self {
            reason: CauseReason::FieldValueTypeInvalid,
            ..Self::invalid(field, &Value::from(value), detail)
        }
    }

    /// `Required value: <detail>`; the detail may be empty.
    pub fn required(field: impl Into<String>, detail: impl AsRef<str>) -> Self {
        let message = match detail.as_ref() {
            "" => "Required value".to_owned(),
            detail => format!("Required value: {detail}"),
        };
        Self {
            field: field.into(),
            reason: CauseReason::FieldValueRequired,
            message,
        }
    }

    /// `Forbidden: <detail>`
    pub fn forbidden(field: impl Into<String>, detail: impl AsRef<str>) -> Self {
        let message = format!("Forbidden: {}", detail.as_ref());
        Self {
            field: field.into(),
            reason: CauseReason::FieldValueForbidden,
            message,
        }
    }

    /// `Duplicate value: <value>`
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        let message = format!("Duplicate value: {}", show(value));
        Self {
            field: field.into(),
            reason: CauseReason::FieldValueDuplicate,
            message,
        }
    }

    /// `Unsupported value: <value>: supported values: "a", "b"`
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[String]) -> Self {
        let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message = format!(
            "Unsupported value: {}: supported values: {}",
            show(value),
            supported.join(", ")
        );
        Self {
            field: field.into(),
            reason: CauseReason::FieldValueNotSupported,
            message,
        }
    }

    /// `Too long: may not be more than <bytes> bytes`
    pub fn too_long(field: impl Into<String>, most: u64) -> Self {
        let message = format!("Too long: may not be more than {most} bytes");
        Self {
            field: field.into(),
            reason: CauseReason::FieldValueTooLong,
            message,
        }
    }

    /// `Too many: <got>: must have at most <most> items`
    pub fn too_many(field: impl Into<String>, got: usize, most: u64) -> Self {
        let items = if most == 1 { "item" } else { "items" };
        let message = format!("Too many: {got}: must have at most {most} {items}");
        Self {
            field: field.into(),
            reason: CauseReason::FieldValueTooMany,
            message,
        }
    }
}

/// A value as Go prints it in an error: JSON, whole numbers without a fraction.
fn show(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() => number.to_string(),
        _ => value.to_string(),
    }
}
