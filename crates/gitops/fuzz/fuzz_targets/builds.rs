#![no_main]

use libfuzzer_sys::fuzz_target;
use nico_gitops::fuzzing;

fuzz_target!(|text: &str| fuzzing::build(text));
