#![no_main]

use libfuzzer_sys::fuzz_target;
use nico_apiserver::fuzzing;
use serde_json::Value;

// A list of three: managed fields, the object that has them, and what is applied.
fuzz_target!(|bytes: &[u8]| {
    if let Ok((entries, live, new)) = serde_json::from_slice::<(Value, Value, Value)>(bytes) {
        fuzzing::managed_fields(&entries, &live, &new);
    }
});
