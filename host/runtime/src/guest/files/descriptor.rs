//! The operations of `wasi:filesystem` 0.2. Whatever could make the folder grow is charged before it takes effect.

use std::io;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream,
    ErrorCode, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags,
    PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult, StreamError};

use super::metered::{Fd, MeteredFiles};
use super::writer::WritePosition;
use crate::scratch::{ENTRY, in_blocks};

impl types::Host for MeteredFiles<'_> {
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

/// Passes on operations that can't make the folder larger.
macro_rules! pass_on {
    ($(async fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(async fn $name(&mut self, $($argument: $type),*) -> $answer {
            self.wasi.$name($($argument),*).await
        })*
    };
}

impl HostDescriptor for MeteredFiles<'_> {
    pass_on! {
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
        self.check_lists()?;
        self.wasi.read_directory(fd).await
    }

    fn read_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynInputStream>> {
        self.check_open()?;
        self.wasi.read_via_stream(fd, offset)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        self.check_open()?;
        let stream = self.wasi.write_via_stream(fd, offset)?;
        self.meter(stream, WritePosition::at(offset))
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        self.check_open()?;
        let stream = self.wasi.append_via_stream(fd)?;
        self.meter(stream, WritePosition::End)
    }

    /// Writes through a stream, whose bytes hold the lease until they are written.
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
        self.charged(in_blocks(size), [fd], move |mut files, [fd]| {
            Box::pin(async move { files.set_size(fd, size).await })
        })
        .await
    }

    /// Refused: the depth of folders would not be bounded by anything.
    async fn create_directory_at(&mut self, _fd: Fd, _path: String) -> FsResult<()> {
        self.diagnostics.record_refusal("a folder within the scratch folder".to_owned());
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
        self.charged(ENTRY, [fd, new_fd], move |mut files, [fd, new_fd]| {
            Box::pin(async move { files.link_at(fd, flags, path, new_fd, new_path).await })
        })
        .await
    }

    async fn rename_at(&mut self, fd: Fd, path: String, new_fd: Fd, new_path: String) -> FsResult<()> {
        self.charged(ENTRY, [fd, new_fd], move |mut files, [fd, new_fd]| {
            Box::pin(async move { files.rename_at(fd, path, new_fd, new_path).await })
        })
        .await
    }

    async fn symlink_at(&mut self, fd: Fd, target: String, path: String) -> FsResult<()> {
        self.charged(ENTRY, [fd], move |mut files, [fd]| {
            Box::pin(async move { files.symlink_at(fd, target, path).await })
        })
        .await
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
        let opened = self
            .charged(ENTRY, [fd], move |mut files, [fd]| {
                Box::pin(async move {
                    let opened = files.open_at(fd, path_flags, path, how, flags).await?;
                    Ok(files.table.delete(opened)?)
                })
            })
            .await?;
        Ok(self.wasi.table.push(opened)?)
    }
}

impl HostDirectoryEntryStream for MeteredFiles<'_> {
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
