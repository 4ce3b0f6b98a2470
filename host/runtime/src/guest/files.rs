//! What a guest does in its scratch folder: WASI's own files, each operation counted before it takes effect.
//!
//! The threat: a disk, descriptors or memory of the host used up through files. The policy: whatever could make the folder
//! grow is charged first, in whole blocks, and refused once the granted size is reached; there are no folders within the
//! folder; a call has a few open files at a time. Paths that lead out are refused by `wasmtime-wasi`. WASI 0.3 does not
//! see the folder: its streams can't be counted beforehand. It has a table of its own, so that no descriptor of
//! 0.2 can be handed to it under another type.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::io::Errno;
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
    DirectoryEntryStream, ErrorCode, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue,
    NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsError, FsResult, OutputStream, Pollable, StreamError, StreamResult,
};

use super::Notes;
use crate::scratch::{Charge, ENTRY, Full, Lease, in_blocks};

/// Open files, folders and streams of one call at a time, in each version of WASI.
pub(super) const OPEN: usize = 32;

/// Marks the type below for the linker.
pub(crate) struct Counted;

impl HasData for Counted {
    type Data<'a> = Files<'a>;
}

/// Files of WASI 0.2.
pub(crate) struct Files<'a> {
    pub(super) wasi: WasiFilesystemCtxView<'a>,
    pub(super) lease: Option<&'a Arc<Lease>>,
    pub(super) notes: &'a Notes,
}

fn refuse(lease: &Lease, notes: &Notes) {
    notes.refused(format!("more than {} bytes of scratch (limit `scratch`)", lease.limit()));
}

impl Files<'_> {
    fn lease(&self) -> FsResult<Arc<Lease>> {
        self.lease.cloned().ok_or_else(|| ErrorCode::NotPermitted.into())
    }

    fn charge(&self, bytes: u64) -> FsResult<Charge> {
        let lease = self.lease()?;
        lease.charge(bytes).map_err(|Full| {
            refuse(&lease, self.notes);
            ErrorCode::InsufficientSpace.into()
        })
    }

    /// A stream keeps its file open when the descriptor is gone, so it counts as well.
    fn check_open(&mut self) -> FsResult<()> {
        let open = self.wasi.table.iter_mut().filter(|entry| {
            entry.is::<Descriptor>()
                || entry.is::<DirectoryEntryStream>()
                || entry.is::<DynInputStream>()
                || entry.is::<DynOutputStream>()
        });
        if open.count() >= OPEN {
            self.notes.refused(format!("more than {OPEN} open files and streams"));
            return Err(ErrorCode::InsufficientMemory.into());
        }
        Ok(())
    }

    fn count(&mut self, stream: Resource<DynOutputStream>, at: At) -> FsResult<Resource<DynOutputStream>> {
        let inner = self.wasi.table.delete(stream)?;
        let counted = Writer { inner, lease: self.lease()?, notes: self.notes.clone(), at };
        let counted: DynOutputStream = Box::new(counted);
        Ok(self.wasi.table.push(counted)?)
    }
}

/// Where a stream writes.
enum At {
    Offset {
        next: u64,
        /// The end of the blocks that it was charged for.
        charged: u64,
    },
    /// The end may be moved by others, so each piece is charged as if it began a block.
    End,
}

impl At {
    /// Blocks that `length` more bytes may take, and where they end.
    fn price(&self, length: u64) -> (u64, u64) {
        match self {
            Self::Offset { next, charged } => {
                let end = next.saturating_add(length);
                let block = in_blocks(1);
                (in_blocks(end).saturating_sub((next / block * block).max(*charged)), end)
            }
            Self::End => (in_blocks(length), length),
        }
    }

    fn advance(&mut self, end: u64) {
        if let Self::Offset { next, charged } = self {
            *next = end;
            *charged = (*charged).max(in_blocks(end));
        }
    }
}

/// An output stream into a file.
struct Writer {
    inner: DynOutputStream,
    lease: Arc<Lease>,
    notes: Notes,
    at: At,
}

/// Bytes on their way to the file: a write that outlives its store still holds the folder.
struct Held {
    bytes: Bytes,
    _lease: Arc<Lease>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Writer {
    fn admit(&mut self, bytes: Bytes) -> StreamResult<Bytes> {
        let (price, end) = self.at.price(bytes.len() as u64);
        let charge = if end > self.lease.limit() { Err(Full) } else { self.lease.charge(price) };
        match charge {
            Ok(charge) => charge.settle(true),
            Err(Full) => {
                refuse(&self.lease, &self.notes);
                return Err(StreamError::LastOperationFailed(io::Error::from(Errno::NOSPC).into()));
            }
        }
        self.at.advance(end);
        Ok(Bytes::from_owner(Held { bytes, _lease: self.lease.clone() }))
    }
}

// What is not here is made of these by the trait.
#[async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let bytes = self.admit(bytes)?;
        self.inner.write(bytes)
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        let bytes = self.admit(bytes)?;
        self.inner.blocking_write_and_flush(bytes).await
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

impl types::Host for Files<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        self.wasi.convert_error_code(error)
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.wasi.filesystem_error_code(error)
    }
}

type Fd = Resource<Descriptor>;

