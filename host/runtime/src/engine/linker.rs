//! Everything that a component may import. What an import then does is decided by the grants of the call.

use wasmtime::Engine;
use wasmtime::component::Linker;
use wasmtime_wasi::filesystem::WasiFilesystem;
use wasmtime_wasi::p3::bindings::filesystem as p3;

use crate::contract::versions;
use crate::guest::{Guest, MeteredFilesystem};

/// The linker that all components are linked with.
pub(crate) fn build_linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    // Files are the only part of WASI that is replaced.
    linker.allow_shadowing(true);
    wasmtime_wasi::p2::bindings::filesystem::types::add_to_linker::<Guest, MeteredFilesystem>(
        &mut linker,
        Guest::metered_filesystem,
    )?;
    p3::types::add_to_linker::<Guest, WasiFilesystem>(&mut linker, Guest::read_only_filesystem)?;
    p3::preopens::add_to_linker::<Guest, WasiFilesystem>(&mut linker, Guest::read_only_filesystem)?;
    linker.allow_shadowing(false);
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    versions::add_to_linker(&mut linker)?;
    Ok(linker)
}
