#![no_main]

use libfuzzer_sys::fuzz_target;
use nico_apiserver::fuzzing;

fuzz_target!(|text: &str| fuzzing::paths(text));
