//! See `tenterhook_fuzz::subscription_url`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenterhook_fuzz::subscription_url::check(data));
