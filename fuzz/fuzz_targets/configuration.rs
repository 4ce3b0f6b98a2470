//! Fuzzes the reading of `masque.toml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| masque_fuzz::configuration(text));
