//! The scratch folder as a guest sees it: charges, and the limit on open files.

use std::sync::Arc;

use futures::future::BoxFuture;
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::p2::bindings::filesystem::types::{Descriptor, DirectoryEntryStream, ErrorCode};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use super::writer::{MeteredWriter, WritePosition, record_quota_refusal};
use crate::diagnostics::CallDiagnostics;
use crate::scratch::{QuotaExceeded, ScratchCharge, ScratchLease};

/// Open files, folders and streams of one call at a time, in each version of WASI.
const MAX_OPEN: usize = 32;
/// Lists of the folder's files of one call at a time.
const MAX_LISTS: usize = 2;

/// Names [`MeteredFiles`] for the linker.
pub(crate) struct MeteredFilesystem;

impl HasData for MeteredFilesystem {
    type Data<'a> = MeteredFiles<'a>;
}

/// A file or folder that a guest has open.
pub(super) type Fd = Resource<Descriptor>;

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

    /// Counts `bytes` and runs an operation on `files`, which it gets as resources of a table of its own.
    ///
    /// It runs as a task, because nobody can say whether an operation takes effect that was dropped with its call. The task ends
    /// in any case and then completes the charge, so that a plugin whose calls are cancelled keeps its space.
    pub(super) async fn charged<T: Send + 'static, const N: usize>(
        &mut self,
        bytes: u64,
        files: [Fd; N],
        operation: impl for<'a> FnOnce(WasiFilesystemCtxView<'a>, [Fd; N]) -> BoxFuture<'a, FsResult<T>>
        + Send
        + 'static,
    ) -> FsResult<T> {
        let mut table = ResourceTable::new();
        let mut own = Vec::with_capacity(N);
        for file in &files {
            own.push(table.push(self.wasi.table.get(file)?.clone())?);
        }
        let own = <[Fd; N]>::try_from(own).map_err(|_other_length| ErrorCode::BadDescriptor)?;
        let charge = self.charge(bytes)?;
        let mut ctx = self.wasi.ctx.clone();
        let task = tokio::spawn(async move {
            let view = WasiFilesystemCtxView { ctx: &mut ctx, table: &mut table };
            let done = operation(view, own).await;
            charge.complete(done.is_ok());
            done
        });
        task.await.unwrap_or_else(|error| Err(FsError::trap(error)))
    }

    /// Counts `bytes` before an operation.
    fn charge(&self, bytes: u64) -> FsResult<ScratchCharge> {
        let lease = self.lease()?;
        lease.charge(bytes).map_err(|QuotaExceeded| {
            record_quota_refusal(&lease, self.diagnostics);
            ErrorCode::InsufficientSpace.into()
        })
    }

    /// Refuses a further list of the folder's files. Each holds all of the names until it is dropped.
    pub(super) fn check_lists(&mut self) -> FsResult<()> {
        let lists = self.wasi.table.iter_mut().filter(|entry| entry.is::<DirectoryEntryStream>());
        if lists.count() >= MAX_LISTS {
            self.diagnostics.record_refusal(format!("more than {MAX_LISTS} lists of files at once"));
            return Err(ErrorCode::InsufficientMemory.into());
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::poll;
    use wasmtime_wasi::FsPerms;
    use wasmtime_wasi::filesystem::{File, OpenMode, WasiFilesystemCtx};
    use wasmtime_wasi::p2::bindings::filesystem::types::HostDescriptor;

    use super::*;
    use crate::scratch::ScratchFolders;

    const KIB: u64 = 1 << 10;

    /// The only blocking thread is busy while the operations begin, so none of them ends before it is dropped.
    #[test]
    fn the_charge_of_an_operation_that_is_dropped_midway_is_given_back_once_the_operation_has_ended() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let root = tempfile::tempdir().unwrap();
            let folder = ScratchFolders::new(Some(root.path())).folder("a", "sha256:b").unwrap();
            let lease = folder.open(128 * KIB).await.unwrap();
            let file = std::fs::File::create(lease.path().join("file")).unwrap();

            let (release, held) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || held.recv());
            let (mut ctx, mut table) = (WasiFilesystemCtx::default(), ResourceTable::new());
            let fd = table
                .push(Descriptor::File(File::new(file, FsPerms::ReadWrite, OpenMode::all(), false)))
                .unwrap();
            let diagnostics = CallDiagnostics::default();
            let mut files = MeteredFiles {
                wasi: WasiFilesystemCtxView { ctx: &mut ctx, table: &mut table },
                lease: Some(&lease),
                diagnostics: &diagnostics,
            };
            for _ in 0..4 {
                let mut operation = Box::pin(files.set_size(Resource::new_borrow(fd.rep()), 16 * KIB));
                assert!(poll!(&mut operation).is_pending());
            }
            assert!(lease.charge(80 * KIB).is_err(), "the operations may still take effect");
            drop(lease);
            release.send(()).unwrap();
            busy.await.unwrap().unwrap();

            // The file has 16 KiB and its name 8.
            let given_back = async {
                while folder.open(128 * KIB).await.unwrap().charge(104 * KIB).is_err() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), given_back).await.expect("the charges are lost");
        });
    }
}
