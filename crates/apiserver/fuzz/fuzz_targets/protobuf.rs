#![no_main]

use libfuzzer_sys::fuzz_target;
use nico_apiserver::fuzzing;

fuzz_target!(|bytes: &[u8]| fuzzing::protobuf(bytes));
