//! A component's file before anything is compiled: the host's look at its first bytes, then the engine's validator,
//! which every file meets next. They must agree on what the file is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use masque_runtime::Form;
use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

fuzz_target!(|bytes: &[u8]| {
    let form = Form::of(bytes);
    if Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).is_err() {
        return;
    }
    let encoding = Parser::new(0).parse_all(bytes).find_map(|payload| match payload {
        Ok(Payload::Version { encoding, .. }) => Some(encoding),
        _ => None,
    });
    match encoding {
        Some(Encoding::Component) => assert_eq!(form, Form::Component),
        Some(Encoding::Module) => assert_eq!(form, Form::Module),
        None => panic!("valid, and neither a component nor a module"),
    }
});
