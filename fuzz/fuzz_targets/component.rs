//! Fuzzes the recognition of a component's file. The host decides by the first bytes; the engine's validator, which checks
//! every file next, must come to the same result.
#![no_main]

use libfuzzer_sys::fuzz_target;
use masque_runtime::FileFormat;
use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

fuzz_target!(|bytes: &[u8]| {
    let format = FileFormat::of(bytes);
    if Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).is_err() {
        return;
    }
    let encoding = Parser::new(0).parse_all(bytes).find_map(|payload| match payload {
        Ok(Payload::Version { encoding, .. }) => Some(encoding),
        _ => None,
    });
    match encoding {
        Some(Encoding::Component) => assert_eq!(format, FileFormat::Component),
        Some(Encoding::Module) => assert_eq!(format, FileFormat::Module),
        None => panic!("valid, but neither a component nor a module"),
    }
});
