//! `masque.toml`, from its text to the host's configuration or to a list of mistakes.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| masque_fuzz::configuration(text));
