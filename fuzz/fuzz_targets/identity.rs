//! See `tenterhook_fuzz::identity`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenterhook_fuzz::identity::check(data));
