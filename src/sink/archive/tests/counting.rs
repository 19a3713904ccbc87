//! An object store that counts what is asked of it: other than a clock it does not care how busy the machine is.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, path::Path,
};

use super::store;

/// What was asked.
#[derive(Default, Debug)]
pub struct Asked {
    pub reads: usize,
    pub bytes_read: u64,
    pub writes: usize,
    pub lists: usize,
    /// Log entries that were there and were read, each once.
    pub entries: BTreeSet<Path>,
    /// Checkpoints that were written.
    pub checkpoints: usize,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Asked { reads, bytes_read, writes, lists, entries, checkpoints } = self;
        let entries = entries.len();
        write!(
            f,
            "{reads} reads ({bytes_read} bytes, {entries} entries), {lists} lists, {writes} writes, {checkpoints} checkpoints"
        )
    }
}

#[derive(Debug)]
pub struct Counting {
    inner: Arc<dyn ObjectStore>,
    asked: Mutex<Asked>,
}

impl Counting {
    pub fn new() -> Arc<Counting> {
        Arc::new(Counting { inner: store::local(), asked: Mutex::default() })
    }

    /// Since it was asked last.
    pub fn take(&self) -> Asked {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn count(&self, count: impl FnOnce(&mut Asked)) {
        count(&mut self.asked.lock().unwrap());
    }

    fn writes(&self, location: &Path) {
        self.count(|asked| {
            asked.writes += 1;
            asked.checkpoints += usize::from(location.as_ref().ends_with(".checkpoint.parquet"));
        });
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.writes(location);
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.writes(location);
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.count(|asked| asked.reads += 1);
        let found = self.inner.get_opts(location, options).await?;
        self.count(|asked| {
            asked.bytes_read += found.range.end - found.range.start;
            asked.entries.extend(location.as_ref().ends_with(".json").then(|| location.clone()));
        });
        Ok(found)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count(|asked| asked.lists += 1);
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.count(|asked| asked.lists += 1);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
