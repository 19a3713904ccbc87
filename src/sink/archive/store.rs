//! The local file system as an object store whose writes last.
//!
//! `LocalFileSystem` of object_store 0.13 never syncs. A log entry that is visible but not on the disk is worse than
//! none: after a power failure it may be an empty file, and the table cannot be read. So a new entry is written beside
//! the log, synced, and only then linked under its name (which fails when the name is taken: that is the commit).
//! Checkpoints go the same way, renamed, for a torn one stops every reader.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, local::LocalFileSystem, path::Path,
};

use super::disk::{self, Out};

/// The whole file system; tables are folders in it.
pub(super) fn local() -> Arc<dyn ObjectStore> {
    Arc::new(Durable(LocalFileSystem::new()))
}

#[derive(Debug)]
struct Durable(LocalFileSystem);

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("local files")
    }
}

#[async_trait]
impl ObjectStore for Durable {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let path = self.0.path_to_filesystem(location)?;
        let publish = match opts.mode {
            PutMode::Create => |partial: &FilePath, path: &FilePath| fs::hard_link(partial, path),
            PutMode::Overwrite => |partial: &FilePath, path: &FilePath| fs::rename(partial, path),
            PutMode::Update(_) => return self.0.put_opts(location, payload, opts).await, // which it refuses
        };
        blocking(path, move |path| put(path, &payload, publish)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let path = self.0.path_to_filesystem(location)?;
        Ok(Box::new(Upload { inner: self.0.put_multipart_opts(location, opts).await?, path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.inner.complete().await?;
        blocking(self.path.clone(), sync).await?;
        Ok(done)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

async fn blocking(path: PathBuf, work: impl FnOnce(&FilePath) -> io::Result<()> + Send + 'static) -> Result<()> {
    let name = path.display().to_string();
    let done = tokio::task::spawn_blocking(move || work(&path)).await;
    done.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path: name, source: source.into() },
        _ => Error::Generic { store: "local files", source: format!("{name}: {source}").into() },
    })
}

/// Writes a file beside its place and publishes it: it is on the disk before anyone can see it.
fn put(
    path: &FilePath,
    payload: &PutPayload,
    publish: impl Fn(&FilePath, &FilePath) -> io::Result<()>,
) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    // The name that delta-rs gives such files, so that its log cleanup takes away what a crash left.
    let partial = folder.join(format!("_commit_{}.json.tmp", uuid::Uuid::new_v4()));
    let written = (|| {
        let mut file = Out::create(&partial)?;
        for bytes in payload.iter() {
            file.write_all(bytes)?;
        }
        file.sync()?;
        disk::may(path)?;
        publish(&partial, path)
    })();
    let _ = fs::remove_file(&partial);
    written?;
    disk::may(folder)?;
    File::open(folder)?.sync_all()
}

fn sync(path: &FilePath) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    File::open(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?.sync_all()
}
