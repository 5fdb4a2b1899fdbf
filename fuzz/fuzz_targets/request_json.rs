//! See `tenterhook_fuzz::request_json`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenterhook_fuzz::request_json::check(data));
