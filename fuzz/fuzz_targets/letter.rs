#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mixnn_fuzz::run("letter", data));
