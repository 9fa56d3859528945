#![no_main]

use libfuzzer_sys::fuzz_target;
use nico_apiserver::fuzzing;
use serde_json::Value;

// A list of two: the document and the patch.
fuzz_target!(|bytes: &[u8]| {
    if let Ok((document, patch)) = serde_json::from_slice::<(Value, Value)>(bytes) {
        fuzzing::patches(&document, &patch);
    }
});
