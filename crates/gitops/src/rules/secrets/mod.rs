//! The rules for secrets. No finding repeats a value.

pub mod encryption;
pub mod external;
pub mod plain;
