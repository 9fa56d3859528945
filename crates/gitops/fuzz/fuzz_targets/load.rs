#![no_main]

use libfuzzer_sys::fuzz_target;
use nico_gitops::fuzzing;

fuzz_target!(|bytes: &[u8]| fuzzing::load(bytes));