/// Operations after which the folder is no larger.
macro_rules! as_it_is {
    ($(async fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(async fn $name(&mut self, $($argument: $type),*) -> $answer {
            self.wasi.$name($($argument),*).await
        })*
    };
}

impl HostDescriptor for Files<'_> {
    as_it_is! {
        async fn advise(fd: Fd, offset: u64, length: u64, advice: Advice) -> FsResult<()>;
        async fn sync_data(fd: Fd) -> FsResult<()>;
        async fn sync(fd: Fd) -> FsResult<()>;
        async fn get_flags(fd: Fd) -> FsResult<DescriptorFlags>;
        async fn get_type(fd: Fd) -> FsResult<DescriptorType>;
        async fn set_times(fd: Fd, accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()>;
        async fn set_times_at(
            fd: Fd,
            flags: PathFlags,
            path: String,
            accessed: NewTimestamp,
            modified: NewTimestamp
        ) -> FsResult<()>;
        async fn read(fd: Fd, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)>;
        async fn stat(fd: Fd) -> FsResult<DescriptorStat>;
        async fn stat_at(fd: Fd, flags: PathFlags, path: String) -> FsResult<DescriptorStat>;
        async fn readlink_at(fd: Fd, path: String) -> FsResult<String>;
        async fn remove_directory_at(fd: Fd, path: String) -> FsResult<()>;
        async fn unlink_file_at(fd: Fd, path: String) -> FsResult<()>;
        async fn is_same_object(one: Fd, other: Fd) -> wasmtime::Result<bool>;
        async fn metadata_hash(fd: Fd) -> FsResult<MetadataHashValue>;
        async fn metadata_hash_at(fd: Fd, flags: PathFlags, path: String) -> FsResult<MetadataHashValue>;
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        HostDescriptor::drop(&mut self.wasi, fd)
    }

    async fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<DirectoryEntryStream>> {
        self.check_open()?;
        self.wasi.read_directory(fd).await
    }

    fn read_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynInputStream>> {
        self.check_open()?;
        self.wasi.read_via_stream(fd, offset)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        self.check_open()?;
        let stream = self.wasi.write_via_stream(fd, offset)?;
        self.count(stream, At::Offset { next: offset, charged: 0 })
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        self.check_open()?;
        let stream = self.wasi.append_via_stream(fd)?;
        self.count(stream, At::End)
    }

    /// Through a stream, whose bytes hold the folder until they are written.
    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        let length = bytes.len() as u64;
        let stream = self.write_via_stream(fd, offset)?;
        let mut writer = self.wasi.table.delete(stream)?;
        match writer.blocking_write_and_flush(bytes.into()).await {
            Ok(()) => Ok(length),
            Err(StreamError::Closed) => Err(ErrorCode::Io.into()),
            Err(StreamError::LastOperationFailed(error)) => {
                Err(error.downcast::<io::Error>().map_or_else(FsError::trap, FsError::from))
            }
            Err(StreamError::Trap(error)) => Err(FsError::trap(error)),
        }
    }

    async fn set_size(&mut self, fd: Fd, size: u64) -> FsResult<()> {
        let charge = self.charge(in_blocks(size))?;
        let done = self.wasi.set_size(fd, size).await;
        charge.settle(done.is_ok());
        done
    }

    /// Their depth would be bounded by nothing.
    async fn create_directory_at(&mut self, _fd: Fd, _path: String) -> FsResult<()> {
        self.notes.refused("a folder within the scratch folder".to_owned());
        Err(ErrorCode::NotPermitted.into())
    }

    async fn link_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        let charge = self.charge(ENTRY)?;
        let done = self.wasi.link_at(fd, flags, path, new_fd, new_path).await;
        charge.settle(done.is_ok());
        done
    }

    async fn rename_at(&mut self, fd: Fd, path: String, new_fd: Fd, new_path: String) -> FsResult<()> {
        let charge = self.charge(ENTRY)?;
        let done = self.wasi.rename_at(fd, path, new_fd, new_path).await;
        charge.settle(done.is_ok());
        done
    }

    async fn symlink_at(&mut self, fd: Fd, target: String, path: String) -> FsResult<()> {
        let charge = self.charge(ENTRY)?;
        let done = self.wasi.symlink_at(fd, target, path).await;
        charge.settle(done.is_ok());
        done
    }

    async fn open_at(
        &mut self,
        fd: Fd,
        path_flags: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Fd> {
        self.check_open()?;
        if !how.contains(OpenFlags::CREATE) {
            return self.wasi.open_at(fd, path_flags, path, how, flags).await;
        }
        if !how.contains(OpenFlags::EXCLUSIVE) {
            let existing = Resource::new_borrow(fd.rep());
            let how = how & !OpenFlags::CREATE;
            match self.wasi.open_at(existing, path_flags, path.clone(), how, flags).await {
                Err(error) if matches!(error.downcast_ref(), Some(ErrorCode::NoEntry)) => {}
                opened => return opened,
            }
        }
        let charge = self.charge(ENTRY)?;
        let opened = self.wasi.open_at(fd, path_flags, path, how, flags).await;
        charge.settle(opened.is_ok());
        opened
    }
}

impl HostDirectoryEntryStream for Files<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.wasi.read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.wasi, stream)
    }
}

/// The table of the files of WASI 0.3.
pub(super) fn small_table() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(OPEN);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_charged_once_for_each_block_that_it_touches() {
        let mut at = At::Offset { next: 4090, charged: 0 };
        let mut paid = Vec::new();
        for length in [6, 1, 4095, 1, 10_000] {
            let (price, end) = at.price(length);
            at.advance(end);
            paid.push(price / 4096);
        }
        assert_eq!(paid, [1, 1, 0, 1, 2]);
        assert_eq!(At::End.price(1).0, 4096);
    }
}
