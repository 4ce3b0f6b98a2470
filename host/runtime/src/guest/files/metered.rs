//! The scratch folder as a guest sees it: charges, and the limit on open files.

use std::sync::Arc;

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::p2::bindings::filesystem::types::{Descriptor, DirectoryEntryStream, ErrorCode};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsResult};

use super::writer::{MeteredWriter, WritePosition, record_quota_refusal};
use crate::diagnostics::CallDiagnostics;
use crate::scratch::{QuotaExceeded, ScratchCharge, ScratchLease};

/// Open files, folders and streams of one call at a time, in each version of WASI.
const MAX_OPEN: usize = 32;

/// Names [`MeteredFiles`] for the linker.
pub(crate) struct MeteredFilesystem;

impl HasData for MeteredFilesystem {
    type Data<'a> = MeteredFiles<'a>;
}

/// The files of WASI 0.2.
pub(crate) struct MeteredFiles<'a> {
    pub(crate) wasi: WasiFilesystemCtxView<'a>,
    /// `None` where the plugin has no scratch folder.
    pub(crate) lease: Option<&'a Arc<ScratchLease>>,
    pub(crate) diagnostics: &'a CallDiagnostics,
}

impl MeteredFiles<'_> {
    fn lease(&self) -> FsResult<Arc<ScratchLease>> {
        self.lease.cloned().ok_or_else(|| ErrorCode::NotPermitted.into())
    }

    /// Counts `bytes` before an operation. The caller completes the charge when the operation has ended.
    pub(super) fn charge(&self, bytes: u64) -> FsResult<ScratchCharge> {
        let lease = self.lease()?;
        lease.charge(bytes).map_err(|QuotaExceeded| {
            record_quota_refusal(&lease, self.diagnostics);
            ErrorCode::InsufficientSpace.into()
        })
    }

    /// Refuses a further open file. Streams count too: a stream keeps its file open after the descriptor is dropped.
    pub(super) fn check_open(&mut self) -> FsResult<()> {
        let open = self.wasi.table.iter_mut().filter(|entry| {
            entry.is::<Descriptor>()
                || entry.is::<DirectoryEntryStream>()
                || entry.is::<DynInputStream>()
                || entry.is::<DynOutputStream>()
        });
        if open.count() >= MAX_OPEN {
            self.diagnostics.record_refusal(format!("more than {MAX_OPEN} open files and streams"));
            return Err(ErrorCode::InsufficientMemory.into());
        }
        Ok(())
    }

    /// Replaces an output stream by one whose bytes are charged.
    pub(super) fn meter(
        &mut self,
        stream: Resource<DynOutputStream>,
        position: WritePosition,
    ) -> FsResult<Resource<DynOutputStream>> {
        let inner = self.wasi.table.delete(stream)?;
        let writer = MeteredWriter::new(inner, self.lease()?, self.diagnostics.clone(), position);
        let metered: DynOutputStream = Box::new(writer);
        Ok(self.wasi.table.push(metered)?)
    }
}

/// A resource table for the files of WASI 0.3, with the same limit.
pub(crate) fn limited_table() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(MAX_OPEN);
    table
}
