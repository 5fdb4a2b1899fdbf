//! See `tenterhook_fuzz::token`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenterhook_fuzz::token::check(data));
