//! The local file system as an object store whose writes last.
//!
//! `LocalFileSystem` of object_store 0.13 never syncs. A log entry that is visible but not on the disk is worse than
//! none: after a power failure it may be an empty file, and the table cannot be read. So a new entry is written beside
//! the log, synced, and only then linked under its name (which fails when the name is taken: that is the commit).
//! Checkpoints go the same way, renamed, for a torn one stops every reader; large ones come in parts.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
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

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let path = self.0.path_to_filesystem(location)?;
        Ok(Box::new(blocking(path, Upload::begin).await?))
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

/// A file that comes in parts, which may be under way at the same time.
#[derive(Debug)]
struct Upload {
    path: PathBuf,
    partial: PathBuf,
    file: Arc<File>,
    /// Where the next part goes.
    end: u64,
}

impl Upload {
    fn begin(path: &FilePath) -> io::Result<Upload> {
        let partial = beside(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        disk::may(&partial)?;
        let file = Arc::new(File::create_new(&partial)?);
        Ok(Upload { path: path.to_path_buf(), partial, file, end: 0 })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.partial); // not there any more when it is complete
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let mut at = self.end;
        self.end += data.content_length() as u64;
        let file = self.file.clone();
        Box::pin(blocking(self.partial.clone(), move |partial| {
            disk::may(partial)?;
            for bytes in data.iter() {
                file.write_all_at(bytes, at)?;
                at += bytes.len() as u64;
            }
            Ok(())
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (partial, file) = (self.partial.clone(), self.file.clone());
        let publish = move |path: &FilePath| {
            disk::may(&partial)?;
            file.sync_all()?;
            disk::rename(&partial, path)?;
            sync_folder(path)
        };
        blocking(self.path.clone(), publish).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        blocking(self.partial.clone(), |partial| fs::remove_file(partial)).await
    }
}

async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&FilePath) -> io::Result<T> + Send + 'static,
) -> Result<T> {
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
    let partial = beside(folder)?;
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
    sync_folder(path)
}

/// A place for what is being written, named as delta-rs names it. The folder must be there: a table that was moved away
/// must not be begun in its place. What a crash left a vacuum takes away.
fn beside(folder: &FilePath) -> io::Result<PathBuf> {
    Ok(folder.join(format!("_commit_{}.json.tmp", uuid::Uuid::new_v4())))
}

/// Whether a file of this name was being written.
pub(super) fn is_partial(name: &str) -> bool {
    name.starts_with("_commit_") && name.ends_with(".json.tmp")
}

/// Puts a file's name on the disk.
fn sync_folder(path: &FilePath) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    disk::may(folder)?;
    File::open(folder)?.sync_all()
}
