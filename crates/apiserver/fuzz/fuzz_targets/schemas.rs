#![no_main]

use libfuzzer_sys::fuzz_target;
use nico_apiserver::fuzzing;
use serde_json::Value;

// A list of three: the schema, the object, and what it was before.
fuzz_target!(|bytes: &[u8]| {
    if let Ok((schema, object, old)) = serde_json::from_slice::<(Value, Value, Value)>(bytes) {
        fuzzing::schemas(&schema, &object, &old);
    }
});
